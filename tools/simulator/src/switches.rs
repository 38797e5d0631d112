//! The switches that change the simulator's behavior while it runs. By default nothing goes wrong.
//!
//! They are set by `PUT` and `PATCH /simulator/switches` and by `cti-server simulate --switch NAME=VALUE`, and act in four
//! places: `middleware.rs` (every request), `token.rs` with `grants.rs` (OAuth), `rest/` (what a token may access) and
//! `dispatch.rs` (webhooks). To add one: a field here, its effect in one of these places, a row in docs/operations.md.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::faults::{EndpointGroup, NextAnswer};
use super::grants::TokenPolicy;

/// The value of every switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// The delay before `/oauth2/token` takes effect, in milliseconds.
    pub token_delay_ms: u64,
    /// The delay of its answer after it took effect, in milliseconds.
    pub token_answer_delay_ms: u64,
    /// The delay before `/api/v2/…` takes effect, in milliseconds.
    pub api_delay_ms: u64,
    /// The delay of its answer, in milliseconds.
    pub api_answer_delay_ms: u64,
    /// The delay before a recording is served, in milliseconds.
    pub media_delay_ms: u64,
    /// The delay of its answer, in milliseconds.
    pub media_answer_delay_ms: u64,
    /// Faulty answers to the next requests.
    pub next_answers: Vec<NextAnswer>,

    /// The company of new authorizations and flows; `None`: the one of the options.
    pub company_id: Option<i64>,
    /// Scopes that new authorizations do not get.
    pub withheld_scopes: Vec<String>,
    /// The lifetime of a new access token.
    pub token_lifetime_seconds: u64,
    /// What token answers say instead of the real lifetime; `"absent"` leaves it out.
    pub expires_in: Option<Value>,
    /// A refresh answers without a refresh token, and the old one stays valid.
    pub keep_refresh_tokens: bool,
    /// Using a refresh token again revokes all tokens of its connection.
    pub refresh_reuse_revokes: bool,
    /// How long a used refresh token works once more.
    pub refresh_reuse_grace_seconds: u64,

    /// Rejects requests that the token's scopes do not cover. The static API key has all scopes.
    pub enforce_scopes: bool,
    /// Answers 429 with `Retry-After` beyond the limits of the real platform.
    pub enforce_rate_limits: bool,
    /// Links to recordings in webhooks have expired (403); `GET /api/v2/call/{id}` returns valid ones.
    pub expired_recording_links: bool,
    /// Scheme and host of the last redirect of a recording; `None`: this simulator.
    pub recordings_elsewhere: Option<String>,

    /// Delivers the first webhook of a placed call before the reply is sent.
    pub webhook_before_reply: bool,
    /// Scales the delays of placed calls: 1 is realistic, 0 leaves one millisecond between steps.
    pub placed_call_pace: f64,
    /// How often each webhook is delivered.
    pub webhook_copies: u32,
    /// The delay before each webhook is sent, in milliseconds.
    pub webhook_delay_ms: u64,
    /// The order of a call's webhooks; any but the first waits for the end of the call.
    pub webhook_order: WebhookOrder,
    /// States or event types whose webhooks are never sent; `"all"` is every one.
    pub dropped_webhooks: Vec<String>,
    /// The share of webhooks that are lost at random, from 0 to 1.
    pub webhook_loss: f64,
}

/// The order in which the webhooks of a call are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookOrder {
    /// In the order in which they happen.
    #[default]
    AsItHappens,
    /// The last one first.
    Reversed,
    /// At random.
    Shuffled,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            token_delay_ms: 0,
            token_answer_delay_ms: 0,
            api_delay_ms: 0,
            api_answer_delay_ms: 0,
            media_delay_ms: 0,
            media_answer_delay_ms: 0,
            next_answers: Vec::new(),
            company_id: None,
            withheld_scopes: Vec::new(),
            token_lifetime_seconds: 3_600,
            expires_in: None,
            keep_refresh_tokens: false,
            refresh_reuse_revokes: false,
            refresh_reuse_grace_seconds: 0,
            enforce_scopes: false,
            enforce_rate_limits: false,
            expired_recording_links: false,
            recordings_elsewhere: None,
            webhook_before_reply: false,
            placed_call_pace: 1.0,
            webhook_copies: 1,
            webhook_delay_ms: 0,
            webhook_order: WebhookOrder::AsItHappens,
            dropped_webhooks: Vec::new(),
            webhook_loss: 0.0,
        }
    }
}

