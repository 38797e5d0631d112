//! The recordings that a payload names, and what else of it is only shown.

use cti_actors::model::call::{ADMIN_RECORDING, CALL_RECORDING, RecordingKnowledge, recording_parts};
use serde_json::{Map, Value};

use super::{fields::Fields, instant};

/// Reads the parts of a call's recording from Dialpad's own family. `takes_untyped`: whether the addresses without a type
/// are those of the call, and not of its voicemail.
pub(super) fn native(fields: &Fields<'_>, takes_untyped: bool) -> Vec<RecordingKnowledge> {
    let details = objects(fields.value("recording_details"));
    let mut parts: Vec<RecordingKnowledge> =
        (0..).zip(details).map(|(place, it)| detail(it, place)).collect();
    let has = |parts: &[RecordingKnowledge], kind: &str| parts.iter().any(|part| part.kind == kind);
    if takes_untyped && !has(&parts, CALL_RECORDING) {
        parts.extend(addresses(fields, "recording_url", "call_recording_ids", CALL_RECORDING));
    }
    if !has(&parts, ADMIN_RECORDING) {
        parts.extend(addresses(fields, "admin_recording_urls", "admin_recording_ids", ADMIN_RECORDING));
    }
    parts.retain(|part| !part.kind.eq_ignore_ascii_case("voicemail"));
    parts
}

/// Reads the parts of a call's recording from the workflow's family: `recording_url`, `recording`, `recordings`.
pub(super) fn workflow(fields: &Fields<'_>) -> Vec<RecordingKnowledge> {
    let listed =
        objects(fields.value("recordings")).chain(fields.value("recording").and_then(Value::as_object));
    let mut parts: Vec<RecordingKnowledge> = (0..)
        .zip(listed)
        .map(|(place, object)| {
            let seconds = Fields::of(object).seconds(&["duration_seconds"]);
            let part = detail(object, place);
            RecordingKnowledge { duration_ms: seconds.or(part.duration_ms), ..part }
        })
        .collect();
    let known: Vec<Option<String>> = parts.iter().map(|part| part.url.clone()).collect();
    let others = addresses(fields, "recording_url", "call_recording_ids", CALL_RECORDING);
    parts.extend(others.into_iter().filter(|part| !known.contains(&part.url)));
    parts
}

/// Returns where the first part of the conversation's recording is.
pub(super) fn first_of_call(recordings: &[RecordingKnowledge]) -> Option<String> {
    recording_parts(recordings).into_iter().find(|part| part.kind == CALL_RECORDING)?.url
}

/// Reads an entry of `recording_details`. Its length is in milliseconds; a time that can't be read is left out, because the
/// call does not depend on it.
fn detail(object: &Map<String, Value>, position: i64) -> RecordingKnowledge {
    let fields = Fields::of(object);
    let kind = fields.text(&["recording_type", "type"]).map(|kind| kind.to_ascii_lowercase());
    let started_at = ["start_time", "started_at", "date_started"].iter().find_map(|name| object.get(*name));
    RecordingKnowledge {
        id: fields.text(&["id", "recording_id"]),
        url: fields.text(&["url", "recording_url"]),
        kind: kind.unwrap_or_else(|| CALL_RECORDING.to_owned()),
        duration_ms: fields.milliseconds(&["duration"]),
        started_at: started_at.and_then(|value| instant::read(value).ok().flatten()),
        position,
    }
}

/// Reads a list of addresses, and the list of their ids beside it, if both have the same length.
fn addresses(
    fields: &Fields<'_>,
    urls: &'static str,
    ids: &'static str,
    kind: &str,
) -> Vec<RecordingKnowledge> {
    let urls = fields.all_texts(&[urls]);
    let ids = Some(fields.all_texts(&[ids])).filter(|ids| ids.len() == urls.len());
    let part = |(place, url): (usize, String)| RecordingKnowledge {
        id: ids.as_ref().map(|ids| ids[place].clone()),
        url: Some(url),
        kind: kind.to_owned(),
        position: i64::try_from(place).unwrap_or(i64::MAX),
        ..RecordingKnowledge::default()
    };
    urls.into_iter().enumerate().map(part).collect()
}

fn objects(list: Option<&Value>) -> impl Iterator<Item = &Map<String, Value>> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// Returns a text of an object in the payload, such as the name of the contact.
pub(super) fn text_of(fields: &Fields<'_>, object: &'static str, name: &'static str) -> Option<String> {
    Fields::of(fields.value(object)?.as_object()?).text(&[name])
}

/// Whether both sides are in the company. The contact of such a call is a user.
pub(super) fn is_internal(fields: &Fields<'_>) -> Option<bool> {
    let has_user = || text_of(fields, "contact", "type").filter(|kind| kind == "user").map(|_| true);
    fields.boolean(&["is_internal"]).or_else(has_user)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(payload: &Value, read: impl Fn(&Fields<'_>) -> Vec<RecordingKnowledge>) -> Value {
        let parts = read(&Fields::of(payload.as_object().expect("an object")));
        let part = |part: &RecordingKnowledge| {
            json!([part.id, part.url, part.kind, part.duration_ms, part.started_at.map(|at| at.timestamp())])
        };
        parts.iter().map(part).collect()
    }

    #[test]
    fn every_part_is_read_with_its_details() {
        let payload = json!({
            "recording_details": [
                {"id": 77, "url": "u1", "recording_type": "callrecording", "duration": 61_400.5, "start_time": 1_704_110_403_000_i64},
                {"id": "78", "url": "u2", "recording_type": "CallRecording", "duration": "5000", "start_time": "soon"},
                {"id": "79", "url": "u3", "recording_type": "voicemail"},
            ],
            "recording_url": ["u1", "u2"], "admin_recording_urls": ["a1"],
        });
        let expected = json!([
            ["77", "u1", "callrecording", 61_400.5, 1_704_110_403],
            ["78", "u2", "callrecording", 5000, null],
            [null, "a1", "admincallrecording", null, null],
        ]);
        assert_eq!(read(&payload, |fields| native(fields, true)), expected);
    }

    #[test]
    fn addresses_alone_are_parts_too() {
        let payload =
            json!({"recording_url": ["u1", "u2"], "call_recording_ids": [7, 8], "recording_details": []});
        let expected =
            json!([["7", "u1", "callrecording", null, null], ["8", "u2", "callrecording", null, null]]);
        assert_eq!(read(&payload, |fields| native(fields, true)), expected);
        assert_eq!(read(&payload, |fields| native(fields, false)), json!([]));
        let one = json!({"recording_url": "u1", "recording": {"id": 5, "url": "u1", "duration_seconds": 9}});
        assert_eq!(read(&one, workflow), json!([["5", "u1", "callrecording", 9000, null]]));
        let listed = json!({"recordings": [{"url": "u1"}, {"url": "u2"}], "recording_url": "u3"});
        assert_eq!(read(&listed, workflow).as_array().map(Vec::len), Some(3));
    }
}
