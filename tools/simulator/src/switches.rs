//! What can be made different, or go wrong, while the simulator runs: one struct of switches, harmless at first.
//!
//! They are set by `PUT` and `PATCH /simulator/switches` and by `cti-server simulate --switch NAME=VALUE`, and they act
//! in four places: `attend.rs` (every request), `token.rs` with `grants.rs` (OAuth), `rest/` (what a token may see) and
//! `dispatch.rs` (webhooks). To add one more: a field here with its meaning, its effect in the place that it is about, a
//! line in docs/operations.md.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::faults::{EndpointGroup, NextAnswer};
use super::grants::TokenPolicy;

/// The position of every switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// How long `/oauth2/token` waits before it begins, in milliseconds.
    pub token_delay_ms: u64,
    /// How long its answer waits after it took effect, in milliseconds.
    pub token_answer_delay_ms: u64,
    /// The same for `/api/v2/…`, before.
    pub api_delay_ms: u64,
    /// And afterwards.
    pub api_answer_delay_ms: u64,
    /// The same for recordings, before.
    pub media_delay_ms: u64,
    /// And afterwards.
    pub media_answer_delay_ms: u64,
    /// What the next requests are answered instead of the truth.
    pub next_answers: Vec<NextAnswer>,

    /// The company that new authorisations and flows belong to; none is the one it was started with.
    pub company_id: Option<i64>,
    /// Scopes that new authorisations do not get, whatever they ask for.
    pub withheld_scopes: Vec<String>,
    /// How long a new access token is good.
    pub token_lifetime_seconds: u64,
    /// What token answers say of that instead, whatever it is; `"absent"` leaves it out. None is the truth.
    pub expires_in: Option<Value>,
    /// A refresh is answered without a refresh token, and the one that it was made with stays good.
    pub keep_refresh_tokens: bool,
    /// A refresh token that is used again revokes all tokens of its connection.
    pub refresh_reuse_revokes: bool,
    /// For how long a refresh token that was used works once more.
    pub refresh_reuse_grace_seconds: u64,

    /// Refuses what the token's scopes do not cover. The static API key may do everything.
    pub enforce_scopes: bool,
    /// Answers 429 with `Retry-After` to whoever asks more often than the real platform allows.
    pub enforce_rate_limits: bool,
    /// Links to recordings that webhooks named have expired (403); `GET /api/v2/call/{id}` gives good ones.
    pub expired_recording_links: bool,
    /// Where recordings really lie: the last redirect leads to this address (scheme and host) instead of here.
    pub recordings_elsewhere: Option<String>,

    /// The first webhook of a call that was placed over the API is delivered before the reply is sent.
    pub webhook_before_reply: bool,
    /// How fast calls that were placed over the API live: 1 is as in life, 0 as fast as can be told apart.
    pub placed_call_pace: f64,
    /// How often each webhook is delivered.
    pub webhook_copies: u32,
    /// How long each webhook waits before it is sent, in milliseconds.
    pub webhook_delay_ms: u64,
    /// In which order the webhooks of a call are sent; all but the first kind wait for its end.
    pub webhook_order: WebhookOrder,
    /// States or event types whose webhooks are never sent; `"all"` is every one.
    pub dropped_webhooks: Vec<String>,
    /// The share of webhooks that are never sent, from 0 to 1, left to chance.
    pub webhook_loss: f64,
}

/// In which order the webhooks of a call are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookOrder {
    /// Each when it happens.
    #[default]
    AsItHappens,
    /// The last one first.
    Reversed,
    /// By chance.
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
    /// The switches after a change that names only some of them.
    ///
    /// # Errors
    ///
    /// There is no such switch, or it has no such position.
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

    /// How long a request waits before it is dealt with, and its answer afterwards.
    pub(crate) fn delays(&self, group: EndpointGroup) -> (Duration, Duration) {
        let (before, afterwards) = match group {
            EndpointGroup::Token => (self.token_delay_ms, self.token_answer_delay_ms),
            EndpointGroup::Api => (self.api_delay_ms, self.api_answer_delay_ms),
            EndpointGroup::Media => (self.media_delay_ms, self.media_answer_delay_ms),
        };
        (Duration::from_millis(before), Duration::from_millis(afterwards))
    }

    /// What new tokens are issued on.
    pub(crate) fn policy(&self) -> TokenPolicy {
        TokenPolicy {
            lifetime: Duration::from_secs(self.token_lifetime_seconds),
            rotate: !self.keep_refresh_tokens,
            grace: Duration::from_secs(self.refresh_reuse_grace_seconds),
            reuse_revokes: self.refresh_reuse_revokes,
        }
    }
}

/// Why switches were left as they were.
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
    /// Makes one change of several.
    pub fn all(turns: impl IntoIterator<Item = Self>) -> Map<String, Value> {
        turns.into_iter().map(|turn| (turn.name, turn.position)).collect()
    }
}

impl FromStr for SwitchSetting {
    type Err = InvalidSwitch;

    fn from_str(text: &str) -> Result<Self, InvalidSwitch> {
        let (name, value) = text.split_once('=').unwrap_or((text, "true"));
        // What is not JSON is a text that needs no quotes in a shell.
        let position = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        let turn = Self { name: name.trim().to_owned(), position };
        Switches::default().changed(&Self::all([turn.clone()]))?;
        Ok(turn)
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
    fn a_change_leaves_the_others_alone_and_a_slip_is_named() {
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
    fn a_command_line_needs_no_quotes() {
        let turns = ["enforce_scopes", "recordings_elsewhere=http://127.0.0.1:9", "placed_call_pace=0"];
        let change = SwitchSetting::all(turns.map(|turn| turn.parse().expect("a switch")));
        let switches = Switches::default().changed(&change).expect("valid");
        assert!(switches.enforce_scopes && switches.placed_call_pace == 0.0);
        assert_eq!(switches.recordings_elsewhere.as_deref(), Some("http://127.0.0.1:9"));
        assert!("nonsense=1".parse::<SwitchSetting>().is_err());
    }
}
