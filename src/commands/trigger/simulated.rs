//! The simulator that gets to know what `trigger` invents: without it, the links to recordings lead nowhere.

use reqwest::{Client, Url};
use serde_json::{Value, json};

use crate::commands::error_chain;

/// A running simulator.
pub(super) struct SimulatedDialpad {
    /// Its address without a slash at the end.
    base_url: String,
    /// Whether it did not take a call; later ones are not sent.
    is_away: bool,
}

impl SimulatedDialpad {
    /// Returns the simulator at this address; `None` if the address is Dialpad's own.
    pub(super) fn new(url: &Url) -> Option<Self> {
        let host = url.host_str()?;
        let is_dialpad = host == "dialpad.com" || host.ends_with(".dialpad.com");
        let base_url = url.as_str().trim_end_matches('/').to_owned();
        (!is_dialpad).then_some(Self { base_url, is_away: false })
    }

    /// Returns its address, with which links to recordings begin.
    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Records a call as the REST API is to show it. A failure is printed once: the webhooks do not depend on it.
    pub(super) async fn record(&mut self, client: &Client, call: &Value) {
        if self.is_away {
            return;
        }
        let url = format!("{}/simulator/calls", self.base_url);
        let sent = client.post(url).json(&json!({"call": call})).send().await;
        let reason = match sent {
            Ok(answer) if answer.status().is_success() => return,
            Ok(answer) => format!("it answered {}", answer.status()),
            Err(error) => error_chain(&error),
        };
        self.is_away = true;
        eprintln!("the simulator at {} does not know these calls: {reason}", self.base_url);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialpad_itself_is_no_simulator() {
        let simulator = |url: &str| SimulatedDialpad::new(&url.parse().expect("a URL"));
        assert!(simulator("https://sandbox.dialpad.com").is_none());
        assert!(simulator("https://dialpad.com/").is_none());
        let local = simulator("http://127.0.0.1:4010/").expect("a simulator");
        assert_eq!(local.base_url(), "http://127.0.0.1:4010");
    }
}
