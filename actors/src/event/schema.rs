//! What is told, as schemas: derived from the structs that are written, so that a document made of them can't differ
//! from what is sent.

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

use crate::{
    consumer::Mode,
    event::call_events as call_news,
    id::{AppId, EventId, InteractionId, MessageId, Seq, SessionId, VoicemailId},
    model::{
        call::{Direction, Leg, Outcome, Status},
        message,
    },
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

/// Every type of event, as it is told on every way to the feed.
#[must_use]
pub fn events() -> Vec<MessageSchema> {
    use call_news::{Body, Ending, Held, Raw, Resumed, Ring, Started, Updated, VoicemailTold};
    let call = |kind: &str, extra: Vec<RefOr<Schema>>| event(kind, [vec![Body::schema()], extra].concat());
    let message = |kind: &str| event(kind, vec![message::Body::schema()]);
    let connection = |kind: &str| event(kind, vec![super::connection_events::Body::schema()]);
    vec![
        call("call.ring", vec![Ring::schema()]),
        call("call.started", vec![Started::schema()]),
        call("call.held", vec![Held::schema()]),
        call("call.resumed", vec![Resumed::schema()]),
        call("call.ended", vec![Ending::schema()]),
        call("call.updated", vec![Updated::schema(), Ending::schema()]),
        call("call.raw", vec![Raw::schema()]),
        call("voicemail.received", vec![VoicemailTold::schema()]),
        call("voicemail.updated", vec![VoicemailTold::schema()]),
        message("message.received"),
        message("message.sent"),
        message("message.updated"),
        connection("connection.connected"),
        connection("connection.degraded"),
        connection("connection.recovered"),
        connection("connection.expired"),
        connection("connection.disconnected"),
    ]
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

fn event(kind: &str, parts: Vec<RefOr<Schema>>) -> MessageSchema {
    let head = ObjectBuilder::new()
        .property("type", word(kind))
        .property("seq", Ref::from_schema_name("Seq"))
        .required("type")
        .required("seq");
    let mut schema: Object = head.build();
    for part in parts {
        merge(&mut schema, sent(part));
    }
    schema.description = None;
    MessageSchema { kind: kind.to_owned(), schema }
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
    use crate::session::EVENT_TYPES;

    #[test]
    fn every_type_of_event_is_described() {
        let described: Vec<String> = events().into_iter().map(|event| event.kind).collect();
        assert_eq!(described, EVENT_TYPES);
    }

    #[test]
    fn a_field_is_always_there_unless_it_is_left_out_instead_of_null() {
        let ended = events().into_iter().find(|event| event.kind == "call.ended").expect("it is told");
        let required: Vec<&str> = ended.schema.required.iter().map(String::as_str).collect();
        for name in ended.schema.properties.keys().map(String::as_str) {
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
