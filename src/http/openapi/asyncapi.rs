//! The AsyncAPI document: the messages of the WebSocket and of the stream of server-sent events, from the schemas of
//! the OpenAPI document. `utoipa` makes no AsyncAPI, so the document is written by hand around them.

use cti_actors::{
    event::{
        EventType,
        schema::{self, MessageSchema, sent},
    },
    session::{
        CloseCode,
        schema::{client_messages, control_messages},
    },
};
use serde_json::{Map, Value, json};
use strum::VariantArray;
use utoipa::{
    IntoParams, PartialSchema,
    openapi::{
        RefOr, Schema,
        schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Type},
    },
};

use super::{examples, parameters, schemas};
use crate::http::feed::{params::OpenSession, stream::Closed};

const DESCRIPTION: &str = "\
The messages that cti-server sends to the readers of an app's feed, and those that it receives. Every event is emitted once, \
numbered by `seq`, without gaps. If you pass `after` = the last `seq` that you have processed, nothing is missing and \
nothing comes twice. The HTTP interface is in `/openapi.json`; both documents are shown at `/docs`.";

/// Returns whether and how a client reconnects after this close code.
fn reconnecting(code: CloseCode) -> &'static str {
    match code {
        CloseCode::GoingAway | CloseCode::TooSlow => "yes, with `after`",
        CloseCode::TooMany => "yes, later",
        CloseCode::TooBig | CloseCode::BadMessage => "correct the client",
        CloseCode::NotAuthenticated | CloseCode::Forbidden | CloseCode::TakenOver => "no",
    }
}

/// Returns the AsyncAPI document.
#[must_use]
pub fn asyncapi_document() -> Value {
    let events = named(schema::events());
    let controls = named(control_messages());
    let from_client = named(client_messages().into_iter().map(with_parameters).collect());
    let closed = named(vec![closed()]);
    let from = |groups: &[&Map<String, Value>]| -> Vec<String> {
        groups.iter().flat_map(|group| group.keys().cloned()).collect()
    };
    let messages: Map<String, Value> =
        [events.clone(), controls.clone(), from_client.clone(), closed.clone()]
            .into_iter()
            .flatten()
            .collect();
    let mut schemas: Map<String, Value> =
        schemas::of_the_feed().into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    // In AsyncAPI a discriminator is the name of the field.
    if let Some(any) = schemas.get_mut("Event") {
        any["discriminator"] = "type".into();
    }
    let channel = |names: &[String]| -> Map<String, Value> {
        names.iter().map(|name| (name.clone(), reference("components/messages", name))).collect()
    };
    let socket_sends = from(&[&controls, &events]);
    let stream_sends = from(&[&controls, &events, &closed]);
    let socket_all = from(&[&controls, &events, &from_client]);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "CTI Server", "version": env!("CARGO_PKG_VERSION"), "description": DESCRIPTION,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "websocket": server("ws", "A WebSocket; `wss` if the server is behind HTTPS."),
            "stream": server("http", "Server-sent events; `https` if the server is behind HTTPS."),
        },
        "channels": {
            "websocket": {
                "address": "/ws",
                "title": "The WebSocket",
                "description": SOCKET,
                "servers": [reference("servers", "websocket")],
                "messages": channel(&socket_all),
                "bindings": {"ws": {"method": "GET", "query": query(), "headers": headers(), "bindingVersion": "0.1.0"}},
                "x-close-codes": close_codes(),
            },
            "stream": {
                "address": "/api/events/stream",
                "title": "Server-sent events",
                "description": STREAM,
                "servers": [reference("servers", "stream")],
                "messages": channel(&stream_sends),
            },
        },
        "operations": {
            "send": operation("send", "websocket", "The server sends events and the state of the session.", &socket_sends),
            "receive": operation("receive", "websocket", "The client authenticates and acknowledges.", &from(&[&from_client])),
            "stream": operation("send", "stream", "The server sends the same as server-sent events.", &stream_sends),
        },
        "components": {"messages": messages, "schemas": schemas},
    })
}

