//! A sender that behaves like Dialpad: it repeats a webhook that was not acknowledged, and gives it up after a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::Failure;
use crate::call::{Call, Step, sign};
use crate::tally::{Answer, Tally};

/// How long the sender waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// After this time a webhook is not sent again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(14);
/// Between the answer to a webhook of a call and the next one.
const STEP_PAUSE: Duration = Duration::from_millis(40);

/// Where webhooks are sent, and how often they are repeated.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    http: reqwest::Client,
    /// Several servers: each call is sent to all of them in turn.
    servers: Vec<SocketAddr>,
    path: String,
    secret: String,
    tally: Arc<Tally>,
    retry_interval: Duration,
}

#[derive(Deserialize)]
struct Acknowledgement {
    success: bool,
    #[serde(default)]
    duplicate: bool,
    status: Option<String>,
}

impl Sender {
    /// Creates a sender to an app of these servers.
    pub(crate) fn new(
        servers: Vec<SocketAddr>,
        app_id: &str,
        secret: &str,
        retry_interval: Duration,
    ) -> Result<Self, Failure> {
        let http = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).no_proxy().build()?;
        let path = format!("/webhooks/{app_id}");
        Ok(Self { http, servers, path, secret: secret.to_owned(), tally: Arc::default(), retry_interval })
    }

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Sends the webhooks of a call in this order, each after the answer to the one before.
    pub(crate) async fn send_call(&self, call: Call, steps: &[Step]) {
        for (index, step) in steps.iter().enumerate() {
            if index > 0 {
                sleep(STEP_PAUSE).await;
            }
            self.send(call, *step).await;
        }
    }

    /// Sends a webhook until it is acknowledged or given up.
    async fn send(&self, call: Call, step: Step) {
        self.tally.sending(call.number, step);
        let body = call.webhook(step);
        let began = Instant::now();
        // With several servers, the webhooks of a call go to them in turn.
        for attempt in call.number + step as u32.. {
            let server = self.servers[attempt as usize % self.servers.len()];
            let at = Instant::now();
            if let Some(answer) = self.post(server, &body).await {
                let is_spooled = answer.status.as_deref() == Some("spooled");
                self.tally.acknowledged(call.number, step, Answer { at, took: at.elapsed() }, is_spooled);
                return;
            }
            if began.elapsed() + self.retry_interval > GIVE_UP_AFTER {
                return;
            }
            sleep(self.retry_interval).await;
        }
    }

    /// Posts a webhook several times at once. Returns how many copies were acknowledged, and how many of those were not
    /// called a duplicate.
    pub(crate) async fn send_copies(&self, call: Call, step: Step, copies: usize) -> (usize, usize) {
        self.tally.sending(call.number, step);
        let body = call.webhook(step);
        let at = Instant::now();
        let posts = (0..copies).map(|copy| self.post(self.servers[copy % self.servers.len()], &body));
        let answers: Vec<_> = futures_util::future::join_all(posts).await.into_iter().flatten().collect();
        if !answers.is_empty() {
            self.tally.acknowledged(call.number, step, Answer { at, took: at.elapsed() }, false);
        }
        (answers.len(), answers.iter().filter(|answer| !answer.duplicate).count())
    }

    /// Posts any body. Returns the status of the answer.
    pub(crate) async fn post_body(&self, body: Vec<u8>) -> Option<u16> {
        let request = self.request(self.servers[0], body);
        request.send().await.ok().map(|answer| answer.status().as_u16())
    }

    async fn post(&self, server: SocketAddr, body: &str) -> Option<Acknowledgement> {
        let answer = self.request(server, body.to_owned().into_bytes()).send().await.ok()?;
        let status = answer.status().as_u16();
        // An answer that is cut acknowledges nothing.
        let text = answer.text().await.ok()?;
        match (status, serde_json::from_str::<Acknowledgement>(&text)) {
            (200, Ok(acknowledgement)) if acknowledgement.success => match &acknowledgement.status {
                Some(other) if other != "spooled" => {
                    self.tally.unexpected(format!("a webhook was answered {text}"));
                    None
                }
                _ => Some(acknowledgement),
            },
            // 408: a busy machine did not read the request in time.
            (503 | 408, _) => {
                self.tally.refused();
                None
            }
            _ => {
                self.tally.unexpected(format!("a webhook was answered {status} {text}"));
                None
            }
        }
    }

    fn request(&self, server: SocketAddr, body: Vec<u8>) -> reqwest::RequestBuilder {
        let signature = sign(&self.secret, &body);
        let url = format!("http://{server}{}", self.path);
        self.http.post(url).header("x-dialpad-signature", signature).body(body)
    }
}

/// Calls that begin at a steady rate, whatever the answers.
#[derive(Debug)]
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    /// Returns the number of the next call.
    running: JoinHandle<u32>,
}

impl Load {
    /// Starts calls from this number on, with so many webhooks per second in total.
    pub(crate) fn start(sender: &Sender, first_call: u32, webhooks_per_second: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (sender, over) = (sender.clone(), Arc::clone(&is_over));
        let calls_per_second = f64::from(webhooks_per_second) / Step::ALL.len() as f64;
        let running = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs_f64(1.0 / calls_per_second.max(0.1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut calls = JoinSet::new();
            let mut next_call = first_call;
            while !over.load(Ordering::Acquire) {
                ticks.tick().await;
                let call = Call::recent(next_call);
                next_call += 1;
                let sender = sender.clone();
                calls.spawn(async move { sender.send_call(call, &Step::ALL).await });
                while calls.try_join_next().is_some() {}
            }
            while calls.join_next().await.is_some() {}
            next_call
        });
        Self { is_over, running }
    }

    /// Starts no more calls, and waits until each webhook of those that began is acknowledged or given up. Returns the
    /// number of the next call.
    pub(crate) async fn finish(self) -> Result<u32, Failure> {
        self.is_over.store(true, Ordering::Release);
        Ok(self.running.await?)
    }
}
