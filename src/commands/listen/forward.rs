//! Forwards events to a URL, one after the other: the next event waits until the previous one was accepted.

use std::fmt;
use std::time::Duration;

use cti_client::{Backoff, Event};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url, redirect};
use tokio::time::sleep;

use super::ListenError;
use crate::commands::error_chain;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The receiver of the events.
pub(super) struct Forwarder {
    url: Url,
    client: Client,
    backoff: Backoff,
}

impl Forwarder {
    pub(super) fn new(url: Url) -> Result<Self, ListenError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ListenError::ForwardTo);
        }
        let client = Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .expect("the TLS backend is compiled in");
        Ok(Self { url, client, backoff: Backoff::default() })
    }

    /// Posts an event until it is accepted. Dropping the future aborts.
    pub(super) async fn deliver(&self, event: &Event, report: impl Fn(String)) {
        let mut failures = 0;
        loop {
            let Err(failure) = self.post(event).await else { return };
            failures += 1;
            let delay = self.backoff.delay(failures, rand::random());
            report(format!(
                "event {} was not accepted: {failure}; retrying in {:.1} s",
                event.seq,
                delay.as_secs_f64()
            ));
            sleep(delay).await;
        }
    }

    async fn post(&self, event: &Event) -> Result<(), String> {
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("x-cti-event-id", &event.event_id)
            .body(event.json.clone());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("{self} answered {}", answer.status().as_u16())),
            // The URL may contain a secret: it is shown without its query.
            Err(error) => Err(error_chain(&error.without_url())),
        }
    }
}

impl fmt::Display for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        // An http URL can have both.
        let _ = shown.set_password(None);
        let _ = shown.set_username("");
        write!(f, "{shown}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarder(url: &str) -> Result<Forwarder, ListenError> {
        Forwarder::new(url.parse().expect("a URL"))
    }

    #[test]
    fn secrets_in_the_url_are_not_shown() {
        let shown = forwarder("http://ada:pw@localhost:3000/hook?token=t#f").expect("http").to_string();
        assert_eq!(shown, "http://localhost:3000/hook");
    }

    #[test]
    fn events_can_be_forwarded_to_http_only() {
        assert!(forwarder("ftp://localhost/hook").is_err());
    }
}