impl Switches {
    /// Returns the switches with the named ones changed.
    ///
    /// # Errors
    ///
    /// Fails if there is no such switch, or if the value is not allowed.
    pub fn changed(&self, change: &Map<String, Value>) -> Result<Self, InvalidSwitch> {
        let mut all = serde_json::to_value(self).map_err(|error| InvalidSwitch(error.to_string()))?;
        for (name, position) in change {
            all[name] = position.clone();
        }
        let changed: Self = serde_json::from_value(all).map_err(|error| InvalidSwitch(error.to_string()))?;
        changed.check()?;
        Ok(changed)
    }

    fn check(&self) -> Result<(), InvalidSwitch> {
        if !(0.0..=1_000.0).contains(&self.placed_call_pace) {
            return Err(InvalidSwitch("placed_call_pace must be between 0 and 1000".to_owned()));
        }
        if !(0.0..=1.0).contains(&self.webhook_loss) {
            return Err(InvalidSwitch("webhook_loss must be between 0 and 1".to_owned()));
        }
        if !(1..=100).contains(&self.webhook_copies) {
            return Err(InvalidSwitch("webhook_copies must be between 1 and 100".to_owned()));
        }
        Ok(())
    }

    /// Returns the delay before a request takes effect, and the delay of its answer.
    pub(crate) fn delays(&self, group: EndpointGroup) -> (Duration, Duration) {
        let (before, afterwards) = match group {
            EndpointGroup::Token => (self.token_delay_ms, self.token_answer_delay_ms),
            EndpointGroup::Api => (self.api_delay_ms, self.api_answer_delay_ms),
            EndpointGroup::Media => (self.media_delay_ms, self.media_answer_delay_ms),
        };
        (Duration::from_millis(before), Duration::from_millis(afterwards))
    }

    /// Returns how tokens are issued and accepted.
    pub(crate) fn policy(&self) -> TokenPolicy {
        TokenPolicy {
            lifetime: Duration::from_secs(self.token_lifetime_seconds),
            rotate: !self.keep_refresh_tokens,
            grace: Duration::from_secs(self.refresh_reuse_grace_seconds),
            reuse_revokes: self.refresh_reuse_revokes,
        }
    }
}

/// Why switches were not changed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSwitch(String);

/// A switch on the command line, as `NAME=VALUE`.
#[derive(Clone, Debug)]
pub struct SwitchSetting {
    name: String,
    position: Value,
}

impl SwitchSetting {
    /// Combines several settings into one change.
    pub fn all(settings: impl IntoIterator<Item = Self>) -> Map<String, Value> {
        settings.into_iter().map(|setting| (setting.name, setting.position)).collect()
    }
}

impl FromStr for SwitchSetting {
    type Err = InvalidSwitch;

    fn from_str(text: &str) -> Result<Self, InvalidSwitch> {
        let (name, value) = text.split_once('=').unwrap_or((text, "true"));
        // A value that is not JSON is a string: it needs no quotes in a shell.
        let position = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        let setting = Self { name: name.trim().to_owned(), position };
        Switches::default().changed(&Self::all([setting.clone()]))?;
        Ok(setting)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(change: &Value) -> Result<Switches, String> {
        let change = change.as_object().expect("an object");
        Switches::default().changed(change).map_err(|error| error.to_string())
    }

    #[test]
    fn a_change_keeps_the_other_switches_and_an_error_names_the_switch() {
        let switches = changed(&json!({"enforce_scopes": true})).expect("valid");
        assert_eq!(switches, Switches { enforce_scopes: true, ..Switches::default() });
        for (change, named) in [
            (json!({"enforce_scope": true}), "enforce_scope"),
            (json!({"enforce_scopes": "on"}), "boolean"),
            (json!({"placed_call_pace": -1}), "placed_call_pace"),
            (json!({"webhook_copies": 0}), "webhook_copies"),
            (json!({"next_answers": [{"to": "api", "answer": "hmtl"}]}), "hmtl"),
        ] {
            assert!(changed(&change).is_err_and(|error| error.contains(named)), "{change}");
        }
    }

    #[test]
    fn values_on_the_command_line_need_no_quotes() {
        let settings = ["enforce_scopes", "recordings_elsewhere=http://127.0.0.1:9", "placed_call_pace=0"];
        let change = SwitchSetting::all(settings.map(|setting| setting.parse().expect("a switch")));
        let switches = Switches::default().changed(&change).expect("valid");
        assert!(switches.enforce_scopes && switches.placed_call_pace == 0.0);
        assert_eq!(switches.recordings_elsewhere.as_deref(), Some("http://127.0.0.1:9"));
        assert!("nonsense=1".parse::<SwitchSetting>().is_err());
    }
}
