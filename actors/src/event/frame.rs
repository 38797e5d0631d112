//! An event at its place in the feed, as the text that every session shares.

use std::{fmt, sync::Arc};

use bytestring::ByteString;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

use super::{
    EventTrace, OutEvent, TypeName, ids_as_text,
    keys::{EventKeys, LazyKeys},
};
use crate::{error::StoreError, id::Seq};

/// An event at its place in the feed. Cheap to clone: the text is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The place.
    pub seq: Seq,
    /// The type.
    pub event_type: TypeName,
    /// The Dialpad user whom the event concerns.
    pub dialpad_user_id: Option<i64>,
    /// The whole event as a JSON object.
    pub text: ByteString,
    /// The trace of the webhook that caused it, if it has one.
    pub(crate) trace: Option<Arc<EventTrace>>,
    keys: LazyKeys,
}

impl Frame {
    /// Puts a committed event at its place.
    #[must_use]
    pub fn new(seq: Seq, event: &OutEvent) -> Self {
        Self {
            seq,
            event_type: event.event_type.into(),
            dialpad_user_id: event.dialpad_user_id(),
            text: event.text_at(seq).into(),
            trace: None,
            keys: event.keys().into(),
        }
    }

    pub(crate) fn traced(self, trace: Option<Arc<EventTrace>>) -> Self {
        Self { trace, ..self }
    }

    /// Puts a stored event at its place. `body` is its [`OutEvent::stored_body`], which may be that of another version
    /// of the server: its fields are delivered as they are.
    ///
    /// # Errors
    /// The body is not a JSON object.
    pub fn stored(
        seq: Seq,
        event_type: &str,
        dialpad_user_id: Option<i64>,
        body: &str,
    ) -> Result<Self, StoreError> {
        let event_type = TypeName::from(event_type);
        let fields = serde_json::from_str(body);
        let text = fields
            .and_then(|fields| serde_json::to_string(&PlacedFields { event_type: &event_type, seq, fields }));
        let text =
            text.map_err(|_| StoreError::Corrupt { table: "events", column: "body", id: seq.to_string() })?;
        Ok(Self {
            seq,
            event_type,
            dialpad_user_id,
            text: text.into(),
            trace: None,
            keys: LazyKeys::default(),
        })
    }

    /// Returns the event with Dialpad's ids as strings, for clients whose numbers are not exact up to 64 bits.
    #[must_use]
    pub fn text_with_text_ids(&self) -> ByteString {
        ids_as_text::in_event(&self.text).map_or_else(|| self.text.clone(), Into::into)
    }

    /// Returns the same number for all events that have to be processed in order: those of a call, or of a message.
    pub(crate) fn partition_key(&self) -> u64 {
        self.keys().partition_key
    }

    /// Returns what filters ask of the event.
    pub(crate) fn keys(&self) -> &EventKeys {
        self.keys.get_or_read(&self.text)
    }
}

/// The fields of a stored event, untouched and in their order.
struct StoredFields<'a>(Vec<(&'a str, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for StoredFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Vec<(&'de str, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = object.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Fields).map(Self)
    }
}

/// The fields of a stored event behind its `type` and `seq`.
struct PlacedFields<'a> {
    event_type: &'a TypeName,
    seq: Seq,
    fields: StoredFields<'a>,
}

impl Serialize for PlacedFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let StoredFields(fields) = &self.fields;
        let mut object = serializer.serialize_map(Some(fields.len() + 2))?;
        object.serialize_entry("type", self.event_type)?;
        object.serialize_entry("seq", &self.seq)?;
        for (name, value) in fields {
            object.serialize_entry(name, value)?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_event_of_another_version_is_delivered_as_it_is() {
        let body = r#"{"event_id":"1","z":{"b": 1.0,"a":"\u00e9"},"call_id":9007199254740993,"z":[]}"#;
        let frame = Frame::stored(Seq(7), "call.parked", None, body).expect("an object");
        let expected = r#"{"type":"call.parked","seq":7,"event_id":"1","z":{"b": 1.0,"a":"\u00e9"},"call_id":9007199254740993,"z":[]}"#;
        assert_eq!(frame.text, expected);
        assert_eq!(frame.event_type.as_str(), "call.parked");
    }

    #[test]
    fn a_stored_body_that_is_no_object_is_an_error() {
        for body in ["{nonsense", "[]", "", "{} {}"] {
            let refused = Frame::stored(Seq(1), "call.ring", None, body);
            assert!(matches!(refused, Err(StoreError::Corrupt { column: "body", .. })), "{body}");
        }
    }
}
