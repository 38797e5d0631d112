//! The messages about a session, as schemas.

use utoipa::{
    PartialSchema,
    openapi::{
        RefOr, Schema,
        schema::{ArrayBuilder, Object, ObjectBuilder, Ref, Type},
    },
};

use super::protocol::{ClientMessage, ConsumerFields, ControlMessage};
use crate::event::schema::{MessageSchema, merge, word};

/// Returns the schemas of the server's messages about a session.
#[must_use]
pub fn control_messages() -> Vec<MessageSchema> {
    let mut messages = variants(ControlMessage::schema());
    let mut of_consumers = Object::new();
    merge(&mut of_consumers, ConsumerFields::schema());
    for message in messages.iter_mut().filter(|message| message.kind == "connected") {
        // Only connections of a consumer have these fields.
        message.schema.properties.extend(of_consumers.properties.clone());
        message.schema.required.retain(|name| !of_consumers.properties.contains_key(name));
    }
    messages.push(snapshot());
    messages
}

/// Returns the schemas of the client's messages on a WebSocket. The parameters of `subscribe` are those of the query, and
/// not repeated here.
#[must_use]
pub fn client_messages() -> Vec<MessageSchema> {
    variants(ClientMessage::schema())
}

/// The parts are made as text (`session::snapshot`), because calls are kept as text.
fn snapshot() -> MessageSchema {
    let calls = ArrayBuilder::new()
        .items(Ref::from_schema_name("Call"))
        .description(Some("Calls that are ringing, active or held, as in `GET /api/calls`."));
    let complete = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .description(Some("Whether this is the last part: from then on, resume with `after` = `seq`."));
    let schema = ObjectBuilder::new()
        .description(Some("A part of the calls that are not over, as of `seq`."))
        .property("type", word("snapshot"))
        .property("seq", Ref::from_schema_name("Seq"))
        .property("calls", calls)
        .property("complete", complete);
    let schema = ["type", "seq", "calls", "complete"].into_iter().fold(schema, ObjectBuilder::required);
    MessageSchema { kind: "snapshot".to_owned(), schema: schema.build() }
}

/// Returns the messages of an enum whose variants differ by their `type`.
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

/// Returns the value of a message's `type`.
fn kind_of(schema: &Object) -> Option<String> {
    match schema.properties.get("type")? {
        RefOr::T(Schema::Object(kind)) => kind.enum_values.as_ref()?.first()?.as_str().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantNames;

    use super::*;
    use crate::session::ControlType;

    #[test]
    fn every_message_has_its_type() {
        let kinds = |messages: Vec<MessageSchema>| -> Vec<String> {
            messages.into_iter().map(|message| message.kind).collect()
        };
        assert_eq!(kinds(client_messages()), ["subscribe", "ack"]);
        let mut described = kinds(control_messages());
        // The end of a stream has its schema where streams are written.
        described.push("closed".to_owned());
        described.sort();
        let mut known = ControlType::VARIANTS.to_vec();
        known.sort_unstable();
        assert_eq!(described, known);
    }
}
