//! Passes events on to an address, one after the other: the next one goes out when the one before was taken.

use std::fmt;
use std::time::Duration;

use cti_client::{Event, Pace};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url, redirect};
use tokio::time::sleep;

use super::ListenError;
use crate::commands::causes;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Where events go.
pub(super) struct Forwarder {
    url: Url,
    client: Client,
    pace: Pace,
}

impl Forwarder {
    pub(super) fn to(url: Url) -> Result<Self, ListenError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ListenError::ForwardTo);
        }
        let client = Client::builder()
            .timeout(ANSWER_WITHIN)
            .redirect(redirect::Policy::none())
            .build()
            .expect("the TLS backend is compiled in");
        Ok(Self { url, client, pace: Pace::default() })
    }

    /// Posts it until it is taken. Whoever gives up drops the future.
    pub(super) async fn deliver(&self, event: &Event, report: impl Fn(String)) {
        let mut failures = 0;
        loop {
            let Err(failure) = self.post(event).await else { return };
            failures += 1;
            let wait = self.pace.wait(failures, rand::random());
            report(format!(
                "event {} was not taken: {failure}; trying again in {:.1} s",
                event.seq,
                wait.as_secs_f64()
            ));
            sleep(wait).await;
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
            Ok(answer) => Err(format!("{self} answers {}", answer.status().as_u16())),
            // The address may hold a secret: it is shown without its query, or not at all.
            Err(error) => Err(causes(&error.without_url())),
        }
    }
}

impl fmt::Display for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        // An address of http has a place for both.
        let _ = shown.set_password(None);
        let _ = shown.set_username("");
        write!(f, "{shown}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarder(url: &str) -> Result<Forwarder, ListenError> {
        Forwarder::to(url.parse().expect("a URL"))
    }

    #[test]
    fn secrets_in_the_address_are_not_shown() {
        let shown = forwarder("http://ada:pw@localhost:3000/hook?token=t#f").expect("http").to_string();
        assert_eq!(shown, "http://localhost:3000/hook");
    }

    #[test]
    fn events_can_be_posted_to_http_only() {
        assert!(forwarder("ftp://localhost/hook").is_err());
    }
}
