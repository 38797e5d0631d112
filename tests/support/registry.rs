//! The webhooks and subscriptions at the simulated Dialpad, read and changed from outside.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    answer::Answer,
    dialpad::{CLIENT_ID, CLIENT_SECRET, Dialpad},
    eventually,
    server::{App, Ask, TestServer},
};

/// An app's webhook at Dialpad, and its subscription of each kind.
pub(crate) struct Registration {
    pub(crate) webhook: Value,
    pub(crate) calls: Value,
    pub(crate) messages: Value,
}

impl Registration {
    /// Returns the secret that signs the app's webhooks.
    pub(crate) fn secret(&self) -> &str {
        self.webhook["signature"]["secret"].as_str().unwrap_or_else(|| panic!("unsigned: {:#}", self.webhook))
    }

    /// Returns whether it is complete: signed, enabled, all calls and all messages of the whole company.
    pub(crate) fn is_complete(&self) -> bool {
        let Self { webhook, calls, messages } = self;
        let states = calls["call_states"].as_array();
        let all_states = states.is_none_or(|states| states.contains(&"all".into()));
        webhook["signature"]["secret"].is_string()
            && calls["enabled"] == true
            && messages["enabled"] == true
            && all_states
            && calls["group_calls_only"] == false
            && messages["direction"] == "all"
            && messages["status"] == true
            && calls["target_type"].is_null()
            && messages["target_type"].is_null()
    }
}

impl Dialpad {
    async fn registered(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = self.api(method, path);
        match body {
            Some(body) => request.json(&body).answer().await,
            None => request.answer().await,
        }
    }

    /// Returns all items of a list (`/webhooks`, `/subscriptions/call`, `/subscriptions/sms`), page by page.
    pub(crate) async fn registry(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.registered(Method::GET, &format!("{path}{cursor}"), None).await.ok();
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("?cursor={next}"),
                None => return items,
            }
        }
    }

    pub(crate) async fn register(&self, path: &str, body: Value) -> Value {
        self.registered(Method::POST, path, Some(body)).await.ok()
    }

    pub(crate) async fn change(&self, path: &str, item: &Value, body: Value) {
        let at = format!("{path}/{}", id(item));
        self.registered(Method::PATCH, &at, Some(body)).await.ok();
    }

    pub(crate) async fn remove(&self, path: &str, item: &Value) {
        self.registered(Method::DELETE, &format!("{path}/{}", id(item)), None).await.ok();
    }

    /// Registers a webhook and subscriptions that do not belong to the server.
    pub(crate) async fn register_foreign(&self) -> Value {
        let hook = json!({"hook_url": "http://127.0.0.1:9/theirs", "secret": "theirs"});
        let webhook = self.register("/webhooks", hook).await;
        let endpoint = &webhook["id"];
        self.register("/subscriptions/call", json!({"endpoint_id": endpoint})).await;
        self.register("/subscriptions/sms", json!({"endpoint_id": endpoint, "direction": "all"})).await;
        webhook
    }

    /// Returns a token of another app of the company.
    pub(crate) async fn some_token(&self) -> String {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.build().expect("a client can be made");
        let home = "http://127.0.0.1/somebody-else";
        let query = [("client_id", CLIENT_ID), ("redirect_uri", home), ("response_type", "code")];
        let sent = http.get(format!("{}/oauth2/authorize", self.base_url)).query(&query).answer().await;
        let location = sent.header("location").unwrap_or_else(|| panic!("no redirect: {sent}"));
        let location = reqwest::Url::parse(location).expect("an address");
        let code = location.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", home),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
        ];
        let tokens = http.post(format!("{}/oauth2/token", self.base_url)).form(&form).answer().await.ok();
        tokens["access_token"].as_str().expect("a token").to_owned()
    }

    /// Returns an app's registration; `None` if something is missing or duplicated.
    pub(crate) async fn registration(&self, app: &App) -> Option<Registration> {
        let theirs = |hook: &Value| {
            let url = hook["hook_url"].as_str();
            url.is_some_and(|url| url.ends_with(&format!("/webhooks/{}", app.id)))
        };
        let mut webhooks = self.registry("/webhooks").await;
        webhooks.retain(theirs);
        let mut calls = self.registry("/subscriptions/call").await;
        calls.retain(|subscription| theirs(&subscription["webhook"]));
        let mut messages = self.registry("/subscriptions/sms").await;
        messages.retain(|subscription| theirs(&subscription["webhook"]));
        match [&mut webhooks, &mut calls, &mut messages].map(Vec::as_mut_slice) {
            [[webhook], [calls], [messages]] => {
                Some(Registration { webhook: webhook.take(), calls: calls.take(), messages: messages.take() })
            }
            _ => None,
        }
    }

    /// Waits until an app's registration is complete.
    pub(crate) async fn wait_for_registration(&self, app: &App) -> Registration {
        eventually("the app's webhook and subscriptions are registered", async || {
            self.registration(app).await.filter(Registration::is_complete)
        })
        .await
    }
}

impl TestServer {
    /// Returns the app's webhook as administrators see it.
    pub(crate) async fn webhook_of(&self, app: &App) -> Option<Value> {
        let path = format!("/internal/webhooks?app_id={}", app.id);
        self.get(&path).by_admin().answer().await.list().pop()
    }

    /// Waits until the app's webhook is in this state, and returns it.
    pub(crate) async fn webhook_when(&self, app: &App, state: &str) -> Value {
        eventually(&format!("the app's webhook is {state}"), async || {
            self.webhook_of(app).await.filter(|webhook| webhook["state"] == state)
        })
        .await
    }

    /// Returns how often webhooks at Dialpad were checked so far.
    pub(crate) async fn webhook_checks(&self) -> f64 {
        self.metrics().await.sum("cti_webhook_checks_total", &[])
    }
}

fn id(item: &Value) -> String {
    item["id"].as_str().map_or_else(|| item["id"].to_string(), str::to_owned)
}
