//! Delivers webhooks with the timeouts and retries of Dialpad, and logs the result of each delivery.
//!
//! A receiver has five seconds to answer. 5xx is retried after 2, 4 and 8 seconds; no answer (no connection, or a timeout)
//! is retried twice at once; any other answer is final: a 4xx loses the event.
//!
//! A fault between signature and receiver belongs around [`WebhookSender::attempt`].

use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Client, redirect};
use serde_json::Value;

use super::clock;
use super::delivery_log::{Delivery, DeliveryLog};
use super::flows::EventType;
use super::lock;
use super::signed_webhook::SignedWebhook;

/// How long a receiver may take to answer.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a delivery without an answer is retried.
const IMMEDIATE_RETRIES: u32 = 2;

/// The simulator's HTTP client and its delivery log.
pub(crate) struct WebhookSender {
    client: Client,
    /// The wait before each retry after a 5xx.
    backoff: Vec<Duration>,
    pub(crate) deliveries: Mutex<DeliveryLog>,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryOutcome {
    /// The receiver answered 2xx.
    Acknowledged,
    /// The receiver refused it, or all retries failed.
    GivenUp,
}

enum Attempt {
    Answered(u16),
    /// There was no answer in time; the reason, for the log.
    NoAnswer(String),
}

impl WebhookSender {
    pub(crate) fn new(backoff: Vec<Duration>) -> Self {
        let client = Client::builder()
            .timeout(RECEIVER_TIMEOUT)
            // A redirect is an answer that is not a 2xx. A proxy must not come between simulator and test.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("the TLS backend is compiled in");
        Self { client, backoff, deliveries: Mutex::default() }
    }

    /// Delivers one webhook, including retries.
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
            expected_event: subject.expected_event,
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
                    delivery.status = Some(status);
                    delivery.error = None;
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
                    delivery.status = None;
                    delivery.error = Some(reason);
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
                // A body that is read to its end leaves the connection reusable; its content does not matter.
                let _ = response.bytes().await;
                Attempt::Answered(status)
            }
            Err(error) if error.is_timeout() => Attempt::NoAnswer("timeout".to_owned()),
            Err(error) => Attempt::NoAnswer(root_cause(&error)),
        }
    }
}

/// The subject of a webhook, for the delivery log.
pub(crate) struct WebhookSubject {
    call_id: Option<i64>,
    message_id: Option<i64>,
    state_or_type: String,
    expected_event: Option<EventType>,
}

impl WebhookSubject {
    pub(crate) fn of(payload: &Value, expected_event: Option<EventType>) -> Self {
        let state_or_type = payload["state"].as_str().or_else(|| payload["event_type"].as_str());
        let call_id = payload["call_id"].as_i64();
        let text_id = payload["message_id"].as_i64().or_else(|| payload["id"].as_i64());
        Self {
            call_id,
            message_id: if call_id.is_none() { text_id } else { None },
            state_or_type: state_or_type
                .or_else(|| payload["message_status"].as_str())
                .unwrap_or_default()
                .to_owned(),
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
