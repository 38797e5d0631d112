//! The end of a test's servers. A server that a test drops must go back to rest by itself, with nothing in progress and
//! nothing pending, and must stop when it is asked to. So an actor, a session, a webhook or a task that is left behind
//! fails the test that left it.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;

use super::{TICK, process::Process};

/// How long a server may take to go back to rest.
const REST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server at rest may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A server that its test has dropped and that still runs.
pub(super) struct LeftServer {
    pub(super) base_url: String,
    /// A bearer of `/internal`.
    pub(super) admin_secret: String,
    pub(super) process: Process,
    /// Kept for as long as the server works in it.
    pub(super) folder: Arc<TempDir>,
}

/// The servers that were dropped in a world. They must be finished before the world ends.
#[derive(Default)]
pub(super) struct LeftServers(Mutex<Vec<LeftServer>>);

impl LeftServers {
    pub(super) fn add(&self, server: LeftServer) {
        self.0.lock().expect("no test panics with it").push(server);
    }

    /// Stops the servers that were dropped so far, each once it is at rest.
    pub(super) async fn finish(&self) {
        loop {
            let next = self.0.lock().expect("no test panics with it").pop();
            let Some(server) = next else { return };
            server.finish().await;
        }
    }
}

impl Drop for LeftServers {
    fn drop(&mut self) {
        let left = self.0.get_mut().expect("no test panics with it");
        assert!(left.is_empty() || thread::panicking(), "a test finishes its world: `world.finish().await`");
    }
}

impl LeftServer {
    async fn finish(mut self) {
        if let Some(status) = self.process.ended() {
            // Without a code it was killed, which is the test's doing.
            assert!(status.code().is_none_or(|code| code == 0), "the server failed: {status}");
            return;
        }
        self.goes_back_to_rest().await;
        self.process.terminate();
        let status = self.process.exit(STOP_TIMEOUT).await;
        assert_eq!(status.code(), Some(0), "the server did not stop cleanly:\n{}", self.process.log());
        drop(self.folder);
    }

    async fn goes_back_to_rest(&self) {
        let http = Client::builder().timeout(REST_TIMEOUT).no_proxy().build().expect("a client can be made");
        let began = Instant::now();
        while let Some(problem) = self.unrest(&http).await {
            assert!(began.elapsed() < REST_TIMEOUT, "left behind by this test: {problem}");
            tokio::time::sleep(TICK).await;
        }
    }

    /// Returns what keeps the server from being at rest.
    async fn unrest(&self, http: &Client) -> Option<String> {
        let engine = self.ask(http, "/internal/engine").await;
        let is_busy = |app: &Value| app["batch_in_progress"] != false || app["inbox"] != 0;
        let apps = engine["apps"].as_array().cloned().unwrap_or_default();
        let rests = engine["sessions"] == 0 && engine["token_refresher"]["renewals_in_progress"] == 0;
        if !rests || apps.iter().any(is_busy) {
            return Some(format!("{engine:#}"));
        }
        let pending = self.ask(http, "/internal/webhook-events?status=pending&limit=1").await;
        (pending != Value::Array(Vec::new())).then(|| format!("a pending webhook: {pending:#}"))
    }

    async fn ask(&self, http: &Client, path: &str) -> Value {
        let request = http.get(format!("{}{path}", self.base_url)).bearer_auth(&self.admin_secret);
        match request.send().await {
            Ok(response) => response.json().await.unwrap_or_else(|error| Value::String(error.to_string())),
            Err(error) => Value::String(error.to_string()),
        }
    }
}
