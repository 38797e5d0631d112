//! Helpers for assertions on events.

use serde_json::Value;

/// Returns the types of the events, in order.
pub(crate) fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("an event has a type")).collect()
}

/// Returns the events of one call.
pub(crate) fn of_call(events: &[Value], call_id: i64) -> Vec<Value> {
    events.iter().filter(|event| event["dialpad_call_id"] == call_id).cloned().collect()
}

/// Returns the `seq` of the events.
pub(crate) fn seqs(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["seq"].as_i64().expect("an event has a seq")).collect()
}

/// Asserts that the events are the whole feed after `after`: in order, without holes or repetitions.
#[track_caller]
pub(crate) fn assert_contiguous(events: &[Value], after: i64) {
    let mut expected = after;
    for seq in seqs(events) {
        expected += 1;
        assert_eq!(seq, expected, "a hole or a repetition in {:?}", seqs(events));
    }
}
