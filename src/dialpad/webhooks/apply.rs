//! Doing at Dialpad what the plan says, in an order in which nothing that comes is lost: first what is missing, then
//! away with what is too much.

use cti_actors::id::AppId;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    plan::{Plan, Step, Subscribing, everything_ours, plan},
    remote::{look, path},
};
use crate::{
    dialpad::{
        api::Dialpad,
        client::{
            DialpadError, id_text,
            request::{ApiRequest, Endpoint, Urgency},
        },
        oauth::scopes,
    },
    store::dialpad::own_webhooks::OwnWebhook,
};

/// The door to Dialpad for one app's webhook.
pub(crate) struct Work<'a> {
    pub(crate) dialpad: &'a Dialpad,
    pub(crate) app: AppId,
    pub(crate) hook_url: &'a str,
    pub(crate) urgency: Urgency,
    /// Whether the app may have the texts of messages.
    pub(crate) may_read: bool,
}

/// How far it has come.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Something was made that had not been there.
    pub(crate) made: bool,
    /// Something was not as it should be.
    pub(crate) mended: bool,
    /// The webhook is as it should be.
    pub(crate) webhook_stands: bool,
    /// Calls come as they should.
    pub(crate) calls_stand: bool,
    /// Why calls may not have come before, in a few words.
    pub(crate) calls_missing: Option<&'static str>,
    /// What stands in the way and does not pass by itself.
    pub(crate) problems: Vec<String>,
}

impl Work<'_> {
    /// Sees to it that the app's events come. What was reached is in `own` and `report`, also if it ends early.
    pub(crate) async fn do_all(&self, own: &mut OwnWebhook, report: &mut Report) -> Result<(), DialpadError> {
        let found = look(self.dialpad, self.app, self.urgency).await?;
        let Plan { webhook, calls, messages, surplus_webhooks, calls_missing } =
            plan(&found, own, self.hook_url, self.may_read);
        report.calls_missing = calls_missing;

        let endpoint = self.webhook(&webhook, own, report).await?;
        report.webhook_stands = true;
        let kind = Endpoint::CallSubscriptions;
        own.call_subscription = self.subscription(kind, &calls, &endpoint, report).await?;
        report.calls_stand = own.call_subscription.is_some();

        match &messages {
            None => report.problems.push(format!(
                "Dialpad does not show the subscriptions to messages; the scope {} may be missing",
                scopes::TEXTS
            )),
            Some(messages) => {
                let kind = Endpoint::MessageSubscriptions;
                let is_new = messages.step == Step::Make;
                own.sms_subscription = match self.subscription(kind, messages, &endpoint, report).await {
                    // An app that may not have messages still has its calls.
                    Err(DialpadError::Refused(status)) if status.is_client_error() => {
                        report.problems.push(format!(
                            "Dialpad refused the subscription to messages ({status}); the scope {} may be missing",
                            scopes::TEXTS
                        ));
                        None
                    }
                    done => done?,
                };
                if is_new {
                    own.sms_with_texts = self.may_read;
                }
            }
        }

        for (kind, subscribing) in [(kind, Some(&calls)), (Endpoint::MessageSubscriptions, messages.as_ref())]
        {
            if let Some(subscribing) = subscribing {
                self.remove_all(kind, &subscribing.surplus, report).await?;
            }
        }
        self.remove_all(Endpoint::Webhooks, &surplus_webhooks, report).await
    }

    /// Takes everything away that is ours.
    pub(crate) async fn undo_all(&self, own: &OwnWebhook) -> Result<(), DialpadError> {
        let found = look(self.dialpad, self.app, self.urgency).await?;
        for (endpoint, id) in everything_ours(&found, own, self.hook_url) {
            self.remove(endpoint, &id).await?;
        }
        Ok(())
    }

    /// The webhook's id, once it is as it should be.
    async fn webhook(
        &self,
        step: &Step,
        own: &mut OwnWebhook,
        report: &mut Report,
    ) -> Result<String, DialpadError> {
        let body = json!({"hook_url": self.hook_url, "secret": own.secret.expose_secret()});
        let id = match step {
            Step::Keep(id) => id.clone(),
            Step::Change(id) => self.change(Endpoint::Webhooks, id, body, report).await?,
            Step::Make | Step::NoRoom(_) => self.make(Endpoint::Webhooks, body, report).await?,
        };
        own.dialpad_webhook_id = Some(id.clone());
        Ok(id)
    }

    /// A subscription's id, once it is as it should be; none if there is no room for one.
    async fn subscription(
        &self,
        kind: Endpoint,
        subscribing: &Subscribing,
        endpoint: &str,
        report: &mut Report,
    ) -> Result<Option<String>, DialpadError> {
        if subscribing.room_first {
            self.remove_all(kind, &subscribing.surplus, report).await?;
        }
        match &subscribing.step {
            Step::Keep(id) => Ok(Some(id.clone())),
            Step::Change(id) => {
                let mut body = wishes(kind, endpoint);
                if kind == Endpoint::CallSubscriptions {
                    // Left out, they would stay as they are.
                    body["call_states"] = json!(["all"]);
                    body["group_calls_only"] = false.into();
                }
                self.change(kind, id, body, report).await.map(Some)
            }
            Step::Make => self.make(kind, wishes(kind, endpoint), report).await.map(Some),
            Step::NoRoom(problem) => {
                report.problems.push(problem.clone());
                Ok(None)
            }
        }
    }

    async fn make(
        &self,
        endpoint: Endpoint,
        body: Value,
        report: &mut Report,
    ) -> Result<String, DialpadError> {
        let reply = self.ask(ApiRequest::new(endpoint, Method::POST, path(endpoint)).saying(body)).await?;
        report.made = true;
        report.mended = true;
        reply.get("id").and_then(id_text).ok_or(DialpadError::InvalidResponse)
    }

    async fn change(
        &self,
        endpoint: Endpoint,
        id: &str,
        body: Value,
        report: &mut Report,
    ) -> Result<String, DialpadError> {
        let at = format!("{}/{id}", path(endpoint));
        self.ask(ApiRequest::new(endpoint, Method::PATCH, at).saying(body)).await?;
        report.mended = true;
        Ok(id.to_owned())
    }

    async fn remove_all(
        &self,
        endpoint: Endpoint,
        ids: &[String],
        report: &mut Report,
    ) -> Result<(), DialpadError> {
        for id in ids {
            self.remove(endpoint, id).await?;
            report.mended = true;
        }
        Ok(())
    }

    /// What is gone already is gone.
    async fn remove(&self, endpoint: Endpoint, id: &str) -> Result<(), DialpadError> {
        let at = format!("{}/{id}", path(endpoint));
        match self.ask(ApiRequest::new(endpoint, Method::DELETE, at)).await {
            Ok(_) | Err(DialpadError::Refused(StatusCode::NOT_FOUND)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, question: ApiRequest) -> Result<Value, DialpadError> {
        self.dialpad.ask(self.app, &ApiRequest { urgency: self.urgency, ..question }).await
    }
}

/// What a subscription is asked for: everything, of the whole company.
fn wishes(kind: Endpoint, endpoint: &str) -> Value {
    let mut wishes = match kind {
        Endpoint::MessageSubscriptions => json!({"direction": "all", "status": true}),
        // No states are all states.
        _ => json!({}),
    };
    // Ids go out as numbers where they are ones: that is what the API declares.
    wishes["endpoint_id"] = endpoint.parse::<i64>().map_or_else(|_| endpoint.into(), Value::from);
    wishes["enabled"] = true.into();
    wishes
}
