//! Calls, their recordings, and the human calls that they are legs of.

use cti_actors::{event::EventType, model::call::Status};
use serde_json::json;
use strum::VariantNames;
use utoipa::openapi::{Required, content::ContentBuilder};

use super::{
    bodies, examples,
    operation::{Access, Group, Way, text},
    parameters::{after, call_id, header, idempotency_key, ids, limit, of_lists, one_of, paging, query},
    schemas::{list_of, named},
};
use crate::{
    http::{
        error::ErrorCode::*,
        feed::events::{DEFAULT_LIMIT, LARGEST_LIMIT},
    },
    store::views::{calls::CallView, interactions::InteractionView},
};

const CALLS: Group = Group { tag: "Calls", access: Access::Crm };
const BY: &str = "The call, by our `id` or by Dialpad's.";

pub(crate) fn ways() -> Vec<Way> {
    let mut ways = vec![list(), place(), active(), one(), timeline(), interaction()];
    ways.extend(recording(
        "/api/calls/{id}/recording",
        "call_recording",
        "The audio of a call",
        CallNotFound,
        BY,
    ));
    ways.extend(recording(
        "/api/voicemails/{id}/recording",
        "voicemail_recording",
        "The audio of a voicemail",
        VoicemailNotFound,
        "The voicemail, by our `id` or by Dialpad's.",
    ));
    ways
}

fn list() -> Way {
    let status = query("status", one_of(Status::VARIANTS), "Only calls with this status.");
    CALLS
        .get("/api/calls", "list_calls", "List calls")
        .says(
            "Without `since`, the newest call first. With `since`, every call that changed since then, the oldest \
             change first: to follow changes, ask again with `since` = the last `updated_at` that you have.",
        )
        .takes([status])
        .takes(of_lists())
        .shows(200, "A page of calls.", list_of(named::<CallView>()), json!([examples::call()]))
        .paged()
}

fn active() -> Way {
    CALLS
        .get("/api/calls/active", "active_calls", "List the calls that are not over")
        .says("All that are `ringing`, `active` or `held`, the newest first.")
        .takes(paging())
        .takes([ids()])
        .shows(200, "A page of calls.", list_of(named::<CallView>()), json!([examples::active_call()]))
        .paged()
        .with_header(
            200,
            "x-cursor",
            "The `seq` that these calls are as of: go on with `/api/events?after=` this.",
        )
}

fn place() -> Way {
    let order = json!({"dialpad_user_id": 555, "phone_number": "+14155551234"});
    CALLS
        .post("/api/calls", "place_call", "Place a call")
        .says(
            "The telephones of the user ring, then the other side's. From there the call lives by its webhooks like \
             any other. After `OUTCOME_UNKNOWN` the call may ring: ask again with the same `Idempotency-Key`, which \
             never places a second one.",
        )
        .takes([idempotency_key(), ids()])
        .reads(Required::True, named::<bodies::CallOrder>(), order)
        .shows(201, "The call.", named::<CallView>(), examples::placed_call())
        .refuses([
            NotConnected,
            TokensExpired,
            DialpadRefused,
            DialpadRateLimited,
            DialpadUnavailable,
            OutcomeUnknown,
            IdempotencyKeyInUse,
            IdempotencyKeyReused,
        ])
}

fn one() -> Way {
    CALLS
        .get("/api/calls/{id}", "get_call", "Show a call")
        .says(
            "A recording or transcript that is missing is fetched from Dialpad first, for 2 seconds at most.",
        )
        .takes([call_id(BY), ids()])
        .shows(200, "The call.", named::<CallView>(), examples::call())
        .refuses([CallNotFound])
}

fn timeline() -> Way {
    CALLS
        .get("/api/calls/{id}/events", "call_events", "What was told of a call")
        .says("Its events, the oldest first, as far as they are kept.")
        .takes([
            call_id(BY),
            after("Only events behind this `seq`."),
            limit(DEFAULT_LIMIT, LARGEST_LIMIT),
            ids(),
        ])
        .shows(
            200,
            "A page of events.",
            list_of(utoipa::openapi::Ref::from_schema_name("Event")),
            json!([examples::event(EventType::CallRing), examples::event(EventType::CallStarted)]),
        )
        .paged()
        .refuses([CallNotFound])
}

fn interaction() -> Way {
    CALLS
        .get("/api/interactions/{id}", "get_interaction", "Show a human call with all its legs")
        .takes([call_id("The `interaction_id`, or our or Dialpad's id of any of its legs."), ids()])
        .shows(200, "The interaction.", named::<InteractionView>(), examples::interaction())
        .refuses([InteractionNotFound])
}

/// A recording, and what `HEAD` says of it.
fn recording(
    path: &str,
    id: &str,
    summary: &str,
    missing: crate::http::error::ErrorCode,
    by: &str,
) -> [Way; 2] {
    let audio = || ContentBuilder::new().schema(None::<utoipa::openapi::Schema>).build();
    let range = "Which part: one range of bytes. Whatever else it says, the whole is answered.";
    let get = Group { tag: "Recordings", access: Access::Crm }
        .get(path, id, summary)
        .says(
            "Streamed from Dialpad with the server's right to it: a CRM needs no token of Dialpad's. A link that has \
             expired is looked up again. Nothing is kept by the server.",
        )
        .takes([
            call_id(by),
            header("Range", text(), range),
            header("If-Range", text(), "The `ETag` or `Last-Modified` that the range is of."),
        ])
        .streams(200, "The audio.", "audio/*", audio())
        .with_header(200, "Content-Disposition", "A file name.")
        .streams(206, "The part that was asked for.", "audio/*", audio())
        .with_header(206, "Content-Range", "Which part it is, and how long the whole is.")
        .refuses([
            missing,
            RecordingNotFound,
            RecordingUnavailable,
            RangeNotSatisfiable,
            NotConnected,
            TokensExpired,
            DialpadRateLimited,
            DialpadUnavailable,
        ]);
    let head = get.as_head(&format!("{id}_head"));
    [get, head]
}
