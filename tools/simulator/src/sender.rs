//! Brings webhooks to their receivers as patiently as Dialpad does, and writes down how each delivery went.
//!
//! A receiver has five seconds. 5xx is tried again after 2, 4 and 8 seconds, silence (no connection, no answer in time)
//! twice at once, and any other answer is final: a 4xx loses the event.
//!
//! Anything that should go wrong on purpose between the signature and the receiver belongs around [`WebhookSender::attempt`].

use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Client, redirect};
use serde_json::Value;

use super::clock;
use super::delivery_log::{Delivery, DeliveryLog};
use super::lock;
use super::signed_webhook::SignedWebhook;

/// How long a receiver may take to answer.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a delivery is tried again after silence.
const IMMEDIATE_RETRIES: u32 = 2;

/// The one HTTP client of the simulator, and its book of deliveries.
pub(crate) struct WebhookSender {
    client: Client,
    /// The waits before each new try after a 5xx.
    backoff: Vec<Duration>,
    pub(crate) deliveries: Mutex<DeliveryLog>,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryOutcome {
    /// The receiver took it with a 2xx.
    Acknowledged,
    /// It was rejected, or tried often enough.
    GivenUp,
}

enum Attempt {
    Answered(u16),
    /// Nobody answered, or not in time; the reason, for the book.
    NoAnswer(String),
}

impl WebhookSender {
    pub(crate) fn new(backoff: Vec<Duration>) -> Self {
        let client = Client::builder()
            .timeout(RECEIVER_TIMEOUT)
            // A redirect is an answer that is not a 2xx; a proxy has no place between a simulator and a test.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("the TLS backend is compiled in");
        Self { client, backoff, deliveries: Mutex::default() }
    }

    /// Delivers one webhook, retries included.
    pub(crate) async fn deliver(
        &self,
        run_id: &str,
        webhook: &SignedWebhook,
        subject: WebhookSubject,
    ) -> DeliveryOutcome {
        let mut delivery = Delivery {
            n: 0,
            run_id: run_id.to_owned(),
            call_id: subject.call_id,
            message_id: subject.message_id,
            state_or_type: subject.state_or_type,
            expected_event: subject.expected_event.map(Into::into),
            url: webhook.url.clone(),
            sent_at: clock::now().timestamp_micros(),
            acked_at: None,
            attempts: 0,
            status: None,
            error: None,
        };
        let mut backoff = self.backoff.iter();
        let mut immediate_retries = IMMEDIATE_RETRIES;
        let outcome = loop {
            delivery.attempts += 1;
            match self.attempt(webhook).await {
                Attempt::Answered(status) => {
                    (delivery.status, delivery.error) = (Some(status), None);
                    match status {
                        200..=299 => {
                            delivery.acked_at = Some(clock::now().timestamp_micros());
                            break DeliveryOutcome::Acknowledged;
                        }
                        500..=599 => match backoff.next() {
                            Some(wait) => tokio::time::sleep(*wait).await,
                            None => break DeliveryOutcome::GivenUp,
                        },
                        _ => break DeliveryOutcome::GivenUp,
                    }
                }
                Attempt::NoAnswer(reason) => {
                    (delivery.status, delivery.error) = (None, Some(reason));
                    if immediate_retries == 0 {
                        break DeliveryOutcome::GivenUp;
                    }
                    immediate_retries -= 1;
                }
            }
        };
        lock(&self.deliveries).append(delivery);
        outcome
    }

    async fn attempt(&self, webhook: &SignedWebhook) -> Attempt {
        match webhook.post(&self.client).await {
            Ok(response) => {
                let status = response.status().as_u16();
                // A body that is read to its end leaves the connection free for the next webhook; what it says, or
                // whether it ever ends, changes nothing.
                let _ = response.bytes().await;
                Attempt::Answered(status)
            }
            Err(error) if error.is_timeout() => Attempt::NoAnswer("timeout".to_owned()),
            Err(error) => Attempt::NoAnswer(root_cause(&error)),
        }
    }
}

/// What a webhook is subject, for the book of deliveries.
pub(crate) struct WebhookSubject {
    call_id: Option<i64>,
    message_id: Option<i64>,
    state_or_type: String,
    expected_event: Option<&'static str>,
}

impl WebhookSubject {
    pub(crate) fn of(payload: &Value, expected_event: Option<&'static str>) -> Self {
        let word = payload["state"].as_str().or_else(|| payload["event_type"].as_str());
        let call_id = payload["call_id"].as_i64();
        let text_id = payload["message_id"].as_i64().or_else(|| payload["id"].as_i64());
        Self {
            call_id,
            message_id: if call_id.is_none() { text_id } else { None },
            state_or_type: word.or_else(|| payload["message_status"].as_str()).unwrap_or_default().to_owned(),
            expected_event,
        }
    }
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
