//! The erasure of a person from JSON that was delivered or stored: an event, or the answer that shows a call.

use serde_json::{Map, Value};

use crate::model::number::NumberSearch;

/// The fields with who it was and what was said, which become null.
const PERSONAL: [&str; 13] = [
    "from_number",
    "to_number",
    "from_e164",
    "to_e164",
    "external_number",
    "external_e164",
    "contact_name",
    "custom_data",
    "text",
    "transcript",
    "mms_url",
    "recording_url",
    "recording_spare_url",
];
/// The lists of such values, which become empty.
const PERSONAL_LISTS: [&str; 3] = ["to_numbers", "media_urls", "recordings"];

/// Returns an event without the person whose number is looked for; `None` where nothing of them is in it. `is_of_person`
/// says that the event is known to be of a call or message with them.
#[must_use]
pub fn without_person(body: &str, is_of_person: bool, search: &NumberSearch) -> Option<String> {
    if !is_of_person && !search.is_in(body) {
        return None;
    }
    let event: Map<String, Value> = serde_json::from_str(body).ok()?;
    if !is_of_person && !names_person(&event, search) {
        return None;
    }
    let mut erased = event.clone();
    erase(&mut erased);
    (erased != event).then(|| Value::Object(erased).to_string())
}

/// Whether the person is a party: a mention in the words of somebody else makes them none.
fn names_person(event: &Map<String, Value>, search: &NumberSearch) -> bool {
    let is_said = |name: &str| matches!(name, "text" | "transcript" | "voicemail");
    event.iter().any(|(name, value)| !is_said(name) && !is_id(name) && search.is_in_json(value))
}

/// Whether a field is an id, whose digits can be those of a number.
fn is_id(name: &str) -> bool {
    matches!(name, "id" | "seq" | "calls" | "timestamp") || name.ends_with("_id")
}

fn erase(fields: &mut Map<String, Value>) {
    for (name, value) in fields.iter_mut() {
        let name = name.as_str();
        if PERSONAL.contains(&name) {
            *value = Value::Null;
        } else if PERSONAL_LISTS.contains(&name) {
            *value = Value::Array(Vec::new());
        } else if name == "payload" {
            *value = Value::Object(Map::new());
        } else if let ("voicemail", Value::Object(voicemail)) = (name, value) {
            erase(voicemail);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::number::Region;

    fn erased(event: &Value, is_of_person: bool) -> Option<Value> {
        let search = NumberSearch::new("+14155551234", Region::US);
        let text = without_person(&event.to_string(), is_of_person, &search)?;
        serde_json::from_str(&text).ok()
    }

    #[test]
    fn an_event_of_the_person_loses_who_and_what_and_keeps_the_rest() {
        let event = json!({"event_id": "e", "call_id": 7, "from_number": "(415) 555-1234", "to_number": "+1",
            "contact_name": "Grace", "recordings": [{"url": "u"}], "duration_seconds": 5,
            "voicemail": {"voicemail_id": "v", "transcript": "hi", "recording_url": "u"}});
        let left = json!({"event_id": "e", "call_id": 7, "from_number": null, "to_number": null,
            "contact_name": null, "recordings": [], "duration_seconds": 5,
            "voicemail": {"voicemail_id": "v", "transcript": null, "recording_url": null}});
        assert_eq!(erased(&event, false), Some(left.clone()));
        assert_eq!(erased(&event, true), Some(left.clone()));
        assert_eq!(erased(&left, true), None, "nothing is left to erase");
    }

    #[test]
    fn an_event_of_somebody_else_stays_as_it_is() {
        let other = json!({"call_id": 4_155_551_234_i64, "from_number": "+14155550000",
            "text": "ask (415) 555-1234"});
        assert_eq!(erased(&other, false), None);
    }
}
