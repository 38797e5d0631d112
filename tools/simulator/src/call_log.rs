//! The call log: every leg that was played, in its current state, whether or not a webhook was sent.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::{Map, Value};
use tokio::sync::mpsc::UnboundedSender;

use super::flows::Command;

/// The number of legs that are kept; those that started first are dropped.
const MAX_ENTRIES: usize = 10_000;
/// The first number of renewed links: above all ids that flows draw.
const RENEWED_LINKS: i64 = 4_900_000_000_000_000;

/// The fields of a leg that the REST API returns; the others appear only in webhooks.
const KNOWN_TO_REST: [&str; 32] = [
    "call_id",
    "contact",
    "csat_recording_urls",
    "csat_score",
    "csat_transcriptions",
    "custom_data",
    "date_connected",
    "date_ended",
    "date_rang",
    "date_started",
    "direction",
    "duration",
    "entry_point_call_id",
    "entry_point_target",
    "event_timestamp",
    "external_number",
    "group_id",
    "internal_number",
    "is_transferred",
    "labels",
    "master_call_id",
    "mos_score",
    "operator_call_id",
    "proxy_target",
    "recording_details",
    "routing_breadcrumbs",
    "screen_recording_urls",
    "state",
    "target",
    "total_duration",
    "transcription_text",
    "was_recorded",
];

/// The legs by id.
#[derive(Default)]
pub(crate) struct CallLog {
    entries: HashMap<i64, Call>,
    /// (start, id) → id: the order of the history.
    history: BTreeMap<(i64, i64), i64>,
    /// The ids in the order in which the legs were first recorded.
    arrivals: VecDeque<i64>,
    /// Number of a link to a recording → id of its call.
    links: HashMap<i64, i64>,
    renewed: i64,
}

/// One leg.
pub(crate) struct Call {
    pub(crate) id: i64,
    pub(crate) company_id: i64,
    /// When it entered Dialpad, in milliseconds since 1970.
    pub(crate) started: i64,
    /// The set fields of [`KNOWN_TO_REST`], with numbers as numbers.
    pub(crate) facts: Map<String, Value>,
    /// Its voicemail or recording.
    pub(crate) recording: Option<Recording>,
    /// Its labels, once they were set over the API.
    pub(crate) labels: Vec<String>,
    /// Whether it is being recorded; `None`: nobody asked.
    pub(crate) is_recording: Option<bool>,
    /// The running call. Closed once it has ended.
    pub(crate) commands: UnboundedSender<Command>,
}

/// The recording or voicemail of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recording {
    /// Also the number of the link in webhooks.
    pub(crate) id: i64,
    /// Dialpad's `recording_type`.
    pub(crate) kind: String,
    pub(crate) millis: u64,
    /// The number of the link that replaces an expired one.
    pub(crate) renewed: i64,
}

impl Call {
    /// Returns whether the leg has ended.
    pub(crate) fn is_concluded(&self) -> bool {
        self.facts.contains_key("date_ended")
    }

    /// Returns whether a person answered.
    pub(crate) fn was_answered(&self) -> bool {
        self.facts.contains_key("date_connected")
    }
}

impl CallLog {
    /// Records the current snapshot of a leg.
    pub(crate) fn record(&mut self, company_id: i64, snapshot: &Value, commands: &UnboundedSender<Command>) {
        let (Some(id), Some(started)) = (snapshot["call_id"].as_i64(), snapshot["date_started"].as_i64())
        else {
            return;
        };
        let known = |name: &&str| Some(((*name).to_owned(), snapshot.get(name)?.clone()));
        let facts = KNOWN_TO_REST.iter().filter_map(known).filter(|(_, value)| is_set(value)).collect();
        let previous = self.entries.remove(&id);
        match &previous {
            Some(previous) => {
                self.history.remove(&(previous.started, id));
            }
            None => self.arrivals.push_back(id),
        }
        let (labels, is_recording) = match &previous {
            Some(previous) => (previous.labels.clone(), previous.is_recording),
            None => (Vec::new(), None),
        };
        let recording = recording_of(snapshot, || match previous.and_then(|call| call.recording) {
            Some(recording) => recording.renewed,
            None => {
                self.renewed += 1;
                RENEWED_LINKS + self.renewed
            }
        });
        if let Some(recording) = &recording {
            self.links.extend([(recording.id, id), (recording.renewed, id)]);
        }
        self.history.insert((started, id), id);
        let commands = commands.clone();
        let call = Call { id, company_id, started, facts, recording, labels, is_recording, commands };
        self.entries.insert(id, call);
        if self.arrivals.len() > MAX_ENTRIES {
            self.drop_oldest();
        }
    }

    pub(crate) fn get(&self, id: i64) -> Option<&Call> {
        self.entries.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: i64) -> Option<&mut Call> {
        self.entries.get_mut(&id)
    }

