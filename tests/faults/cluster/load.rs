//! Webhooks at a steady rate, sent and retried as Dialpad does.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::Client;
use tokio::time::sleep_until;

use crate::{
    burst::{CALL_EVENTS, webhooks_of},
    support::{App, Call, TICK, WEBHOOK_SECRET, hmac_hex},
};

/// How long Dialpad waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Dialpad's waits before it repeats a call event that was answered with a 5xx.
const RETRY_BACKOFF: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];
/// How often it repeats at once what had no answer.
const MAX_IMMEDIATE_RETRIES: usize = 2;

/// Between two webhooks of a call: longer than it takes until a webhook that another server has stored is found without an
/// announcement.
const PAUSE: Duration = Duration::from_millis(2500);

/// A number of calls, spread over the apps. Each has seven webhooks, sent one after the other.
pub(crate) struct Load {
    pub(crate) calls: usize,
    pub(crate) webhooks_per_second: u32,
    /// Between two webhooks of a call.
    pub(crate) pause: Duration,
    acknowledged: AtomicUsize,
}

/// A webhook that was acknowledged.
pub(crate) struct Sent {
    pub(crate) app: usize,
    pub(crate) call: i64,
    /// Which of its call's webhooks it is.
    pub(crate) number: usize,
    /// When it was sent for the first time.
    pub(crate) at: Instant,
    /// How it was answered until then: a status, or none.
    pub(crate) failures: Vec<Option<u16>>,
}

impl Load {
    pub(crate) fn new(webhooks_per_second: u32, webhooks: usize) -> Self {
        Self {
            calls: webhooks / CALL_EVENTS.len(),
            webhooks_per_second,
            pause: PAUSE,
            acknowledged: AtomicUsize::new(0),
        }
    }

    /// Returns the ids of the calls of one of so many apps.
    pub(crate) fn calls_of(&self, app: usize, apps: usize) -> impl Iterator<Item = i64> + use<> {
        (app..self.calls).step_by(apps).map(|call| call as i64 + 1)
    }

    /// Waits until so many webhooks are acknowledged.
    pub(crate) async fn acknowledged(&self, count: usize) {
        while self.acknowledged.load(Relaxed) < count {
            tokio::time::sleep(TICK).await;
        }
    }

    /// Sends everything. Panics if a webhook is refused or given up.
    pub(crate) async fn send(&self, url: &str, apps: &[App]) -> Vec<Sent> {
        // A connection for each webhook, so that each may be given to another server.
        let client = Client::builder().timeout(ANSWER_TIMEOUT).pool_max_idle_per_host(0).no_proxy();
        let client = client.build().expect("a client can be made");
        let began = Instant::now();
        let interval = Duration::from_secs(1) * CALL_EVENTS.len() as u32 / self.webhooks_per_second;
        let calls = (0..self.calls).map(async |number| {
            sleep_until((began + interval * number as u32).into()).await;
            let app = number % apps.len();
            self.send_call(&client, &format!("{url}/webhooks/{}", apps[app].id), app, number as i64 + 1).await
        });
        join_all(calls).await.into_iter().flatten().collect()
    }

    async fn send_call(&self, client: &Client, url: &str, app: usize, call: i64) -> Vec<Sent> {
        let mut sent = Vec::new();
        for (number, webhook) in webhooks_of(&Call::new(call)).iter().enumerate() {
            let at = Instant::now();
            let failures = deliver(client, url, &webhook.to_string()).await;
            self.acknowledged.fetch_add(1, Relaxed);
            sent.push(Sent { app, call, number, at, failures });
            sleep_until((at + self.pause).into()).await;
        }
        sent
    }
}

/// Sends a webhook until it is acknowledged. Returns how it was answered before.
async fn deliver(client: &Client, url: &str, body: &str) -> Vec<Option<u16>> {
    let signature = hmac_hex(WEBHOOK_SECRET, body.as_bytes());
    let (mut backoff, mut failures) = (RETRY_BACKOFF.iter(), Vec::new());
    loop {
        let request = client.post(url).header("x-dialpad-signature", &signature).body(body.to_owned());
        let status = match request.send().await {
            // An answer that breaks off is none.
            Ok(answer) => match answer.status().as_u16() {
                200 if answer.bytes().await.is_ok() => return failures,
                200 => None,
                status => Some(status),
            },
            Err(_) => None,
        };
        assert!(status.is_none_or(|status| status >= 500), "an authentic webhook was answered {status:?}");
        let unanswered = failures.iter().filter(|status| status.is_none()).count();
        failures.push(status);
        if status.is_some() || unanswered >= MAX_IMMEDIATE_RETRIES {
            let wait = backoff.next();
            tokio::time::sleep(*wait.unwrap_or_else(|| panic!("given up after {failures:?}: {body}"))).await;
        }
    }
}
