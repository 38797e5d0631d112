//! What was told, put so that assertions read as sentences.

use serde_json::Value;

/// The types of the events, in order.
pub(crate) fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("an event has a type")).collect()
}

/// The events of one call.
pub(crate) fn of_call(events: &[Value], call_id: i64) -> Vec<Value> {
    events.iter().filter(|event| event["dialpad_call_id"] == call_id).cloned().collect()
}

/// The places of the events in the feed.
pub(crate) fn seqs(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["seq"].as_i64().expect("an event has a seq")).collect()
}

/// The events are the whole feed behind `after`: no hole, no repetition, in order.
#[track_caller]
pub(crate) fn assert_contiguous(events: &[Value], after: i64) {
    let mut expected = after;
    for seq in seqs(events) {
        expected += 1;
        assert_eq!(seq, expected, "a hole or a repetition in {:?}", seqs(events));
    }
}
