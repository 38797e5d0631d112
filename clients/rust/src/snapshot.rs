//! The snapshot of the active calls, put together from its parts. Pure.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::call::Call;

/// The active calls as of one event. The feed continues with the next event.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The event that it is as of; 0 before the first event. [Acknowledge](crate::Feed::ack) it once the snapshot is
    /// processed.
    pub seq: u64,
    /// The calls, oldest first.
    pub calls: Vec<ActiveCall>,
}

/// An active call.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ActiveCall {
    /// The fields that events have as well.
    #[serde(flatten)]
    pub call: Call,
    /// The server's id of it.
    pub id: String,
    /// When it began to ring.
    pub ringing_at: Option<DateTime<Utc>>,
    /// When it was answered.
    pub started_at: Option<DateTime<Utc>>,
    /// Where Dialpad keeps the recording.
    pub recording_url: Option<String>,
    /// Whether the caller was routed to voicemail.
    #[serde(default)]
    pub is_voicemail: bool,
    /// When it was first seen.
    pub created_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// The call as it was received.
    #[serde(skip)]
    pub json: String,
}

/// One part of a snapshot.
#[derive(Debug, PartialEq)]
pub(crate) struct SnapshotPart {
    seq: u64,
    calls: Vec<ActiveCall>,
    complete: bool,
}

impl SnapshotPart {
    pub(crate) fn read(json: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Message<'a> {
            seq: u64,
            #[serde(borrow)]
            calls: Vec<&'a RawValue>,
            complete: bool,
        }
        let Message { seq, calls, complete } = serde_json::from_str(json)?;
        let calls = calls.into_iter().map(ActiveCall::read).collect::<Result<_, _>>()?;
        Ok(Self { seq, calls, complete })
    }
}

impl ActiveCall {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        let call: Self = serde_json::from_str(json.get())?;
        Ok(Self { json: json.get().to_owned(), ..call })
    }
}

/// The parts received so far. If the connection breaks before the last part, the next one requests a new snapshot.
#[derive(Debug, Default)]
pub(crate) struct PartialSnapshot(Vec<ActiveCall>);

impl PartialSnapshot {
    /// Adds a part; the last part completes the snapshot.
    pub(crate) fn add(&mut self, part: SnapshotPart) -> Option<Snapshot> {
        self.0.extend(part.calls);
        part.complete.then(|| Snapshot { seq: part.seq, calls: std::mem::take(&mut self.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enums::Status;

    const CALL: &str = r#"{"id":"018cc4e5","app_id":"018cc4db","dialpad_call_id":9007199254740993,
        "call_id":9007199254740993,"direction":"inbound","from_number":"+14155551234","to_number":"+14155555678",
        "status":"held","outcome":null,"dialpad_user_id":555,"crm_user_id":null,"ringing_at":"2024-01-01T12:00:00Z",
        "answered_at":"2024-01-01T12:00:03Z","started_at":"2024-01-01T12:00:03Z","ended_at":null,
        "duration_seconds":null,"talk_seconds":null,"hold_seconds":null,"recording_url":null,"interaction_id":"i",
        "leg":"direct","answered_elsewhere":false,"is_voicemail":false,"voicemail":null,
        "created_at":"2024-01-01T12:00:00.112043Z","updated_at":"2024-01-01T12:00:45.301204Z"}"#;

    fn part(calls: &[&str], complete: bool) -> SnapshotPart {
        let calls = calls.join(",");
        let json = format!(r#"{{"type":"snapshot","seq":41,"calls":[{calls}],"complete":{complete}}}"#);
        SnapshotPart::read(&json).expect("a part")
    }

    #[test]
    fn a_call_is_typed_and_kept_as_received() {
        let SnapshotPart { calls, .. } = part(&[CALL], true);
        let [call] = &*calls else { panic!("{calls:?}") };
        assert_eq!(call.call.dialpad_call_id, 9_007_199_254_740_993);
        assert_eq!((call.id.as_str(), &call.call.status), ("018cc4e5", &Some(Status::Held)));
        assert_eq!(call.started_at.map(|at| at.timestamp()), Some(1_704_110_403));
        assert_eq!(call.json, CALL);
    }

    #[test]
    fn the_last_piece_completes_it() {
        let mut snapshot = PartialSnapshot::default();
        assert_eq!(snapshot.add(part(&[CALL, CALL], false)), None);
        let snapshot = snapshot.add(part(&[CALL], true)).expect("it is complete");
        assert_eq!((snapshot.seq, snapshot.calls.len()), (41, 3));
    }

    #[test]
    fn a_snapshot_without_calls_is_empty() {
        let snapshot = PartialSnapshot::default().add(part(&[], true)).expect("it is complete");
        assert_eq!((snapshot.seq, snapshot.calls.len()), (41, 0));
    }
}
