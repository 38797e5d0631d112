//! Applies a plan at Dialpad, in an order that loses no event: first what is missing is created, then the surplus is
//! removed.

use cti_actors::id::AppId;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use strum::VariantArray;

use super::{
    kind::SubscriptionKind,
    plan::{Plan, Step, SubscriptionPlan, everything_own, plan},
    remote::{self, path},
};
use crate::{
    dialpad::{
        api::Dialpad,
        client::{
            DialpadError, id_text,
            request::{ApiRequest, Endpoint, Urgency},
        },
    },
    store::dialpad::own_webhooks::OwnWebhook,
};

/// Reads and changes one app's webhook and subscriptions at Dialpad.
pub(crate) struct RemoteWebhooks<'a> {
    pub(crate) dialpad: &'a Dialpad,
    pub(crate) app: AppId,
    pub(crate) hook_url: &'a str,
    pub(crate) urgency: Urgency,
    /// Whether subscriptions that are created now deliver the texts of messages.
    pub(crate) can_read_texts: bool,
}

/// How far a reconciliation has come.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Something was created.
    pub(crate) created: bool,
    /// Something was created, updated or removed.
    pub(crate) repaired: bool,
    /// The webhook is in order.
    pub(crate) webhook_active: bool,
    /// Calls are delivered.
    pub(crate) calls_active: bool,
    /// Why calls may not have been delivered before.
    pub(crate) calls_missing: Option<&'static str>,
    /// What somebody has to change, for administrators.
    pub(crate) problems: Vec<String>,
}

impl RemoteWebhooks<'_> {
    /// Makes sure that the app's events are delivered. What was reached is in `own` and `report`, also after an error.
    pub(crate) async fn reconcile(
        &self,
        own: &mut OwnWebhook,
        report: &mut Report,
    ) -> Result<(), DialpadError> {
        let remote = remote::read(self.dialpad, self.app, self.urgency).await?;
        let plan = plan(&remote, own, self.hook_url, self.can_read_texts);
        report.calls_missing = plan.calls_missing;

        let webhook_id = self.apply_webhook(&plan.webhook, own, report).await?;
        report.webhook_active = true;
        for kind in SubscriptionKind::VARIANTS {
            self.apply_kind(*kind, &plan, &webhook_id, own, report).await?;
        }
        for (kind, subscription) in &plan.subscriptions {
            self.remove_all(kind.endpoint(), &subscription.surplus, report).await?;
        }
        self.remove_all(Endpoint::Webhooks, &plan.surplus_webhooks, report).await
    }

    /// Removes everything that belongs to the app.
    pub(crate) async fn remove_everything(&self, own: &OwnWebhook) -> Result<(), DialpadError> {
        let remote = remote::read(self.dialpad, self.app, self.urgency).await?;
        for (endpoint, id) in everything_own(&remote, own, self.hook_url) {
            self.remove(endpoint, &id).await?;
        }
        Ok(())
    }

    /// Returns the id of the webhook once it is in order.
    async fn apply_webhook(
        &self,
        step: &Step,
        own: &mut OwnWebhook,
        report: &mut Report,
    ) -> Result<String, DialpadError> {
        let body = json!({"hook_url": self.hook_url, "secret": own.secret.expose_secret()});
        let id = match step {
            Step::Keep(id) => id.clone(),
            Step::Update(id) => self.update(Endpoint::Webhooks, id, body, report).await?,
            Step::Create | Step::LimitReached(_) => self.create(Endpoint::Webhooks, body, report).await?,
        };
        own.dialpad_webhook_id = Some(id.clone());
        Ok(id)
    }

    async fn apply_kind(
        &self,
        kind: SubscriptionKind,
        plan: &Plan,
        webhook_id: &str,
        own: &mut OwnWebhook,
        report: &mut Report,
    ) -> Result<(), DialpadError> {
        let Some(plan) = plan.subscriptions.get(&kind) else {
            report.problems.push(missing_scope(kind, "Dialpad does not list the subscriptions"));
            return Ok(());
        };
        let id = match self.apply_subscription(kind, plan, webhook_id, report).await {
            Err(DialpadError::Refused(status))
                if status.is_client_error() && kind.optional_scope().is_some() =>
            {
                let refused = format!("Dialpad refused ({status}) the subscription");
                report.problems.push(missing_scope(kind, &refused));
                None
            }
            id => id?,
        };
        if kind == SubscriptionKind::Calls {
            report.calls_active = id.is_some();
        }
        kind.set_stored_id(own, id);
        if plan.step == Step::Create {
            kind.note_created(own, self.can_read_texts);
        }
        Ok(())
    }

    /// Returns the id of a subscription once it is in order; `None` if Dialpad's limit is reached.
    async fn apply_subscription(
        &self,
        kind: SubscriptionKind,
        plan: &SubscriptionPlan,
        webhook_id: &str,
        report: &mut Report,
    ) -> Result<Option<String>, DialpadError> {
        let endpoint = kind.endpoint();
        if plan.remove_surplus_first {
            self.remove_all(endpoint, &plan.surplus, report).await?;
        }
        match &plan.step {
            Step::Keep(id) => Ok(Some(id.clone())),
            Step::Update(id) => {
                let body = subscription_body(kind.update_fields(), webhook_id);
                self.update(endpoint, id, body, report).await.map(Some)
            }
            Step::Create => {
                let body = subscription_body(kind.create_fields(), webhook_id);
                self.create(endpoint, body, report).await.map(Some)
            }
            Step::LimitReached(problem) => {
                report.problems.push(problem.clone());
                Ok(None)
            }
        }
    }

    async fn create(
        &self,
        endpoint: Endpoint,
        body: Value,
        report: &mut Report,
    ) -> Result<String, DialpadError> {
        let request = ApiRequest::new(endpoint, Method::POST, path(endpoint)).with_body(body);
        let reply = self.send(request).await?;
        report.created = true;
        report.repaired = true;
        reply.get("id").and_then(id_text).ok_or(DialpadError::InvalidResponse)
    }

    async fn update(
        &self,
        endpoint: Endpoint,
        id: &str,
        body: Value,
        report: &mut Report,
    ) -> Result<String, DialpadError> {
        let path = format!("{}/{id}", path(endpoint));
        self.send(ApiRequest::new(endpoint, Method::PATCH, path).with_body(body)).await?;
        report.repaired = true;
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
            report.repaired = true;
        }
        Ok(())
    }

    /// Removes one; it is no error if it is already gone.
    async fn remove(&self, endpoint: Endpoint, id: &str) -> Result<(), DialpadError> {
        let path = format!("{}/{id}", path(endpoint));
        match self.send(ApiRequest::new(endpoint, Method::DELETE, path)).await {
            Ok(_) | Err(DialpadError::Refused(StatusCode::NOT_FOUND)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, request: ApiRequest) -> Result<Value, DialpadError> {
        self.dialpad.send(self.app, &ApiRequest { urgency: self.urgency, ..request }).await
    }
}

fn missing_scope(kind: SubscriptionKind, what_happened: &str) -> String {
    let scope = kind.optional_scope().unwrap_or_default();
    format!("{what_happened} to {kind}; the scope {scope} may be missing")
}

fn subscription_body(mut fields: Value, webhook_id: &str) -> Value {
    // Ids are sent as numbers, as the API declares them; one that is no number is sent as it is.
    fields["endpoint_id"] = webhook_id.parse::<i64>().map_or_else(|_| webhook_id.into(), Value::from);
    fields["enabled"] = true.into();
    fields
}
