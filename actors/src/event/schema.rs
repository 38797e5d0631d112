//! What is told, as schemas: derived from the structs that are written, so that a document made of them can't differ
//! from what is sent.

use strum::VariantArray;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{
            ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, Ref, SchemaFormat, SchemaType,
            Type,
        },
    },
};

use super::{
    EventType,
    call_event::{
        CallBody, EndFields, HeldFields, RawFields, ResumedFields, RingFields, StartedFields, UpdatedFields,
        VoicemailFields,
    },
    connection_event::ConnectionBody,
    message_event::MessageBody,
    out_event::EventFields,
};
use crate::{
    consumer::Mode,
    id::{AppId, EventId, InteractionId, MessageId, Seq, SessionId, VoicemailId},
    model::call::{Direction, Leg, Outcome, Status},
    session::protocol::{ClientMessage, ConsumerSaid, ControlMessage},
};

/// An id of Dialpad's. A number up to 64 bits (of some messages and voicemails a text); with `ids=string` its digits as
/// a text.
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

/// Something that is told, or said.
#[derive(Clone)]
pub struct MessageSchema {
    /// Its `type`.
    pub kind: String,
    /// Its fields.
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

/// What the server says of a session beyond events.
#[must_use]
pub fn control_messages() -> Vec<MessageSchema> {
    let mut messages = variants(ControlMessage::schema());
    let mut of_consumers = Object::new();
    merge(&mut of_consumers, ConsumerSaid::schema());
    for message in messages.iter_mut().filter(|message| message.kind == "connected") {
        // Said only to connections of a consumer.
        message.schema.properties.extend(of_consumers.properties.clone());
        message.schema.required.retain(|name| !of_consumers.properties.contains_key(name));
    }
    messages.push(snapshot());
    messages
}

/// What a client may say on a WebSocket. What a `subscribe` may ask for, the query may as well, and is not repeated here.
#[must_use]
pub fn client_messages() -> Vec<MessageSchema> {
    variants(ClientMessage::schema())
}

/// The schemas that those of events and messages refer to; besides these, `Call` is one of whoever shows calls.
#[must_use]
pub fn components() -> Vec<Named> {
    fn named<T: ToSchema>() -> Named {
        (T::name().into_owned(), T::schema())
    }
    vec![
        named::<DialpadId>(),
        named::<AppId>(),
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
    ]
}

/// Says which fields of something that is sent are always there: all but those that are left out instead of null.
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

/// The pieces come as text (`session::snapshot`), because that is how calls are kept.
fn snapshot() -> MessageSchema {
    let calls = ArrayBuilder::new()
        .items(Ref::from_schema_name("Call"))
        .description(Some("Calls that are ringing, active or held, as `GET /api/calls` shows them."));
    let complete = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .description(Some("Whether this is the last piece: from then on, resume behind `seq`."));
    let schema = ObjectBuilder::new()
        .description(Some("The calls that are not over, as of `seq`: a piece of them."))
        .property("type", word("snapshot"))
        .property("seq", Ref::from_schema_name("Seq"))
        .property("calls", calls)
        .property("complete", complete);
    let schema = ["type", "seq", "calls", "complete"].into_iter().fold(schema, ObjectBuilder::required);
    MessageSchema { kind: "snapshot".to_owned(), schema: schema.build() }
}

/// The messages of an enum whose variants are told apart by their `type`.
fn variants(schema: RefOr<Schema>) -> Vec<MessageSchema> {
    let RefOr::T(Schema::OneOf(choice)) = schema else { return Vec::new() };
    let messages = choice.items.into_iter().map(|item| {
        let mut schema = Object::new();
        merge(&mut schema, item);
        let kind = kind_of(&schema).unwrap_or_default();
        schema.properties.insert("type".to_owned(), word(&kind).into());
        MessageSchema { kind, schema }
    });
    messages.collect()
}

/// The word that a message's `type` is.
fn kind_of(schema: &Object) -> Option<String> {
    match schema.properties.get("type")? {
        RefOr::T(Schema::Object(kind)) => kind.enum_values.as_ref()?.first()?.as_str().map(str::to_owned),
        _ => None,
    }
}

fn word(kind: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([kind]))
}

/// Adds the fields of one object to those of another, and takes its description if it has one.
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
    fn a_field_is_always_there_unless_it_is_left_out_instead_of_null() {
        let ended = event(EventType::CallEnded);
        let required: Vec<&str> = ended.required.iter().map(String::as_str).collect();
        for name in ended.properties.keys().map(String::as_str) {
            assert_eq!(required.contains(&name), !["source", "inferred"].contains(&name), "{name}");
        }
        assert!(required.contains(&"outcome") && required.contains(&"seq"), "{required:?}");
    }

    #[test]
    fn every_message_has_its_type() {
        let kinds = |messages: Vec<MessageSchema>| messages.into_iter().map(|it| it.kind).collect::<Vec<_>>();
        assert_eq!(kinds(client_messages()), ["subscribe", "ack"]);
        let said = kinds(control_messages());
        assert!(
            ["connected", "gap", "cursor", "reconnect", "snapshot"]
                .iter()
                .all(|it| said.contains(&(*it).to_owned())),
            "{said:?}"
        );
        assert!(said.iter().all(|kind| !kind.is_empty()), "{said:?}");
    }
}
