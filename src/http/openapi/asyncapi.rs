//! The AsyncAPI document: what is said on the WebSocket and in the stream of server-sent events, from the same schemas as
//! the other document has.

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
    PartialSchema,
    openapi::{RefOr, Schema, path::Parameter, schema::AnyOfBuilder, schema::ArrayBuilder},
};

use super::{examples, feed, operation, parameters, schemas};
use crate::http::feed::stream::Closed;

const DESCRIPTION: &str = "\
What cti-server says to those who listen to an app's feed, and what they may say. Every event is told once, at its place \
`seq`, without holes; with `after` = the last `seq` that you have dealt with, nothing is missing and nothing comes twice. \
What is asked over HTTP is in `/openapi.json`; both are shown at `/docs`.";

/// How a session comes back after this close code.
fn coming_back(code: CloseCode) -> &'static str {
    match code {
        CloseCode::GoingAway | CloseCode::TooSlow => "with your cursor",
        CloseCode::TooMany | CloseCode::Elsewhere => "later, with your cursor",
        CloseCode::TooBig | CloseCode::BadMessage => "after the client is corrected",
        CloseCode::NotAuthenticated | CloseCode::Forbidden | CloseCode::TakenOver => "no",
    }
}

/// The AsyncAPI document.
#[must_use]
pub fn asyncapi_document() -> Value {
    let events = named(schema::events());
    let controls = named(control_messages());
    let said = named(client_messages().into_iter().map(with_wishes).collect());
    let closed = named(vec![closed()]);
    let from = |groups: &[&Map<String, Value>]| -> Vec<String> {
        groups.iter().flat_map(|group| group.keys().cloned()).collect()
    };
    let messages: Map<String, Value> =
        [events.clone(), controls.clone(), said.clone(), closed.clone()].into_iter().flatten().collect();
    let mut schemas: Map<String, Value> =
        schemas::of_the_feed().into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    // Here a discriminator is but the name of the field.
    if let Some(any) = schemas.get_mut("Event") {
        any["discriminator"] = "type".into();
    }
    let channel = |names: &[String]| -> Map<String, Value> {
        names.iter().map(|name| (name.clone(), reference("components/messages", name))).collect()
    };
    let socket_hears = from(&[&controls, &events]);
    let stream_hears = from(&[&controls, &events, &closed]);
    let socket_all = from(&[&controls, &events, &said]);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "CTI Server", "version": env!("CARGO_PKG_VERSION"), "description": DESCRIPTION,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "websocket": server("ws", "A WebSocket; `wss` where the server is behind https."),
            "stream": server("http", "Server-sent events; `https` where the server is behind it."),
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
                "messages": channel(&stream_hears),
            },
        },
        "operations": {
            "tell": operation("send", "websocket", "The server tells what happened, and where the session stands.", &socket_hears),
            "hear": operation("receive", "websocket", "The client brings its key, and acknowledges.", &from(&[&said])),
            "stream": operation("send", "stream", "The server tells the same as server-sent events.", &stream_hears),
        },
        "components": {"messages": messages, "schemas": schemas},
    })
}

const SOCKET: &str = "\
The key comes as a header (`x-api-key`, `x-app-api-key` or `Authorization: Bearer`), as `api_key` in the query, or in a \
first message `subscribe` within 10 seconds. `connected` is said first; then, with `snapshot=true`, the calls that are not \
over; then events in the order of `seq`. Messages of a client may have 64 KiB. A client that was not heard of for 16 to 20 \
seconds is pinged, and one that was not for 25 seconds is dropped.";
const STREAM: &str = "\
What the WebSocket says, for whoever has none: `event` is a message's `type`, `data` the message, `id` where to resume \
(`Last-Event-ID`). What was skipped is an `id` alone, in place of the message `cursor`. It ends with `closed`.";

fn server(protocol: &str, description: &str) -> Value {
    json!({
        "host": "{host}", "protocol": protocol, "description": description,
        "variables": {"host": {"default": "localhost:4000", "description": "Where the server is."}},
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

/// Messages by the names that the document has for them.
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
        examples::said(&kind).into_iter().map(|payload| json!({"payload": payload})).collect();
    let message = json!({
        "name": kind, "title": kind, "summary": summary, "payload": payload, "examples": examples,
    });
    (kind.replace('.', "_"), message)
}

/// A `subscribe` may ask for what the query may ask for.
fn with_wishes(mut message: MessageSchema) -> MessageSchema {
    if message.kind != "subscribe" {
        return message;
    }
    message.schema.required.push("api_key".to_owned());
    for parameter in wishes() {
        let Some(mut schema) = parameter.schema else { continue };
        if parameter.name == "types" {
            let list = ArrayBuilder::new().items(operation::text());
            schema = AnyOfBuilder::new().item(schema).item(list).into();
        }
        message.schema.properties.insert(parameter.name, schema);
    }
    message
}

fn wishes() -> Vec<Parameter> {
    let mut wishes = vec![parameters::after(
        "Behind this `seq`; 0: all that is kept. Left out: only what comes from now on.",
    )];
    wishes.extend(parameters::of_feeds());
    wishes.extend(feed::of_sessions());
    wishes
}

fn closed() -> MessageSchema {
    let mut schema = match Closed::schema() {
        RefOr::T(Schema::Object(schema)) => schema,
        _ => Default::default(),
    };
    schema.properties.insert("type".to_owned(), parameters::one_of(&["closed"]).into());
    MessageSchema { kind: "closed".to_owned(), schema }
}

/// The query of the handshake.
fn query() -> Value {
    let mut properties = Map::new();
    properties.insert("api_key".to_owned(), json!({"type": "string", "description": "The app's key."}));
    for parameter in wishes() {
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
    let codes = CloseCode::VARIANTS.iter();
    codes
        .map(|code| json!({"code": code.code(), "meaning": code.meaning(), "comeBack": coming_back(*code)}))
        .collect()
}
