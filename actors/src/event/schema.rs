//! The events as schemas. They are derived from the structs that are serialised, so a document made of them can't differ
//! from what is delivered.

use strum::VariantArray;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{KnownFormat, Object, ObjectBuilder, OneOfBuilder, Ref, SchemaFormat, SchemaType, Type},
    },
};

use super::{
    EventType,
    call_event::{
        CallBody, EndFields, HeldFields, RawFields, ResumedFields, RingFields, StartedFields, UpdatedFields,
        VoicemailFields,
    },
    connection_event::ConnectionBody,
    interaction_event::{
        InteractionBody, InteractionRecording, InteractionUpdatedFields, InteractionVoicemail,
    },
    message_event::MessageBody,
    out_event::EventFields,
    recording::RecordingBody,
};
use crate::{
    id::{AppId, Epoch, EventId, InteractionId, MessageId, Seq, SessionId, VoicemailId},
    model::{
        call::{Direction, Leg, Outcome, Status},
        consumer::Mode,
    },
};

/// An id of Dialpad: a number of up to 64 bits, or a string.
pub struct DialpadId;

impl PartialSchema for DialpadId {
    fn schema() -> RefOr<Schema> {
        let int64 = Some(SchemaFormat::KnownFormat(KnownFormat::Int64));
        let description = "An id of Dialpad: a number of up to 64 bits. Some messages and voicemails have a string. With \
                           `ids=string`, all are strings.";
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::Integer).format(int64))
            .item(ObjectBuilder::new().schema_type(Type::String))
            .description(Some(description))
            .into()
    }
}

impl ToSchema for DialpadId {}

/// The schema of a message.
#[derive(Clone)]
pub struct MessageSchema {
    /// The `type`.
    pub kind: String,
    /// The fields.
    pub schema: Object,
}

/// A schema with its name.
pub type Named = (String, RefOr<Schema>);

/// Returns the schemas of all events.
#[must_use]
pub fn events() -> Vec<MessageSchema> {
    let described =
        |event_type: &EventType| MessageSchema { kind: event_type.to_string(), schema: event(*event_type) };
    EventType::VARIANTS.iter().map(described).collect()
}

/// Returns the schema of the events of a type.
#[must_use]
pub fn event(event_type: EventType) -> Object {
    let parts = match event_type {
        EventType::CallRing => vec![CallBody::schema(), RingFields::schema()],
        EventType::CallStarted => vec![CallBody::schema(), StartedFields::schema()],
        EventType::CallHeld => vec![CallBody::schema(), HeldFields::schema()],
        EventType::CallResumed => vec![CallBody::schema(), ResumedFields::schema()],
        EventType::CallEnded => vec![CallBody::schema(), EndFields::schema()],
        EventType::CallUpdated => vec![CallBody::schema(), UpdatedFields::schema(), EndFields::schema()],
        EventType::CallRaw => vec![CallBody::schema(), RawFields::schema()],
        EventType::VoicemailReceived | EventType::VoicemailUpdated => {
            vec![CallBody::schema(), VoicemailFields::schema()]
        }
        EventType::InteractionEnded => vec![InteractionBody::schema()],
        EventType::InteractionUpdated => {
            vec![InteractionBody::schema(), InteractionUpdatedFields::schema()]
        }
        EventType::MessageReceived | EventType::MessageSent | EventType::MessageUpdated => {
            vec![MessageBody::schema()]
        }
        EventType::ConnectionConnected
        | EventType::ConnectionDegraded
        | EventType::ConnectionRecovered
        | EventType::ConnectionExpired
        | EventType::ConnectionDisconnected => vec![ConnectionBody::schema()],
    };
    let head = ObjectBuilder::new()
        .property("type", word(event_type.as_str()))
        .property("seq", Ref::from_schema_name("Seq"))
        .required("type")
        .required("seq");
    let mut schema: Object = head.build();
    for part in std::iter::once(EventFields::schema()).chain(parts) {
        merge(&mut schema, sent(part));
    }
    schema.description = None;
    schema
}

/// Returns the schemas that those of events and messages refer to, but for `Call`, which belongs to the REST API.
#[must_use]
pub fn components() -> Vec<Named> {
    fn named<T: ToSchema>() -> Named {
        (T::name().into_owned(), T::schema())
    }
    vec![
        named::<DialpadId>(),
        named::<AppId>(),
        named::<Epoch>(),
        named::<EventId>(),
        named::<InteractionId>(),
        named::<MessageId>(),
        named::<VoicemailId>(),
        named::<SessionId>(),
        named::<Seq>(),
        named::<Direction>(),
        named::<Leg>(),
        named::<Status>(),
        named::<Outcome>(),
        named::<Mode>(),
        (RecordingBody::name().into_owned(), sent(RecordingBody::schema())),
        (InteractionVoicemail::name().into_owned(), sent(InteractionVoicemail::schema())),
        (InteractionRecording::name().into_owned(), sent(InteractionRecording::schema())),
    ]
}

/// Makes required the fields of something that is sent that can be null: only fields that are left out instead are
/// optional.
#[must_use]
pub fn sent(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            for (name, field) in &object.properties {
                if may_be_null(field) && !object.required.contains(name) {
                    object.required.push(name.clone());
                }
            }
            RefOr::T(Schema::Object(object))
        }
        other => other,
    }
}

fn may_be_null(field: &RefOr<Schema>) -> bool {
    let is_null = |kind: &SchemaType| match kind {
        SchemaType::Type(kind) => *kind == Type::Null,
        SchemaType::Array(kinds) => kinds.contains(&Type::Null),
        SchemaType::AnyValue => true,
    };
    match field {
        RefOr::T(Schema::Object(object)) => is_null(&object.schema_type),
        RefOr::T(Schema::Array(array)) => is_null(&array.schema_type),
        RefOr::T(Schema::OneOf(choice)) => choice.items.iter().any(may_be_null),
        _ => false,
    }
}

/// Returns the schema of a field with this value.
pub(crate) fn word(value: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([value]))
}

/// Adds the fields and the description of one object to another.
pub fn merge(onto: &mut Object, part: RefOr<Schema>) {
    match part {
        RefOr::T(Schema::Object(part)) => {
            onto.properties.extend(part.properties);
            onto.required.extend(part.required);
            onto.description = part.description.or(onto.description.take());
        }
        RefOr::T(Schema::AllOf(parts)) => {
            onto.description = parts.description.or(onto.description.take());
            parts.items.into_iter().for_each(|part| merge(onto, part));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_required_unless_it_is_left_out_instead_of_null() {
        let ended = event(EventType::CallEnded);
        let required: Vec<&str> = ended.required.iter().map(String::as_str).collect();
        for name in ended.properties.keys().map(String::as_str) {
            assert_eq!(required.contains(&name), !["source", "inferred"].contains(&name), "{name}");
        }
        assert!(required.contains(&"outcome") && required.contains(&"seq"), "{required:?}");
    }
}
