//! A running server, and the requests of operators, Dialpad and CRMs.

use std::{thread, time::Duration};

use reqwest::{Client, Method, RequestBuilder, redirect};
use serde_json::{Value, json};

use super::{
    answer::Answer,
    documents,
    metrics::Metrics,
    process::Process,
    signing,
    world::{ADMIN_SECRET, WEBHOOK_SECRET, World},
};

/// How long any answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The server as a child process. Dropped in a test that passes, it is left to its world, which stops it once it is at
/// rest. In a test that fails, it is killed.
pub(crate) struct TestServer {
    pub(crate) base_url: String,
    pub(crate) process: Process,
    http: Client,
    world: World,
}

/// An app and its key.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) id: String,
    pub(crate) key: String,
}

/// The answer to an authentic webhook.
#[derive(Clone, Debug)]
pub(crate) struct Ack {
    pub(crate) event_id: String,
    pub(crate) duplicate: bool,
    /// Why the webhook is stored without being processed: `unrouted` or `failed`.
    pub(crate) status: Option<String>,
}

impl TestServer {
    pub(super) fn new(base_url: String, process: Process, world: World) -> Self {
        let http = Client::builder()
            .timeout(ANSWER_WITHIN)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client can be made");
        Self { base_url, process, http, world }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.base_url.strip_prefix("http://").expect("the server speaks plain HTTP")
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base_url))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// Waits for the server's first heartbeat: from then on, missed webhooks are a gap.
    pub(crate) async fn wait_for_heartbeat(&mut self) {
        let said = |line: &str| line.contains("the first heartbeat on this database").then_some(());
        self.process.wait_for_line("its first heartbeat", said).await;
    }

    /// Returns a client without credentials, for URLs that the server returned.
    pub(crate) fn browser(&self) -> &Client {
        &self.http
    }

    pub(crate) async fn create_app(&self, name: &str) -> App {
        let created = self.post("/internal/apps").by_admin().json(&json!({"name": name})).answer().await.ok();
        let text = |field: &str| created[field].as_str().expect("a new app has an id and a key").to_owned();
        App { id: text("app_id"), key: text("api_key") }
    }

    /// Rotates the key; the old one is valid for this grace time.
    pub(crate) async fn rotate_key(&self, app: &App, grace_seconds: Option<u64>) -> App {
        let path = format!("/internal/apps/{}/api-key", app.id);
        let mut request = self.post(&path).by_admin();
        if let Some(grace_seconds) = grace_seconds {
            request = request.json(&json!({"grace_seconds": grace_seconds}));
        }
        let rotated = request.answer().await.ok();
        App {
            id: app.id.clone(),
            key: rotated["api_key"].as_str().expect("a rotation gives a key").to_owned(),
        }
    }

    /// Posts a body with the HMAC of the shared webhook secret.
    pub(crate) async fn post_webhook(&self, path: &str, body: &str) -> Answer {
        let signature = signing::hmac_hex(WEBHOOK_SECRET, body.as_bytes());
        self.post(path).header("x-dialpad-signature", signature).body(body.to_owned()).answer().await
    }

    /// Posts claims as a JWS with the shared webhook secret.
    pub(crate) async fn post_jws(&self, path: &str, claims: &Value) -> Answer {
        self.post(path).body(signing::jws(WEBHOOK_SECRET, claims)).answer().await
    }

    /// Posts a webhook of the app, which must be acknowledged.
    pub(crate) async fn webhook(&self, app: &App, payload: &Value) -> Ack {
        let path = format!("/webhooks/{}", app.id);
        Ack::of(&self.post_webhook(&path, &payload.to_string()).await)
    }

    /// Posts several webhooks, in this order.
    pub(crate) async fn webhooks<'a>(&self, app: &App, payloads: impl IntoIterator<Item = &'a Value>) {
        for payload in payloads {
            self.webhook(app, payload).await;
        }
    }

    /// Posts a webhook without an app in the path: the payload's organization routes it.
    pub(crate) async fn webhook_for_all(&self, payload: &Value) -> Ack {
        Ack::of(&self.post_webhook("/webhooks", &payload.to_string()).await)
    }

    /// Returns a call as the CRM sees it.
    pub(crate) async fn call(&self, app: &App, id: impl std::fmt::Display) -> Value {
        self.get(&format!("/api/calls/{id}")).by(app).answer().await.ok()
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        let answer = self.get("/metrics").answer().await;
        assert_eq!(answer.status, 200, "{answer}");
        Metrics::new(answer.body)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        let base_url = std::mem::take(&mut self.base_url);
        self.world.leave(base_url, self.process.hand_over());
    }
}

impl Ack {
    /// Reads the answer to an authentic webhook.
    #[track_caller]
    pub(crate) fn of(answer: &Answer) -> Self {
        let ack = answer.ok();
        assert_eq!(ack["success"], true, "{answer}");
        Self {
            event_id: ack["event_id"].as_str().unwrap_or_else(|| panic!("no event_id: {answer}")).to_owned(),
            duplicate: ack["duplicate"].as_bool().unwrap_or_else(|| panic!("no duplicate: {answer}")),
            status: ack["status"].as_str().map(str::to_owned),
        }
    }
}

/// Credentials and sending of a request.
pub(crate) trait Ask: Sized {
    /// Adds the app's key.
    fn by(self, app: &App) -> Self;
    /// Adds the bearer token of `/internal`.
    fn by_admin(self) -> Self;
    /// Sends the request and reads the whole answer.
    async fn answer(self) -> Answer;
}

impl Ask for RequestBuilder {
    fn by(self, app: &App) -> Self {
        self.header("x-api-key", &app.key)
    }

    fn by_admin(self) -> Self {
        self.bearer_auth(ADMIN_SECRET)
    }

    async fn answer(self) -> Answer {
        let (client, request) = self.build_split();
        let request = request.expect("a request can be built");
        let asked = format!("{} {}", request.method(), request.url());
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = client.execute(request).await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.text().await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let answer = Answer { asked, status, headers, body };
        documents::check_answer(&method, &path, &answer);
        answer
    }
}