    /// Returns the newest call of a user that is live.
    pub(crate) fn active_of(&mut self, user_id: i64) -> Option<&mut Call> {
        let is_theirs = |call: &Call| {
            let target = &call.facts["target"];
            !call.is_concluded() && target["type"] == "user" && target["id"] == user_id
        };
        let id = *self.history.values().rev().find(|id| self.entries.get(id).is_some_and(is_theirs))?;
        self.entries.get_mut(&id)
    }

    /// Returns the legs that have ended, newest first, from the end of the previous page (`before`) on.
    pub(crate) fn concluded(&self, before: Option<(i64, i64)>) -> impl Iterator<Item = &Call> {
        let end = before.unwrap_or((i64::MAX, i64::MAX));
        let ids = self.history.range(..end).rev().map(|(_, id)| id);
        ids.filter_map(|id| self.entries.get(id)).filter(|call| call.is_concluded())
    }

    /// Returns the call of the recording that a link points to.
    pub(crate) fn by_link(&self, link: i64) -> Option<&Call> {
        self.entries.get(self.links.get(&link)?)
    }

    fn drop_oldest(&mut self) {
        let Some(dropped) = self.arrivals.pop_front().and_then(|id| self.entries.remove(&id)) else {
            return;
        };
        self.history.remove(&(dropped.started, dropped.id));
        if let Some(recording) = dropped.recording {
            self.links.remove(&recording.id);
            self.links.remove(&recording.renewed);
        }
    }
}

/// Returns whether a field is set: the platform leaves out empty fields.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn recording_of(snapshot: &Value, renewed: impl FnOnce() -> i64) -> Option<Recording> {
    let details = snapshot["recording_details"].get(0)?;
    Some(Recording {
        id: details["id"].as_str()?.parse().ok()?,
        kind: details["recording_type"].as_str()?.to_owned(),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length in ms")]
        millis: details["duration"].as_f64().unwrap_or_default().max(0.0) as u64,
        renewed: renewed(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn snapshot(id: i64, started: i64, more: &Value) -> Value {
        let mut snapshot = json!({"call_id": id, "date_started": started, "labels": [], "hold_time": 0});
        for (name, value) in more.as_object().expect("an object") {
            snapshot[name] = value.clone();
        }
        snapshot
    }

    #[test]
    fn only_set_rest_fields_are_kept_and_the_newest_snapshot_wins() {
        let (mut calls, commands) = (CallLog::default(), unbounded_channel().0);
        calls.record(9, &snapshot(1, 10, &json!({"state": "ringing", "date_ended": null})), &commands);
        calls.record(9, &snapshot(1, 10, &json!({"state": "connected", "date_ended": null})), &commands);
        let facts = Value::from(calls.get(1).expect("recorded").facts.clone());
        assert_eq!(facts, json!({"call_id": 1, "date_started": 10, "state": "connected"}));
        assert_eq!(calls.concluded(None).count(), 0);
    }

    #[test]
    fn the_history_is_newest_first_and_continues_after_a_page() {
        let (mut calls, commands) = (CallLog::default(), unbounded_channel().0);
        for (id, started) in [(1, 10), (2, 30), (3, 20), (4, 20)] {
            calls.record(9, &snapshot(id, started, &json!({"date_ended": 40})), &commands);
        }
        let ids = |before| calls.concluded(before).map(|call| call.id).collect::<Vec<_>>();
        assert_eq!(ids(None), [2, 4, 3, 1]);
        assert_eq!(ids(Some((20, 4))), [3, 1]);
    }

    #[test]
    fn both_links_find_the_recording_until_its_call_is_dropped() {
        let (mut calls, commands) = (CallLog::default(), unbounded_channel().0);
        let details = json!([{"id": "77", "recording_type": "voicemail", "duration": 2_500.5}]);
        for _ in 0..2 {
            calls.record(9, &snapshot(1, 10, &json!({"recording_details": details})), &commands);
        }
        let before = |calls: &CallLog, link| calls.by_link(link).and_then(|call| call.recording.clone());
        let recording = before(&calls, 77).expect("a recording");
        assert_eq!((recording.kind.as_str(), recording.millis), ("voicemail", 2_500));
        assert_eq!(before(&calls, recording.renewed), Some(recording));
        for id in 2..=i64::try_from(MAX_ENTRIES).expect("small") + 1 {
            calls.record(9, &snapshot(id, 10, &json!({})), &commands);
        }
        assert!(calls.get(1).is_none() && calls.by_link(77).is_none());
        assert_eq!(
            (calls.entries.len(), calls.history.len(), calls.links.len()),
            (MAX_ENTRIES, MAX_ENTRIES, 0)
        );
    }
}
