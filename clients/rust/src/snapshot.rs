//! The calls that a feed begins with, typed, and put together from the pieces in which they come. Pure.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::Call;

/// What is going on as of an event: every call that is not over. The feed goes on with the first event behind it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The event that it is as of; 0: nothing has happened yet. Once it is dealt with, this is
    /// [done](crate::Feed::done).
    pub seq: u64,
    /// The calls, the oldest first.
    pub calls: Vec<ActiveCall>,
}

/// A call that is not over.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ActiveCall {
    /// What events say of it as well.
    #[serde(flatten)]
    pub call: Call,
    /// Our id of it.
    pub id: String,
    /// When it began to ring.
    pub ringing_at: Option<DateTime<Utc>>,
    /// When it was answered.
    pub started_at: Option<DateTime<Utc>>,
    /// Where Dialpad keeps the recording.
    pub recording_url: Option<String>,
    /// Whether the caller was sent to voicemail.
    #[serde(default)]
    pub is_voicemail: bool,
    /// When it was first seen.
    pub created_at: Option<DateTime<Utc>>,
    /// When anything of it last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// All of it as it came.
    #[serde(skip)]
    pub json: String,
}

/// One piece of a snapshot, as it comes over the wire.
#[derive(Debug, PartialEq)]
pub(crate) struct Piece {
    seq: u64,
    calls: Vec<ActiveCall>,
    complete: bool,
}

impl Piece {
    pub(crate) fn read(json: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Said<'a> {
            seq: u64,
            #[serde(borrow)]
            calls: Vec<&'a RawValue>,
            complete: bool,
        }
        let Said { seq, calls, complete } = serde_json::from_str(json)?;
        let calls = calls.into_iter().map(ActiveCall::read).collect::<Result<_, _>>()?;
        Ok(Self { seq, calls, complete })
    }
}

impl ActiveCall {
    fn read(said: &RawValue) -> Result<Self, serde_json::Error> {
        let call: Self = serde_json::from_str(said.get())?;
        Ok(Self { json: said.get().to_owned(), ..call })
    }
}

/// The pieces of a snapshot so far. Whoever is cut off before the last one asks for all of them again.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Vec<ActiveCall>);

impl Pieces {
    /// Adds one; the last one completes the snapshot.
    pub(crate) fn add(&mut self, piece: Piece) -> Option<Snapshot> {
        self.0.extend(piece.calls);
        piece.complete.then(|| Snapshot { seq: piece.seq, calls: std::mem::take(&mut self.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::word::Status;

    const CALL: &str = r#"{"id":"018cc4e5","app_id":"018cc4db","dialpad_call_id":9007199254740993,
        "call_id":9007199254740993,"direction":"inbound","from_number":"+14155551234","to_number":"+14155555678",
        "status":"held","outcome":null,"dialpad_user_id":555,"crm_user_id":null,"ringing_at":"2024-01-01T12:00:00Z",
        "answered_at":"2024-01-01T12:00:03Z","started_at":"2024-01-01T12:00:03Z","ended_at":null,
        "duration_seconds":null,"talk_seconds":null,"hold_seconds":null,"recording_url":null,"interaction_id":"i",
        "leg":"direct","answered_elsewhere":false,"is_voicemail":false,"voicemail":null,
        "created_at":"2024-01-01T12:00:00.112043Z","updated_at":"2024-01-01T12:00:45.301204Z"}"#;

    fn piece(calls: &[&str], complete: bool) -> Piece {
        let calls = calls.join(",");
        let json = format!(r#"{{"type":"snapshot","seq":41,"calls":[{calls}],"complete":{complete}}}"#);
        Piece::read(&json).expect("a piece")
    }

    #[test]
    fn a_call_is_typed_and_kept_as_it_came() {
        let Piece { calls, .. } = piece(&[CALL], true);
        let [call] = &*calls else { panic!("{calls:?}") };
        assert_eq!(call.call.dialpad_call_id, 9_007_199_254_740_993);
        assert_eq!((call.id.as_str(), &call.call.status), ("018cc4e5", &Some(Status::Held)));
        assert_eq!(call.started_at.map(|at| at.timestamp()), Some(1_704_110_403));
        assert_eq!(call.json, CALL);
    }

    #[test]
    fn the_last_piece_completes_it() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.add(piece(&[CALL, CALL], false)), None);
        let snapshot = pieces.add(piece(&[CALL], true)).expect("it is complete");
        assert_eq!((snapshot.seq, snapshot.calls.len()), (41, 3));
    }

    #[test]
    fn without_calls_it_is_empty() {
        let snapshot = Pieces::default().add(piece(&[], true)).expect("it is complete");
        assert_eq!((snapshot.seq, snapshot.calls.len()), (41, 0));
    }
}
