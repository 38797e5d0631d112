//! The journal of webhooks, and the webhooks at Dialpad, for administrators.

use serde_json::{Value, json};
use utoipa::openapi::Required;

use super::{
    bodies, examples,
    operation::{Access, Group, Way, text},
    parameters::{idempotency_key, ids, instant, one_of, paging, path, query, required_query, uuid},
    schemas::{list_of, named},
};
use crate::http::{
    admin::{journal, webhooks},
    error::ErrorCode::*,
};

const JOURNAL: Group = Group { tag: "Administration: journal", access: Access::Administrator };
const AT_DIALPAD: Group = Group { tag: "Administration: webhooks at Dialpad", access: Access::Administrator };

pub(crate) fn ways() -> Vec<Way> {
    let mut ways = vec![list(), one(), replay()];
    ways.extend(at_dialpad());
    ways
}

fn list() -> Way {
    let statuses = one_of(&["pending", "processed", "failed", "unrouted"]);
    JOURNAL
        .get("/internal/webhook-events", "list_webhook_events", "List webhooks that came in")
        .says("The newest first. A page ends before its payloads have more than 4 MiB.")
        .takes([
            query("status", statuses, "Only those that stand so."),
            query("app_id", uuid(), "Only those of this app."),
            query("event_type", text(), "Only those with this `event_type` or `state`."),
            instant("since", "Only what was received since then."),
            instant("until", "Only what was received before then."),
        ])
        .takes(paging())
        .takes([ids()])
        .shows(200, "A page of webhooks.", list_of(named::<journal::Shown<'_>>()), json!([entry()]))
        .paged()
        .refuses([AppNotFound])
}

fn one() -> Way {
    JOURNAL
        .get("/internal/webhook-events/{id}", "get_webhook_event", "Show a webhook that came in")
        .takes([path("id", uuid(), "The `event_id` of its acknowledgement."), ids()])
        .shows(200, "The webhook.", named::<journal::Shown<'_>>(), entry())
        .refuses([WebhookEventNotFound])
}

fn replay() -> Way {
    let processed = examples::with(
        entry(),
        json!({"app_id": examples::APP, "status": "processed", "reason": null, "attempts": 1,
            "processed_at": "2024-01-01T13:00:00.310222Z"}),
    );
    JOURNAL
        .post("/internal/webhook-events/{id}/replay", "replay_webhook_event", "Process a webhook again")
        .says("Processes one that failed, routes one anew that waits, and says what became of it.")
        .takes([path("id", uuid(), "The `event_id` of its acknowledgement."), ids()])
        .reads(Required::False, named::<bodies::Replay>(), json!({"app_id": examples::APP}))
        .shows(200, "The webhook as it is then.", named::<journal::Shown<'_>>(), processed)
        .refuses([WebhookEventNotFound, AppNotFound, AlreadyProcessed])
}

fn at_dialpad() -> Vec<Way> {
    let app = "The app whose webhook it is.";
    let id = || path("webhook_id", text(), "By our id or by Dialpad's.");
    let asks_dialpad = |way: Way| way.refuses([DialpadRefused, DialpadUnavailable, DialpadRateLimited]);
    // Nobody who may speak for the app is needed for a deletion: it is forgotten here then.
    let speaks_for_the_app = |way: Way| asks_dialpad(way).refuses([NotConnected, TokensExpired]);
    let create = AT_DIALPAD
        .post("/internal/webhooks/create", "create_webhook", "Make sure that an app's webhook stands")
        .says("With its subscriptions. What was reached before an error stays, and the server goes on by itself.")
        .takes([required_query("app_id", uuid(), app), ids(), idempotency_key()])
        .shows(200, "All stood already.", named::<webhooks::Shown>(), webhook())
        .shows(201, "Something was made.", named::<webhooks::Shown>(), webhook())
        .refuses([AppNotFound, WebhookNotFound, IdempotencyKeyInUse, IdempotencyKeyReused]);
    let delete = AT_DIALPAD
        .delete("/internal/webhooks/{webhook_id}", "delete_webhook", "Remove a webhook")
        .says("At Dialpad too, if the app is connected, until it is created or the app is connected again.")
        .takes([id()])
        .answers(204, "It is gone.")
        .refuses([WebhookNotFound]);
    let rotate = AT_DIALPAD
        .post("/internal/webhooks/{webhook_id}/rotate-secret", "rotate_webhook_secret", "Give a webhook a new secret")
        .says("Dialpad signs with it from then on; the old one is taken for 24 hours more. Neither is ever shown.")
        .takes([id(), ids()])
        .shows(200, "The webhook.", named::<webhooks::Shown>(), webhook())
        .refuses([WebhookNotFound]);
    vec![
        speaks_for_the_app(create),
        AT_DIALPAD
            .get("/internal/webhooks", "list_webhooks", "List the webhooks at Dialpad")
            .says("The newest first.")
            .takes([query("app_id", uuid(), app)])
            .takes(paging())
            .takes([ids()])
            .shows(200, "A page of them.", list_of(named::<webhooks::Shown>()), json!([webhook()]))
            .paged()
            .refuses([AppNotFound]),
        AT_DIALPAD
            .get("/internal/webhooks/{webhook_id}", "get_webhook", "Show a webhook at Dialpad")
            .takes([id(), ids()])
            .shows(200, "The webhook.", named::<webhooks::Shown>(), webhook())
            .refuses([WebhookNotFound]),
        asks_dialpad(delete),
        speaks_for_the_app(rotate),
    ]
}

fn entry() -> Value {
    json!({
        "id": "018cc4e5-2270-7c12-8f01-6a7b8c9d0e1f", "app_id": null, "dialpad_org_id": 12_345_678,
        "event_type": "call.ring", "status": "unrouted", "reason": "no_app_for_organization", "attempts": 0,
        "received_at": "2024-01-01T12:00:00.112043Z", "processed_at": null,
        "payload": {"event_type": "call.ring", "call_id": 9_876_543_210_i64}, "payload_encoding": "json",
    })
}

fn webhook() -> Value {
    json!({
        "webhook_id": "018cc4db-fc10-7d3f-8e52-6b0c1d2e3f40", "app_id": examples::APP,
        "hook_url": format!("https://cti.example.com/webhooks/{}", examples::APP),
        "dialpad_webhook_id": 4_800_000_000_000_001_i64, "state": "active", "problems": [],
        "subscriptions": [
            {"type": "call", "dialpad_subscription_id": 4_800_000_000_000_002_i64},
            {"type": "sms", "dialpad_subscription_id": 4_800_000_000_000_003_i64},
        ],
        "verified_at": "2024-01-01T12:00:01.120044Z", "checked_at": "2024-01-01T12:00:01.120044Z",
        "created_at": "2024-01-01T11:50:12.104310Z",
    })
}
