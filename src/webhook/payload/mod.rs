//! What a webhook says: both payload families, read into the engine's words.
//!
//! [`workflow`] is the family of named events (`event_type`), [`native`] Dialpad's own (`state`, and its text
//! messages), [`finding`] what the server found out by itself. An authentic webhook is never refused for its content: what can't be read is kept with the reason.

pub(crate) mod fields;
pub(crate) mod finding;
pub(crate) mod native;
pub(crate) mod workflow;

use chrono::{DateTime, Utc};
use cti_actors::{
    model::call::{Knowledge, Signal},
    ports::Inbound,
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use self::fields::Fields;
pub use self::finding::{Conclusion, Finding};

/// Claims that say when a token was made, not what happened: two webhooks that differ only here are the same one.
const TOKEN_CLAIMS: [&str; 3] = ["iat", "exp", "jti"];
/// Where a payload may name its organisation.
const ORGANIZATION: [&str; 3] = ["organization_id", "org_id", "company_id"];

/// Which words a payload uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Named events.
    Workflow,
    /// Dialpad's states and messages.
    Native,
    /// Nobody else's: what the server found out by itself.
    Finding,
    /// None of these.
    Unknown,
}

impl Family {
    /// The word in the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Native => "dialpad",
            Self::Finding => "finding",
            Self::Unknown => "unknown",
        }
    }
}

/// What was made of a payload.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Whose words it uses.
    pub family: Family,
    /// Its event type or state, `unknown` where it has none.
    pub event_type: String,
    /// The organisation that it names.
    pub organization_id: Option<i64>,
    /// What makes it the same as another: its own event id, else its content.
    pub dedup_key: DedupKey,
    /// When it says that it was sent or happened.
    pub at: Option<DateTime<Utc>>,
    /// What it says, or why that can't be told.
    pub content: Result<Inbound, String>,
}

/// Reads what came to the door. Findings are the server's own; nobody else's word is taken for one.
#[must_use]
pub fn read_webhook(bytes: &[u8], received_at: DateTime<Utc>) -> Reading {
    let reading = read(bytes, received_at);
    if reading.family != Family::Finding {
        return reading;
    }
    let content = Err("only the server itself has findings".to_owned());
    Reading { family: Family::Unknown, event_type: "unknown".into(), content, ..reading }
}

/// Reads a payload from the journal. Where it names no instant, it happened when it was received.
#[must_use]
pub fn read(bytes: &[u8], received_at: DateTime<Utc>) -> Reading {
    let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(bytes) else {
        return Reading {
            family: Family::Unknown,
            event_type: "unknown".into(),
            organization_id: None,
            dedup_key: key_at(None, Sha256::digest(bytes).into()),
            at: None,
            content: Err("the payload is not a JSON object".into()),
        };
    };
    let fields = Fields::of(&object);
    let organization_id = fields
        .integer(&ORGANIZATION)
        .or_else(|| object.get("company").and_then(|it| fields::integer(it.get("id")?)));
    let (family, event_type, at, content) = if let Some(kind) = fields.text(&[finding::MARK]) {
        let (at, content) = finding::read(&kind, &object, received_at);
        (Family::Finding, format!("finding.{kind}"), at, content)
    } else if let Some(event_type) = fields.text(&["event_type"]) {
        let (at, content) = workflow::read(&event_type, &object, received_at);
        (Family::Workflow, event_type, at, content)
    } else if let Some(state) = fields.text(&["state"]) {
        let (at, content) = native::read_call(&state, &object, received_at);
        (Family::Native, state, at, content)
    } else if native::is_message(&object) {
        let (at, content) = native::read_message(&object, received_at);
        (Family::Native, "sms".to_owned(), at, content)
    } else {
        (Family::Unknown, "unknown".to_owned(), None, Err("neither event_type nor state is there".to_owned()))
    };
    let dedup_key = dedup_key(&object, organization_id, at);
    Reading { family, event_type, organization_id, dedup_key, at, content }
}

/// What Dialpad's REST API shows of a call that is over, in the engine's words.
#[must_use]
pub fn details(call: &Map<String, Value>) -> Knowledge {
    native::knowledge(&Fields::of(call), &Signal::Learned)
}

/// What makes two webhooks the same one: an instant (or zeros) and a digest.
pub type DedupKey = [u8; 36];

