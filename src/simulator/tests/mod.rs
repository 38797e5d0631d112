//! The simulator over real HTTP, as a server meets it.

mod delivery;
mod oauth;
mod rest;

use reqwest::{Client, RequestBuilder, redirect};
use serde_json::{Value, json};

use super::{Approval, Simulator, SimulatorOptions};

/// A simulator on a free port, and a client of it.
struct Trial {
    simulator: Simulator,
    client: Client,
}

impl Trial {
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

    /// Posts with the static key and returns the reply to a request that must succeed.
    async fn create(&self, path: &str, body: Value) -> Value {
        answered(self.post(path).bearer_auth("static-key").json(&body)).await
    }
}

/// The body of a reply that must be a success.
async fn answered(request: RequestBuilder) -> Value {
    let response = request.send().await.expect("an answer");
    assert!(response.status().is_success(), "{}: {}", response.status(), response.url());
    response.json().await.expect("a JSON body")
}

/// Status and body of any reply.
async fn replied(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

#[actix_web::test]
async fn it_starts_inside_an_actix_system_too_and_frees_its_port_when_stopped() {
    let trial = Trial::start().await;
    let (status, body) = replied(trial.get("/api/v2/users/me")).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!(401)));
    let address = trial.simulator.base_url().trim_start_matches("http://").parse().expect("an address");
    trial.simulator.stop().await;
    let again = Trial::with(SimulatorOptions { listen: address, ..SimulatorOptions::default() }).await;
    again.simulator.stop().await;
}
