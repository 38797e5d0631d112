//! The active calls on their way to one reader: piece by piece, each when the one before was taken, and only what its
//! filter admits. Pure.

use std::{borrow::Cow, sync::Arc};

use super::protocol::{ControlType, MessageKind, OutboundMessage};
use crate::event::{ActiveCalls, Filter};

/// How many calls a piece has at most.
const MOST_CALLS: usize = 100;
/// How many bytes a piece has, unless a single call has more.
const MOST_BYTES: usize = 32 << 10;

/// How far a reader has come.
pub(super) struct SnapshotCursor {
    told: Arc<ActiveCalls>,
    filter: Filter,
    ids_as_text: bool,
    /// The next call that it wants to hear of.
    next: Option<usize>,
}

impl SnapshotCursor {
    pub(super) fn new(told: Arc<ActiveCalls>, filter: Filter, ids_as_text: bool) -> Self {
        let next = told.next_wanted(0, &filter);
        Self { told, filter, ids_as_text, next }
    }

    /// The next piece. Only the last one says where to resume: a reader that misses a part of it must begin anew.
    pub(super) fn next_piece(&mut self) -> OutboundMessage {
        let as_of = self.told.as_of;
        let mut text = format!("{{\"type\":\"snapshot\",\"seq\":{as_of},\"calls\":[");
        let mut count = 0;
        while let Some(call) = self.next.and_then(|place| self.told.calls.get(place)) {
            let shown = match self.ids_as_text {
                true => Cow::Owned(call.text_with_text_ids()),
                false => Cow::Borrowed(call.text()),
            };
            if count == MOST_CALLS || (count > 0 && text.len() + shown.len() >= MOST_BYTES) {
                break;
            }
            if count > 0 {
                text.push(',');
            }
            text.push_str(&shown);
            count += 1;
            self.next = self.next.and_then(|place| self.told.next_wanted(place + 1, &self.filter));
        }
        let complete = self.next.is_none();
        text.push_str(if complete { "],\"complete\":true}" } else { "],\"complete\":false}" });
        OutboundMessage {
            kind: MessageKind::Control(ControlType::Snapshot),
            cursor: complete.then_some(as_of),
            text: text.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{event::ActiveCall, id::Seq};

    fn calls(texts: impl IntoIterator<Item = String>) -> Arc<ActiveCalls> {
        let calls = texts.into_iter().map(|text| ActiveCall::new(Some(555), text)).collect();
        Arc::new(ActiveCalls { as_of: Seq(7), calls })
    }

    fn told(calls: &Arc<ActiveCalls>, filter: &Filter, ids_as_text: bool) -> Vec<Value> {
        let mut telling = SnapshotCursor::new(Arc::clone(calls), filter.clone(), ids_as_text);
        let mut pieces = Vec::new();
        loop {
            let word = telling.next_piece();
            let piece: Value = serde_json::from_str(&word.text).expect("JSON");
            assert_eq!(
                word.cursor.is_some(),
                piece["complete"] == true,
                "only the last one says where to resume"
            );
            assert!(word.text.len() <= MOST_BYTES + 64 || piece["calls"].as_array().map(Vec::len) == Some(1));
            pieces.push(piece);
            if word.cursor.is_some() {
                return pieces;
            }
        }
    }

    fn counts(pieces: &[Value]) -> Vec<usize> {
        pieces.iter().map(|piece| piece["calls"].as_array().expect("a list").len()).collect()
    }

    #[test]
    fn no_calls_are_one_complete_piece() {
        let pieces = told(&calls([]), &Filter::default(), false);
        assert_eq!(
            pieces,
            [serde_json::json!({"type": "snapshot", "seq": 7, "calls": [], "complete": true})]
        );
    }

    #[test]
    fn many_calls_are_several_pieces_and_a_large_one_is_a_piece_of_its_own() {
        let small = |id: i64| format!("{{\"call_id\":{id}}}");
        let large = |id: i64| format!("{{\"call_id\":{id},\"pad\":\"{}\"}}", "x".repeat(MOST_BYTES));
        let all = Filter::default();
        assert_eq!(counts(&told(&calls((1..=100).map(small)), &all, false)), [100]);
        assert_eq!(counts(&told(&calls((1..=250).map(small)), &all, false)), [100, 100, 50]);
        let mixed = calls([small(1), large(2), large(3), small(4)]);
        assert_eq!(counts(&told(&mixed, &all, false)), [1, 1, 1, 1]);
    }

    #[test]
    fn only_what_is_wanted_is_told() {
        let of = |id: i64| format!("{{\"call_id\":{id},\"crm_user_id\":\"u-{}\"}}", id % 3);
        let filter = Filter { crm_user_id: Some("u-0".into()), ..Filter::default() };
        let pieces = told(&calls((1..=601).map(of)), &filter, true);
        assert_eq!(counts(&pieces), [100, 100]);
        assert_eq!(pieces[0]["calls"][0]["call_id"], "3");
        let none = Filter { dialpad_user_id: Some(1), ..Filter::default() };
        assert_eq!(counts(&told(&calls((1..=601).map(of)), &none, false)), [0]);
    }
}