const SOCKET: &str = "\
Send the key as a header (`x-api-key`, `x-app-api-key` or `Authorization: Bearer`), as `api_key` in the query, or in a first \
message `subscribe` within 10 seconds. The server sends `connected` first; then, with `snapshot=true`, the active calls; \
then events in the order of `seq`. A message of the client can have up to 64 KiB. The server sends a ping after 16 to 20 \
seconds without a sign of life, and drops the connection after 25 seconds.";
const STREAM: &str = "\
The messages of the WebSocket, for clients without one: `event` is the `type`, `data` the message, `id` where to resume \
(`Last-Event-ID`). Skipped events are an `id` without data, in place of the message `cursor`. The stream ends with `closed`.";

fn server(protocol: &str, description: &str) -> Value {
    json!({
        "host": "{host}", "protocol": protocol, "description": description,
        "variables": {"host": {"default": "localhost:4000", "description": "The host of the server."}},
    })
}

fn operation(action: &str, channel: &str, summary: &str, messages: &[String]) -> Value {
    let place = format!("channels/{channel}/messages");
    let messages: Vec<Value> = messages.iter().map(|name| reference(&place, name)).collect();
    json!({
        "action": action, "channel": reference("channels", channel), "summary": summary, "messages": messages,
    })
}

fn reference(place: &str, name: &str) -> Value {
    json!({"$ref": format!("#/{place}/{name}")})
}

/// Returns messages by their names in the document.
fn named(messages: Vec<MessageSchema>) -> Map<String, Value> {
    messages.into_iter().map(message).collect()
}

fn message(MessageSchema { kind, schema }: MessageSchema) -> (String, Value) {
    let event_type = kind.parse::<EventType>().ok();
    let summary = match event_type {
        Some(event_type) => Some(event_type.description().to_owned()),
        None => schema.description.clone(),
    };
    let payload = match event_type {
        Some(event_type) => reference("components/schemas", &schemas::event_name(event_type)),
        None => json!(sent(RefOr::T(Schema::Object(schema)))),
    };
    let examples: Vec<Value> =
        examples::message_of(&kind).into_iter().map(|payload| json!({"payload": payload})).collect();
    let message = json!({
        "name": kind, "title": kind, "summary": summary, "payload": payload, "examples": examples,
    });
    (kind.replace('.', "_"), message)
}

/// A `subscribe` can contain every parameter of the query.
fn with_parameters(mut message: MessageSchema) -> MessageSchema {
    if message.kind != "subscribe" {
        return message;
    }
    message.schema.required.push("api_key".to_owned());
    for parameter in OpenSession::into_params(|| None) {
        let Some(mut schema) = parameter.schema else { continue };
        if parameter.name == "types" {
            let list = ArrayBuilder::new().items(parameters::text());
            schema = AnyOfBuilder::new().item(schema).item(list).into();
        } else if parameter.name == "after" {
            let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
            schema = AnyOfBuilder::new().item(schema).item(number).into();
        }
        message.schema.properties.insert(parameter.name, schema);
    }
    message
}

fn closed() -> MessageSchema {
    let mut schema = match Closed::schema() {
        RefOr::T(Schema::Object(schema)) => schema,
        _ => Default::default(),
    };
    let closed_type = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["closed"]));
    schema.properties.insert("type".to_owned(), closed_type.into());
    MessageSchema { kind: "closed".to_owned(), schema }
}

/// Returns the schema of the query of the handshake.
fn query() -> Value {
    let mut properties = Map::new();
    properties.insert("api_key".to_owned(), json!({"type": "string", "description": "The app's key."}));
    for parameter in OpenSession::into_params(|| None) {
        let mut schema = json!(parameter.schema);
        schema["description"] = json!(parameter.description);
        properties.insert(parameter.name, schema);
    }
    json!({"type": "object", "properties": properties})
}

fn headers() -> Value {
    json!({"type": "object", "properties": {"x-api-key": {"type": "string", "description": "The app's key."}}})
}

fn close_codes() -> Vec<Value> {
    let described = |code: &CloseCode| json!({"code": code.code(), "meaning": code.meaning(), "comeBack": reconnecting(*code)});
    CloseCode::VARIANTS.iter().map(described).collect()
}
