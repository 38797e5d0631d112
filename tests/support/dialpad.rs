//! The Dialpad simulator as a child process, and how an app is connected to it.

use std::process::Command;

use reqwest::{Client, Method, RequestBuilder, header};
use serde_json::Value;

use super::{
    answer::Answer,
    eventually,
    process::Process,
    server::{App, Ask, TestServer},
    world::World,
};

/// The simulator's only OAuth client.
pub(crate) const CLIENT_ID: &str = "client-of-the-tests";
pub(crate) const CLIENT_SECRET: &str = "client-secret-of-the-tests";

/// A running simulator. Dropping it kills it.
pub(crate) struct Dialpad {
    pub(crate) base_url: String,
    pub(crate) process: Process,
    http: Client,
}

impl Dialpad {
    /// The company of every connection.
    pub(crate) const COMPANY: i64 = 12_345_678;

    pub(crate) async fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cti-server"));
        command
            .args(["simulate", "--listen", "127.0.0.1:0", "--seed", "7", "--company-id"])
            .arg(Self::COMPANY.to_string());
        command.args(["--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET]).env_clear();
        let mut process = Process::spawn("cti-server simulate", &mut command);
        let base_url = process
            .wait_for_line("its address", |line| {
                let rest = line.strip_prefix("Dialpad simulator on ")?;
                rest.split_whitespace().next().map(str::to_owned)
            })
            .await;
        let http = Client::builder().no_proxy().build().expect("a client can be made");
        Self { base_url, process, http }
    }

    /// The first user of the company; the others have the next numbers.
    pub(crate) const USER: i64 = 5_100_000_000_000_000;

    /// Changes switches of the simulator (docs/operations.md lists them) and keeps the others.
    pub(crate) async fn switch(&self, change: &Value) {
        self.http.patch(format!("{}/simulator/switches", self.base_url)).json(change).answer().await.ok();
    }

    /// Returns the requests to an endpoint (by the pattern of its path), in the order of arrival.
    pub(crate) async fn requests(&self, route: &str) -> Vec<Value> {
        let book = self.http.get(format!("{}/simulator/requests?route={route}", self.base_url));
        book.answer().await.ok()["requests"].as_array().expect("a list of requests").clone()
    }

    /// Revokes the tokens of all connections: `access`, `refresh` or both.
    pub(crate) async fn revoke_tokens(&self, only: Option<&str>) {
        let query: Vec<_> = only.iter().map(|kind| ("only", kind)).collect();
        let revoked = self.http.post(format!("{}/simulator/tokens/revoke", self.base_url)).query(&query);
        assert_eq!(revoked.answer().await.status, 204);
    }

    /// Requests the REST API through the simulator's controls, without a token; `path` follows `/api/v2`.
    pub(crate) fn api(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/simulator/api/v2{path}", self.base_url))
    }

    /// Plays flows until they end, and returns their deliveries.
    pub(crate) async fn play(&self, order: &Value) -> Vec<Value> {
        let url = format!("{}/simulator/flows", self.base_url);
        let started = self.http.post(&url).json(order).answer().await;
        assert_eq!(started.status, 202, "{started}");
        let run = started.json()["run_id"].as_str().expect("a run has an id").to_owned();
        eventually("the flows have ended", async || {
            let progress = self.http.get(format!("{url}/{run}")).answer().await.ok();
            (progress["done"] == true).then_some(())
        })
        .await;
        self.http.get(format!("{}/simulator/deliveries?run_id={run}", self.base_url)).answer().await.list()
    }
}

impl World {
    /// Uses the simulator's OAuth client.
    pub(crate) fn with_dialpad(self, dialpad: &Dialpad) -> Self {
        self.with("DIALPAD_SANDBOX_BASE_URL", &dialpad.base_url)
            .with("DIALPAD_SANDBOX_CLIENT_ID", CLIENT_ID)
            .with("DIALPAD_SANDBOX_CLIENT_SECRET", CLIENT_SECRET)
    }
}

/// The redirect of a browser to Dialpad.
pub(crate) struct SentToDialpad {
    pub(crate) location: String,
    pub(crate) set_cookie: String,
}

impl SentToDialpad {
    /// Returns the cookie as the browser sends it back.
    pub(crate) fn cookie(&self) -> &str {
        self.set_cookie.split(';').next().unwrap_or_default()
    }
}

impl TestServer {
    /// Starts the connection of an app.
    pub(crate) async fn authorize(&self, app: &App) -> SentToDialpad {
        let answer = self.get(&format!("/authorize?app_id={}", app.id)).answer().await;
        assert_eq!(answer.status, 302, "{answer}");
        let text =
            |name: &str| answer.header(name).unwrap_or_else(|| panic!("no {name}: {answer}")).to_owned();
        SentToDialpad { location: text("location"), set_cookie: text("set-cookie") }
    }

    /// Approves at Dialpad and returns the callback to which the browser is redirected.
    pub(crate) async fn approve(&self, sent: &SentToDialpad) -> String {
        let answer = self.browser().get(&sent.location).answer().await;
        assert_eq!(answer.status, 302, "{answer}");
        answer.header("location").expect("a redirect says where to").to_owned()
    }

    /// Opens the callback in the browser.
    pub(crate) async fn finish_authorization(&self, callback: &str, cookie: &str) -> Answer {
        self.browser().get(callback).header(header::COOKIE, cookie).answer().await
    }

    /// Connects the app.
    pub(crate) async fn connect(&self, app: &App) -> Value {
        let sent = self.authorize(app).await;
        let callback = self.approve(&sent).await;
        self.finish_authorization(&callback, sent.cookie()).await.ok()
    }
}
