//! The dedup key: two webhooks with the same key are the same event, delivered twice.
//!
//! The key is made of the event id that a payload carries, else of its whole content without the claims that only say
//! when its token was made.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Claims that say when a token was made, not what happened (RFC 7519, section 4.1): two webhooks that differ only
/// here are the same one.
const TOKEN_CLAIMS: [&str; 3] = ["iat", "exp", "jti"];

/// A key: the event's unix seconds (or zeros), then a SHA-256.
///
/// The seconds come first only for the index: keys of the same time lie next to each other in it, so a batch touches a
/// few of its pages instead of one for each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DedupKey([u8; 36]);

impl DedupKey {
    /// Computes the key of a payload that is a JSON object. `at` is when its event happened.
    pub(crate) fn of_object(
        object: &Map<String, Value>,
        organization_id: Option<i64>,
        at: Option<DateTime<Utc>>,
    ) -> Self {
        let mut digest = Sha256::new();
        let mut canonical = Vec::with_capacity(512);
        let id = object.get("event_id").filter(|id| is_id(id));
        let Some(id) = id else {
            digest.update(b"content:");
            write_object(object, &TOKEN_CLAIMS, &mut canonical);
            digest.update(&canonical);
            return Self::new(at, digest.finalize().into());
        };
        // An event id is unique within its organization only. The time is left out: a copy may carry another one.
        digest.update(b"id:");
        digest.update(organization_id.unwrap_or_default().to_be_bytes());
        write_canonical(id, &mut canonical);
        digest.update(&canonical);
        Self::new(None, digest.finalize().into())
    }

    /// Computes the key of a payload that is no JSON object.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self::new(None, Sha256::digest(bytes).into())
    }

    /// Reads a stored key; `None` for bytes of another length.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the key as it is stored.
    #[must_use]
    pub fn into_bytes(self) -> [u8; 36] {
        self.0
    }

    /// Returns the key as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn new(at: Option<DateTime<Utc>>, digest: [u8; 32]) -> Self {
        let seconds = at.and_then(|at| u32::try_from(at.timestamp()).ok()).unwrap_or_default();
        let mut key = [0; 36];
        key[..4].copy_from_slice(&seconds.to_be_bytes());
        key[4..].copy_from_slice(&digest);
        Self(key)
    }
}

/// Whether it identifies an event: an empty one would make all events the same one.
fn is_id(value: &Value) -> bool {
    match value {
        Value::String(id) => !matches!(id.trim(), "" | "0"),
        Value::Number(id) => id.as_f64() != Some(0.0),
        _ => false,
    }
}

/// Writes JSON with sorted keys and without white space, whatever the map type's own order.
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
    use crate::webhook::payload;

    fn key(json: &str) -> DedupKey {
        payload::read(json.as_bytes(), DateTime::UNIX_EPOCH).dedup_key
    }

    #[test]
    fn white_space_order_and_token_claims_do_not_change_the_key() {
        let event = key(r#"{"event_type":"call.ring","call_id":1,"timestamp":5}"#);
        assert_eq!(
            event,
            key(r#"{ "timestamp": 5, "call_id": 1, "event_type": "call.ring", "iat": 99, "jti": "x" }"#)
        );
        assert_ne!(event, key(r#"{"event_type":"call.ring","call_id":1,"timestamp":6}"#));
        assert_ne!(event, key(r#"{"event_type":"call.started","call_id":1,"timestamp":5}"#));
    }

    #[test]
    fn an_empty_event_id_is_none() {
        for id in ["null", r#""""#, r#"" ""#, "0", r#""0""#, "{}", "[]"] {
            let event =
                |call: i64| key(&format!(r#"{{"event_id":{id},"event_type":"call.ring","call_id":{call}}}"#));
            assert_ne!(event(1), event(2), "{id}");
        }
    }

    #[test]
    fn an_event_id_decides_within_its_organization() {
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
}