/// The instant comes first only for the sake of the index: keys that are made at the same time lie beside each other
/// in it, and a batch touches a few of its pages instead of one for each key.
fn key_at(at: Option<DateTime<Utc>>, digest: [u8; 32]) -> DedupKey {
    let seconds = at.and_then(|at| u32::try_from(at.timestamp()).ok()).unwrap_or_default();
    let mut key = [0; 36];
    key[..4].copy_from_slice(&seconds.to_be_bytes());
    key[4..].copy_from_slice(&digest);
    key
}

fn dedup_key(
    object: &Map<String, Value>,
    organization_id: Option<i64>,
    at: Option<DateTime<Utc>>,
) -> DedupKey {
    let mut at = at;
    let mut digest = Sha256::new();
    let mut canonical = Vec::with_capacity(512);
    match object.get("event_id") {
        Some(id @ (Value::String(_) | Value::Number(_))) => {
            // An id is unique to whoever gave it: the organisation's name keeps two of them apart.
            // Nor must a copy be told apart by its instant.
            at = None;
            digest.update(b"id:");
            digest.update(organization_id.unwrap_or_default().to_be_bytes());
            write_canonical(id, &mut canonical);
        }
        _ => {
            digest.update(b"content:");
            write_object(object, &TOKEN_CLAIMS, &mut canonical);
        }
    }
    digest.update(&canonical);
    key_at(at, digest.finalize().into())
}

/// JSON with sorted keys and no white space, whatever the map type's own order.
fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(object) => write_object(object, &[], out),
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                write_canonical(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

fn write_object(object: &Map<String, Value>, without: &[&str], out: &mut Vec<u8>) {
    let mut keys: Vec<&String> = object.keys().filter(|key| !without.contains(&key.as_str())).collect();
    keys.sort_unstable();
    out.push(b'{');
    for key in keys {
        out.extend_from_slice(Value::from(key.as_str()).to_string().as_bytes());
        out.push(b':');
        write_canonical(&object[key], out);
        out.push(b',');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(json: &str) -> DedupKey {
        read(json.as_bytes(), DateTime::UNIX_EPOCH).dedup_key
    }

    #[test]
    fn the_same_event_is_recognised_in_other_clothes() {
        let event = key(r#"{"event_type":"call.ring","call_id":1,"timestamp":5}"#);
        assert_eq!(
            event,
            key(r#"{ "timestamp": 5, "call_id": 1, "event_type": "call.ring", "iat": 99, "jti": "x" }"#)
        );
        assert_ne!(event, key(r#"{"event_type":"call.ring","call_id":1,"timestamp":6}"#));
        assert_ne!(event, key(r#"{"event_type":"call.started","call_id":1,"timestamp":5}"#));
    }

    #[test]
    fn an_event_id_decides_within_its_organisation() {
        let event = key(r#"{"event_id":"e1","organization_id":7,"event_type":"call.ring","call_id":1}"#);
        assert_eq!(
            event,
            key(r#"{"event_id":"e1","organization_id":7,"event_type":"call.ring","call_id":2}"#)
        );
        assert_ne!(
            event,
            key(r#"{"event_id":"e1","organization_id":8,"event_type":"call.ring","call_id":1}"#)
        );
    }

    #[test]
    fn an_organisation_is_found_in_every_place() {
        for json in [
            r#"{"organization_id":7}"#,
            r#"{"organization_id":"7"}"#,
            r#"{"org_id":7}"#,
            r#"{"company_id":"7"}"#,
            r#"{"company":{"id":7}}"#,
        ] {
            assert_eq!(read(json.as_bytes(), DateTime::UNIX_EPOCH).organization_id, Some(7), "{json}");
        }
    }

    #[test]
    fn nobody_elses_word_is_taken_for_a_finding() {
        let forged = br#"{"finding":"presumed_over","call_id":1,"at":"2024-01-01T12:00:00Z"}"#;
        assert!(read(forged, DateTime::UNIX_EPOCH).content.is_ok());
        let reading = read_webhook(forged, DateTime::UNIX_EPOCH);
        assert!(reading.content.is_err() && reading.family == Family::Unknown);
    }

    #[test]
    fn nonsense_is_kept_with_its_reason() {
        for bytes in
            [&b"\xff\xfe"[..], b"[1,2]", b"{}", br#"{"event_type":"call.ring"}"#, br#"{"state":"ringing"}"#]
        {
            assert!(read(bytes, DateTime::UNIX_EPOCH).content.is_err());
        }
    }
}
