//! The simulator over real HTTP, as a server meets it.

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

/// A simulator on a free port, and a client of it.
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

    /// Turns switches.
    async fn switch(&self, change: Value) {
        success_json(self.client.patch(self.url("/simulator/switches")).json(&change)).await;
    }

    /// What the static key reads.
    async fn read(&self, path: &str) -> Value {
        success_json(self.get(path).bearer_auth("static-key")).await
    }

    /// Plays flows without waits until they are over.
    async fn play(&self, mut order: Value) -> Value {
        order["pace"] = 0.into();
        let (status, started) = status_and_json(self.post("/simulator/flows").json(&order)).await;
        assert_eq!(status, 202, "{started}");
        let path = format!("/simulator/flows/{}", started["run_id"].as_str().expect("an id"));
        eventually("the run is over", async || {
            let progress = success_json(self.get(&path)).await;
            (progress["done"] == true).then_some(progress)
        })
        .await
    }

    /// An access token with these scopes.
    async fn token(&self, scope: &str) -> String {
        self.connect(scope).await["access_token"].as_str().expect("a token").to_owned()
    }

    /// The answer to a refresh.
    async fn refresh(&self, refresh_token: &Value) -> (u16, Value) {
        let trade = json!({"grant_type": "refresh_token", "refresh_token": refresh_token,
            "client_id": "demo-client", "client_secret": "demo-secret"});
        status_and_json(self.post("/oauth2/token").json(&trade)).await
    }

    /// The token answer to a new connection with these scopes.
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
        let trade = json!({"grant_type": "authorization_code", "code": code,
            "client_id": "demo-client", "client_secret": "demo-secret"});
        success_json(self.post("/oauth2/token").json(&trade)).await
    }

    /// Posts with the static key and returns the reply to a request that must succeed.
    async fn create(&self, path: &str, body: Value) -> Value {
        success_json(self.post(path).bearer_auth("static-key").json(&body)).await
    }
}

/// Asks again until there is an answer.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// The body of a reply that must be a success.
async fn success_json(request: RequestBuilder) -> Value {
    let response = request.send().await.expect("an answer");
    assert!(response.status().is_success(), "{}: {}", response.status(), response.url());
    response.json().await.expect("a JSON body")
}

/// Status and body of any reply.
async fn status_and_json(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

#[actix_web::test]
async fn it_starts_inside_an_actix_system_too_and_frees_its_port_when_stopped() {
    let fixture = Fixture::start().await;
    let (status, body) = status_and_json(fixture.get("/api/v2/users/me")).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!(401)));
    let address = fixture.simulator.base_url().trim_start_matches("http://").parse().expect("an address");
    fixture.simulator.stop().await;
    let again = Fixture::with(SimulatorOptions { listen: address, ..SimulatorOptions::default() }).await;
    again.simulator.stop().await;
}
