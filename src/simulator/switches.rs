//! What can be made different, or go wrong, while the simulator runs: one struct of switches, all off at first.
//!
//! They are set by `GET`, `PUT` and `PATCH /simulator/switches` and by `cti-server simulate --switch NAME=VALUE`. To add
//! one more: a field here with its meaning, its effect in the one place that it is about, a line in docs/operations.md.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The position of every switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Refuses what the token's scopes do not cover. The static API key may do everything.
    pub enforce_scopes: bool,
    /// Links to recordings that webhooks named have expired (403); `GET /api/v2/call/{id}` gives good ones.
    pub expired_recording_links: bool,
    /// Where recordings really lie: the last redirect leads to this address (scheme and host) instead of here.
    pub recordings_elsewhere: Option<String>,
    /// The first webhook of a call that was placed over the API is delivered before the reply is sent.
    pub webhook_before_reply: bool,
    /// How fast calls that were placed over the API live: 1 is as in life, 0 as fast as can be told apart.
    pub placed_call_pace: f64,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            enforce_scopes: false,
            expired_recording_links: false,
            recordings_elsewhere: None,
            webhook_before_reply: false,
            placed_call_pace: 1.0,
        }
    }
}

impl Switches {
    /// The switches after a change that names only some of them.
    ///
    /// # Errors
    ///
    /// There is no such switch, or it has no such position.
    pub fn changed(&self, change: &Map<String, Value>) -> Result<Self, BadSwitch> {
        let mut all = serde_json::to_value(self).map_err(|error| BadSwitch(error.to_string()))?;
        for (name, position) in change {
            all[name] = position.clone();
        }
        let changed: Self = serde_json::from_value(all).map_err(|error| BadSwitch(error.to_string()))?;
        changed.check()?;
        Ok(changed)
    }

    fn check(&self) -> Result<(), BadSwitch> {
        if !(0.0..=1_000.0).contains(&self.placed_call_pace) {
            return Err(BadSwitch("placed_call_pace must be between 0 and 1000".to_owned()));
        }
        Ok(())
    }
}

/// Why switches were left as they were.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadSwitch(String);

/// A switch on the command line, as `NAME=VALUE`.
#[derive(Clone, Debug)]
pub struct Turn {
    name: String,
    position: Value,
}

impl Turn {
    /// Makes one change of several.
    pub fn all(turns: impl IntoIterator<Item = Self>) -> Map<String, Value> {
        turns.into_iter().map(|turn| (turn.name, turn.position)).collect()
    }
}

impl FromStr for Turn {
    type Err = BadSwitch;

    fn from_str(text: &str) -> Result<Self, BadSwitch> {
        let (name, value) = text.split_once('=').unwrap_or((text, "true"));
        // What is not JSON is a text that needs no quotes in a shell.
        let position = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        let turn = Self { name: name.trim().to_owned(), position };
        Switches::default().changed(&Self::all([turn.clone()]))?;
        Ok(turn)
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.name, self.position)
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
        ] {
            assert!(changed(&change).is_err_and(|error| error.contains(named)), "{change}");
        }
    }

    #[test]
    fn a_command_line_needs_no_quotes() {
        let turns = ["enforce_scopes", "recordings_elsewhere=http://127.0.0.1:9", "placed_call_pace=0"];
        let change = Turn::all(turns.map(|turn| turn.parse().expect("a switch")));
        let switches = Switches::default().changed(&change).expect("valid");
        assert!(switches.enforce_scopes && switches.placed_call_pace == 0.0);
        assert_eq!(switches.recordings_elsewhere.as_deref(), Some("http://127.0.0.1:9"));
        assert!("nonsense=1".parse::<Turn>().is_err());
    }
}
