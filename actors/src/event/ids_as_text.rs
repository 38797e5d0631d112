//! Dialpad's ids as strings, where a client asked for `ids=string`.

use serde_json::{Map, Value};

/// The fields of an event, a call or a webhook that hold an id of Dialpad's.
const ID_FIELDS: [&str; 11] = [
    "answered_by",
    "call_id",
    "dialpad_call_id",
    "dialpad_user_id",
    "dialpad_voicemail_id",
    "dialpad_message_id",
    "dialpad_org_id",
    "dialpad_webhook_id",
    "dialpad_subscription_id",
    "interaction_id",
    "target_id",
];
/// What is shown as it was received.
const VERBATIM: [&str; 2] = ["payload", "custom_data"];
/// A list of objects of Dialpad's, whose `id` is Dialpad's too.
const RECORDINGS: &str = "recordings";

/// The field of an interaction that lists the ids of its legs; in a REST answer it has the legs themselves.
const ID_LIST: &str = "calls";

fn write_list_as_text(items: &mut [Value]) {
    for item in items {
        match item {
            Value::Number(number) => *item = number.to_string().into(),
            other => write_ids_as_text(other),
        }
    }
}

/// Writes Dialpad's ids as strings, at any depth but in what is shown as received.
pub fn write_ids_as_text(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(write_ids_as_text),
        Value::Object(object) => {
            for (name, value) in object.iter_mut() {
                match value {
                    Value::Array(ids) if name == ID_LIST => write_list_as_text(ids),
                    Value::Number(number) if ID_FIELDS.contains(&name.as_str()) => {
                        *value = number.to_string().into()
                    }
                    Value::Array(parts) if name == RECORDINGS => write_recordings_as_text(parts),
                    Value::Object(_) | Value::Array(_) if !VERBATIM.contains(&name.as_str()) => {
                        write_ids_as_text(value);
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn write_recordings_as_text(parts: &mut [Value]) {
    for part in parts {
        if let Some(id @ Value::Number(_)) = part.get_mut("id") {
            *id = id.to_string().into();
        }
        write_ids_as_text(part);
    }
}

/// Returns an event with its ids as strings. Only those of an interaction have some below the top level. `None`: the text
/// is no object.
pub(super) fn in_event(text: &str) -> Option<String> {
    let mut event: Map<String, Value> = serde_json::from_str(text).ok()?;
    for name in ID_FIELDS {
        if let Some(Value::Number(id)) = event.get(name) {
            let id = id.to_string();
            event.insert(name.to_owned(), id.into());
        }
    }
    for (name, value) in &mut event {
        match value {
            Value::Array(ids) if name == ID_LIST => write_list_as_text(ids),
            Value::Array(parts) if name == RECORDINGS => write_recordings_as_text(parts),
            Value::Object(_) if name == "voicemail" => write_ids_as_text(value),
            _ => {}
        }
    }
    serde_json::to_string(&event).ok()
}

/// Returns an id of Dialpad's as JSON has it: a number if it is one, otherwise a string.
#[must_use]
pub fn number_or_text(id: &str) -> Value {
    id.parse::<i64>().map_or_else(|_| id.into(), Into::into)
}
