//! The simulator over real HTTP, as a server uses it.

pub(crate) mod calls;
pub(crate) mod delivery;
pub(crate) mod oauth;
pub(crate) mod recordings;
pub(crate) mod rest;
pub(crate) mod switches;

use std::time::Duration;

use reqwest::{Client, RequestBuilder, redirect};
use serde_json::{Value, json};

use super::{Approval, Simulator, SimulatorOptions};

/// A simulator on a free port, and a client.
struct Fixture {
    simulator: Simulator,
    client: Client,
}

impl Fixture {
    async fn start() -> Self {
        Self::with(SimulatorOptions { api_key: Some("static-key".to_owned()), ..SimulatorOptions::default() })
            .await
    }

    async fn with(options: SimulatorOptions) -> Self {
        let simulator = Simulator::start(options).await.expect("a free port");
        let client =
            Client::builder().redirect(redirect::Policy::none()).no_proxy().build().expect("a client");
        Self { simulator, client }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.simulator.base_url())
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    /// Changes switches.
    async fn switch(&self, change: Value) {
        success_json(self.client.patch(self.url("/simulator/switches")).json(&change)).await;
    }

    /// Reads a path with the static key.
    async fn read(&self, path: &str) -> Value {
        success_json(self.get(path).bearer_auth("static-key")).await
    }

    /// Plays flows without delays until they end.
    async fn play(&self, mut order: Value) -> Value {
        order["pace"] = 0.into();
        let (status, started) = status_and_json(self.post("/simulator/flows").json(&order)).await;
        assert_eq!(status, 202, "{started}");
        let path = format!("/simulator/flows/{}", started["run_id"].as_str().expect("an id"));
        eventually("the run has ended", async || {
            let progress = success_json(self.get(&path)).await;
            (progress["done"] == true).then_some(progress)
        })
        .await
    }

    /// Returns an access token with these scopes.
    async fn token(&self, scope: &str) -> String {
        self.connect(scope).await["access_token"].as_str().expect("a token").to_owned()
    }

    /// Refreshes a token and returns the answer.
    async fn refresh(&self, refresh_token: &Value) -> (u16, Value) {
        let exchange = json!({"grant_type": "refresh_token", "refresh_token": refresh_token,
            "client_id": "demo-client", "client_secret": "demo-secret"});
        status_and_json(self.post("/oauth2/token").json(&exchange)).await
    }

    /// Connects with these scopes and returns the token answer.
    async fn connect(&self, scope: &str) -> Value {
        let query = [
            ("client_id", "demo-client"),
            ("redirect_uri", "http://crm.example/callback"),
            ("response_type", "code"),
            ("scope", scope),
        ];
        let sent = self.get("/oauth2/authorize").query(&query).send().await.expect("an answer");
        let back = sent.headers()["location"].to_str().expect("ASCII").to_owned();
        let code = back.split("code=").nth(1).expect("a code").to_owned();
        let exchange = json!({"grant_type": "authorization_code", "code": code,
            "client_id": "demo-client", "client_secret": "demo-secret"});
        success_json(self.post("/oauth2/token").json(&exchange)).await
    }

    /// Posts with the static key and returns the reply, which must be a success.
    async fn create(&self, path: &str, body: Value) -> Value {
        success_json(self.post(path).bearer_auth("static-key").json(&body)).await
    }
}

/// Polls until there is an answer.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap_or_else(|_| panic!("timed out: {what}"))
}

/// Returns the body of a reply, which must be a success.
async fn success_json(request: RequestBuilder) -> Value {
    let response = request.send().await.expect("an answer");
    assert!(response.status().is_success(), "{}: {}", response.status(), response.url());
    response.json().await.expect("a JSON body")
}

/// Returns status and body of any reply.
async fn status_and_json(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

#[actix_web::test]
async fn it_starts_inside_an_actix_system_and_frees_its_port_when_stopped() {
    let fixture = Fixture::start().await;
    let (status, body) = status_and_json(fixture.get("/api/v2/users/me")).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!(401)));
    let address = fixture.simulator.base_url().trim_start_matches("http://").parse().expect("an address");
    fixture.simulator.stop().await;
    let again = Fixture::with(SimulatorOptions { listen: address, ..SimulatorOptions::default() }).await;
    again.simulator.stop().await;
}
