//! The active calls on their way to one client: part by part, each when the one before was taken, and only those that
//! match its filter. Pure.

use std::{borrow::Cow, sync::Arc};

use super::protocol::{ControlType, MessageKind, OutboundMessage};
use crate::event::{ActiveCalls, Filter};

/// How many calls a part has at most.
const MAX_CALLS: usize = 100;
/// How many bytes a part has at most, unless a single call has more.
const MAX_BYTES: usize = 32 << 10;

/// How far a client has come in a snapshot.
pub(super) struct SnapshotCursor {
    snapshot: Arc<ActiveCalls>,
    filter: Filter,
    ids_as_text: bool,
    /// The index of the next call that matches the filter.
    next: Option<usize>,
}

impl SnapshotCursor {
    pub(super) fn new(snapshot: Arc<ActiveCalls>, filter: Filter, ids_as_text: bool) -> Self {
        let next = snapshot.next_match(0, &filter);
        Self { snapshot, filter, ids_as_text, next }
    }

    /// Returns the next part. Only the last one has a cursor: a client that misses a part must begin again.
    pub(super) fn next_part(&mut self) -> OutboundMessage {
        let as_of = self.snapshot.as_of;
        let mut text = format!("{{\"type\":\"snapshot\",\"seq\":{as_of},\"calls\":[");
        let mut count = 0;
        while let Some((index, call)) =
            self.next.and_then(|index| Some((index, self.snapshot.calls.get(index)?)))
        {
            let call = match self.ids_as_text {
                true => Cow::Owned(call.text_with_text_ids()),
                false => Cow::Borrowed(call.text()),
            };
            if count == MAX_CALLS || (count > 0 && text.len() + call.len() >= MAX_BYTES) {
                break;
            }
            if count > 0 {
                text.push(',');
            }
            text.push_str(&call);
            count += 1;
            self.next = self.snapshot.next_match(index + 1, &self.filter);
        }
        let is_complete = self.next.is_none();
        text.push_str(if is_complete { "],\"complete\":true}" } else { "],\"complete\":false}" });
        OutboundMessage {
            kind: MessageKind::Control(ControlType::Snapshot),
            cursor: is_complete.then_some(as_of),
            text: text.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        event::ActiveCall,
        id::{Epoch, Seq},
    };

    fn calls(texts: impl IntoIterator<Item = String>) -> Arc<ActiveCalls> {
        let calls = texts.into_iter().map(|text| ActiveCall::new(Some(555), text)).collect();
        Arc::new(ActiveCalls { epoch: Epoch::default(), as_of: Seq(7), calls })
    }

    fn parts(calls: &Arc<ActiveCalls>, filter: &Filter, ids_as_text: bool) -> Vec<Value> {
        let mut cursor = SnapshotCursor::new(Arc::clone(calls), filter.clone(), ids_as_text);
        let mut parts = Vec::new();
        loop {
            let message = cursor.next_part();
            let part: Value = serde_json::from_str(&message.text).expect("JSON");
            assert_eq!(
                message.cursor.is_some(),
                part["complete"] == true,
                "only the last one says where to resume"
            );
            assert!(
                message.text.len() <= MAX_BYTES + 64 || part["calls"].as_array().map(Vec::len) == Some(1)
            );
            parts.push(part);
            if message.cursor.is_some() {
                return parts;
            }
        }
    }

    fn counts(parts: &[Value]) -> Vec<usize> {
        parts.iter().map(|part| part["calls"].as_array().expect("a list").len()).collect()
    }

    #[test]
    fn no_calls_are_one_complete_part() {
        let parts = parts(&calls([]), &Filter::default(), false);
        assert_eq!(parts, [serde_json::json!({"type": "snapshot", "seq": 7, "calls": [], "complete": true})]);
    }

    #[test]
    fn many_calls_are_several_parts_and_a_large_one_is_a_part_of_its_own() {
        let small = |id: i64| format!("{{\"call_id\":{id}}}");
        let large = |id: i64| format!("{{\"call_id\":{id},\"pad\":\"{}\"}}", "x".repeat(MAX_BYTES));
        let all = Filter::default();
        assert_eq!(counts(&parts(&calls((1..=100).map(small)), &all, false)), [100]);
        assert_eq!(counts(&parts(&calls((1..=250).map(small)), &all, false)), [100, 100, 50]);
        let mixed = calls([small(1), large(2), large(3), small(4)]);
        assert_eq!(counts(&parts(&mixed, &all, false)), [1, 1, 1, 1]);
    }

    #[test]
    fn only_calls_that_match_the_filter_are_sent() {
        let of = |id: i64| format!("{{\"call_id\":{id},\"crm_user_id\":\"u-{}\"}}", id % 3);
        let filter = Filter { crm_user_id: Some("u-0".into()), ..Filter::default() };
        let sent = parts(&calls((1..=601).map(of)), &filter, true);
        assert_eq!(counts(&sent), [100, 100]);
        assert_eq!(sent[0]["calls"][0]["call_id"], "3");
        let none = Filter { dialpad_user_id: Some(1), ..Filter::default() };
        assert_eq!(counts(&parts(&calls((1..=601).map(of)), &none, false)), [0]);
    }
}
