//! Brings webhooks to their receivers as patiently as Dialpad does, and writes down how each delivery went.
//!
//! A receiver has five seconds. 5xx is tried again after 2, 4 and 8 seconds, silence (no connection, no answer in time)
//! twice at once, and any other answer is final: a 4xx loses the event.
//!
//! Anything that should go wrong on purpose between the signature and the receiver belongs around [`Courier::attempt`].

use std::sync::Mutex;
use std::time::Duration;

use reqwest::{Client, redirect};
use serde_json::Value;

use super::clock;
use super::deliveries::{Deliveries, Delivery};
use super::lock;
use super::parcel::Parcel;

/// How long a receiver may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a delivery is tried again after silence.
const QUICK_RETRIES: u32 = 2;

/// The one HTTP client of the simulator, and its book of deliveries.
pub(crate) struct Courier {
    client: Client,
    /// The waits before each new try after a 5xx.
    backoff: Vec<Duration>,
    pub(crate) deliveries: Mutex<Deliveries>,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The receiver took it with a 2xx.
    Acknowledged,
    /// It was refused, or tried often enough.
    GivenUp,
}

enum Attempt {
    Answered(u16),
    /// Nobody answered, or not in time; the reason, for the book.
    Silence(String),
}

impl Courier {
    pub(crate) fn new(backoff: Vec<Duration>) -> Self {
        let client = Client::builder()
            .timeout(PATIENCE)
            // A redirect is an answer that is not a 2xx; a proxy has no place between a simulator and a test.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("the TLS backend is compiled in");
        Self { client, backoff, deliveries: Mutex::default() }
    }

    /// Delivers one webhook, retries included.
    pub(crate) async fn deliver(&self, run_id: &str, parcel: &Parcel, about: About) -> Outcome {
        let mut delivery = Delivery {
            n: 0,
            run_id: run_id.to_owned(),
            call_id: about.call_id,
            message_id: about.message_id,
            state_or_type: about.state_or_type,
            tells: about.tells.map(Into::into),
            url: parcel.url.clone(),
            sent_at: clock::now().timestamp_micros(),
            acked_at: None,
            attempts: 0,
            status: None,
            error: None,
        };
        let mut backoff = self.backoff.iter();
        let mut quick_retries = QUICK_RETRIES;
        let outcome = loop {
            delivery.attempts += 1;
            match self.attempt(parcel).await {
                Attempt::Answered(status) => {
                    (delivery.status, delivery.error) = (Some(status), None);
                    match status {
                        200..=299 => {
                            delivery.acked_at = Some(clock::now().timestamp_micros());
                            break Outcome::Acknowledged;
                        }
                        500..=599 => match backoff.next() {
                            Some(wait) => tokio::time::sleep(*wait).await,
                            None => break Outcome::GivenUp,
                        },
                        _ => break Outcome::GivenUp,
                    }
                }
                Attempt::Silence(reason) => {
                    (delivery.status, delivery.error) = (None, Some(reason));
                    if quick_retries == 0 {
                        break Outcome::GivenUp;
                    }
                    quick_retries -= 1;
                }
            }
        };
        lock(&self.deliveries).append(delivery);
        outcome
    }

    async fn attempt(&self, parcel: &Parcel) -> Attempt {
        match parcel.post(&self.client).await {
            Ok(response) => {
                let status = response.status().as_u16();
                // A body that is read to its end leaves the connection free for the next webhook; what it says, or
                // whether it ever ends, changes nothing.
                let _ = response.bytes().await;
                Attempt::Answered(status)
            }
            Err(error) if error.is_timeout() => Attempt::Silence("timeout".to_owned()),
            Err(error) => Attempt::Silence(root_cause(&error)),
        }
    }
}

/// What a webhook is about, for the book of deliveries.
pub(crate) struct About {
    call_id: Option<i64>,
    message_id: Option<i64>,
    state_or_type: String,
    tells: Option<&'static str>,
}

impl About {
    pub(crate) fn of(payload: &Value, tells: Option<&'static str>) -> Self {
        let word = payload["state"].as_str().or_else(|| payload["event_type"].as_str());
        let call_id = payload["call_id"].as_i64();
        let text_id = payload["message_id"].as_i64().or_else(|| payload["id"].as_i64());
        Self {
            call_id,
            message_id: if call_id.is_none() { text_id } else { None },
            state_or_type: word.or_else(|| payload["message_status"].as_str()).unwrap_or_default().to_owned(),
            tells,
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
