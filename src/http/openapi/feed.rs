//! The feed over HTTP. What is said on the WebSocket is in the other document (`asyncapi`).

use cti_actors::{event::EventType, session::Subscription};
use serde_json::json;
use utoipa::openapi::{
    Ref,
    content::ContentBuilder,
    path::Parameter,
    schema::{ObjectBuilder, Type},
};

use super::{
    examples,
    operation::{Access, Group, Way, text},
    parameters::{after, header, limit, of_feeds, query, wait, whole},
    schemas::list_of,
};
use crate::http::{
    error::ErrorCode::*,
    feed::events::{DEFAULT_LIMIT, LARGEST_LIMIT},
};

const TAG: &str = "The feed";

pub(crate) fn ways() -> Vec<Way> {
    vec![poll(), stream(), socket()]
}

fn poll() -> Way {
    Group { tag: TAG, access: Access::Crm }
        .get("/api/events", "list_events", "Read the feed, or wait for what comes")
        .says(
            "The same events as on the WebSocket. Without `after` it begins with the oldest event that is kept. While \
             there is more, `Link` leads on; without one, ask again with `after` = `x-cursor`. With `wait`, an answer \
             that would be empty waits for the first event that is wanted.",
        )
        .takes([after("Behind this `seq`; 0: from the oldest event that is kept.")])
        .takes(of_feeds())
        .takes([limit(DEFAULT_LIMIT, LARGEST_LIMIT), wait()])
        .shows(
            200,
            "Events, the oldest first.",
            list_of(Ref::from_schema_name("Event")),
            json!([examples::event(EventType::CallRing), examples::event(EventType::CallStarted)]),
        )
        .paged()
        .with_header(200, "x-cursor", "How far the answer looks, whether or not the last event there was for you.")
        .refuses([CursorAhead, CursorExpired, TooManyConnections, TooManyConsumers])
}

fn stream() -> Way {
    let told =
        json!({"id": "42", "event": "call.started", "data": "{\"type\":\"call.started\",\"seq\":42,…}"});
    let content = ContentBuilder::new().schema(Some(part())).example(Some(told)).build();
    Group { tag: TAG, access: Access::CrmByQuery }
        .get("/api/events/stream", "stream_events", "Follow the feed as server-sent events")
        .says(
            "What the WebSocket says, for whoever has none: `event` is the type, `data` the object, `id` where to \
             resume. A browser comes back by itself with `Last-Event-ID`, which goes before `after`. It ends with \
             `event: closed`, whose `code` is a close code of `/ws`. The messages are described in `/asyncapi.json`.",
        )
        .takes([
            after("Behind this `seq`; 0: from the oldest event that is kept. Left out: only what comes from now on."),
            header("Last-Event-ID", whole(0, Some(i64::MAX), None), "The last `id` that was heard."),
        ])
        .takes(of_feeds())
        .takes(of_sessions())
        .streams(200, "The stream, one part after the other.", "text/event-stream", content)
        .refuses([CursorAhead, CursorExpired, TooManyConnections, TooManyConsumers, ConsumerElsewhere])
}

/// One part of a stream.
fn part() -> ObjectBuilder {
    let field =
        |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    ObjectBuilder::new()
        .property("id", field("Where to resume; alone where events were skipped."))
        .property("event", field("The `type` of the object."))
        .property("data", field("The object, as JSON."))
}

fn socket() -> Way {
    Group { tag: TAG, access: Access::Socket }
        .get("/ws", "open_websocket", "Follow the feed over a WebSocket")
        .says(
            "The request is a WebSocket handshake. Without a key here, the first message must bring it within 10 \
             seconds. A cursor that can't be served is announced as a `gap`. Messages, events and close codes are \
             described in `/asyncapi.json`.",
        )
        .takes([after("Behind this `seq`; 0: all that is kept. Left out: only what comes from now on.")])
        .takes(of_feeds())
        .takes(of_sessions())
        .answers(101, "The connection is a WebSocket from here on.")
}

/// The parameters of whoever stays.
pub(crate) fn of_sessions() -> Vec<Parameter> {
    let switch = || ObjectBuilder::new().schema_type(Type::Boolean);
    let parameter = |name: &str| match name {
        "snapshot" => query(
            name,
            switch(),
            "`true`: begin with the calls that are not over. Does not go together with `after` or `consumer`.",
        ),
        name => query(name, text(), ""),
    };
    Subscription::OF_SESSIONS.into_iter().map(parameter).collect()
}
