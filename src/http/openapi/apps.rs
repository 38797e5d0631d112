//! Apps and their keys, for administrators.

use serde_json::{Value, json};
use utoipa::openapi::Required;

use super::{
    bodies, examples,
    operation::{Access, Group, Way},
    parameters::{app_id, idempotency_key, ids, limit, paging, query, whole},
    schemas::{list_of, named},
};
use crate::http::{
    admin::{api_keys, apps},
    error::ErrorCode::*,
    extract::lists,
};

const APPS: Group = Group { tag: "Administration: apps", access: Access::Administrator };
const KEYS: Group = Group { tag: "Administration: keys", access: Access::Administrator };
const MADE_AT: &str = "2024-01-01T11:50:00.003127Z";
const HINT: &str = "raw_5b0c…9e1f";

pub(crate) fn ways() -> Vec<Way> {
    let mut ways = vec![
        APPS.get("/internal/apps", "list_apps", "List apps")
            .says("The newest first.")
            .takes(paging())
            .shows(200, "A page of apps.", list_of(named::<apps::Shown>()), json!([app()]))
            .paged(),
        create(),
        APPS.get("/internal/apps/{app_id}", "get_app", "Show an app")
            .says("With its connection, and what it has.")
            .takes([app_id(), ids()])
            .shows(200, "The app.", named::<apps::AppInFull>(), app_in_full())
            .refuses([AppNotFound]),
        APPS.patch("/internal/apps/{app_id}", "change_app", "Rename an app, switch it on or off")
            .says(
                "An app that is switched off opens nothing: its requests get 403 `APP_INACTIVE`, its sessions are \
                 closed with 4403, its webhooks wait until it is switched on again.",
            )
            .takes([app_id(), ids()])
            .reads(Required::True, named::<bodies::AppChange>(), json!({"is_active": false}))
            .shows(200, "The app as it is now.", named::<apps::AppInFull>(), app_in_full())
            .refuses([AppNotFound]),
        APPS.delete("/internal/apps/{app_id}", "delete_app", "Remove an app")
            .says("With all its data. Its keys and sessions end at once. Asking again is 204, too.")
            .takes([app_id()])
            .answers(204, "It is gone, or going.")
            .refuses([AppNotFound]),
    ];
    ways.extend(keys());
    ways
}

fn create() -> Way {
    let made = json!({
        "app_id": examples::APP, "api_key": examples::KEY,
        "message": "App created successfully. SAVE THE API KEY - it will not be shown again.",
        "name": "My CRM Backend", "created_at": MADE_AT,
    });
    APPS.post("/internal/apps", "create_app", "Make an app")
        .says("Its key is shown this once; only a hash is kept.")
        .takes([idempotency_key()])
        .reads(Required::True, named::<bodies::NewApp>(), json!({"name": "My CRM Backend"}))
        .shows(200, "The app with its key.", named::<apps::AppMade<'_>>(), made)
        .refuses([IdempotencyKeyInUse, IdempotencyKeyReused])
}

fn keys() -> Vec<Way> {
    let key = json!({
        "app_id": examples::APP, "api_key": examples::KEY, "created_at": MADE_AT,
        "message": "API key replaced. SAVE THE API KEY - it will not be shown again.",
    });
    let status = json!({
        "app_id": examples::APP, "has_active_key": true, "key_hint": HINT, "last_rotated": null,
        "keys": [{"key_hint": HINT, "created_at": MADE_AT, "expires_at": null}],
    });
    let entry = json!({
        "id": "018cc4db-fa40-7c21-9d3e-5b1f0a6c2e85", "action": "created", "old_key_hint": null,
        "new_key_hint": HINT, "created_at": MADE_AT,
    });
    let revoked = json!({"app_id": examples::APP, "message": "API keys revoked", "revoked": [HINT]});
    let offset = query("offset", whole(0, Some(i64::MAX), Some(0)), "How many entries to pass over.");
    vec![
        KEYS.post("/internal/apps/{app_id}/api-key", "rotate_key", "Replace an app's key")
            .says("The old keys and their sessions end at once, or after `grace_seconds`.")
            .takes([app_id(), idempotency_key()])
            .reads(Required::False, named::<bodies::KeyRotation>(), json!({"grace_seconds": 3600}))
            .shows(200, "The new key.", named::<api_keys::KeyMade<'_>>(), key)
            .refuses([AppNotFound, IdempotencyKeyInUse, IdempotencyKeyReused]),
        KEYS.post("/internal/apps/{app_id}/api-key/revoke", "revoke_keys", "End all keys of an app")
            .says("At once. The app has none until it gets a new one.")
            .takes([app_id()])
            .shows(200, "The keys that ended.", named::<api_keys::KeysRevoked>(), revoked)
            .refuses([AppNotFound, PayloadTooLarge]),
        KEYS.get("/internal/apps/{app_id}/api-key/status", "key_status", "Which keys are valid")
            .takes([app_id()])
            .shows(200, "The valid keys, by how they begin and end.", named::<api_keys::KeyStatus>(), status)
            .refuses([AppNotFound]),
        KEYS.get("/internal/apps/{app_id}/api-key/audit", "key_audit", "What was done to the keys")
            .says("The newest first.")
            .takes([app_id(), limit(lists::DEFAULT_LIMIT, lists::LARGEST_LIMIT), offset])
            .shows(200, "A page of entries.", list_of(named::<api_keys::Audited>()), json!([entry]))
            .paged()
            .refuses([AppNotFound]),
    ]
}

fn app() -> Value {
    json!({
        "app_id": examples::APP, "name": "My CRM Backend", "is_active": true, "created_at": MADE_AT,
        "updated_at": MADE_AT,
    })
}

fn app_in_full() -> Value {
    let more = json!({
        "connection": {
            "status": "connected", "environment": "sandbox", "dialpad_org_id": 12_345_678,
            "connected_at": "2024-01-01T11:50:12.004310Z", "token_expires_at": "2024-01-01T12:50:12.004310Z",
            "degraded_since": null, "problem": null,
        },
        "counts": {
            "calls": 1204, "active_calls": 3, "voicemails": 17, "messages": 80, "events": 6411,
            "pending_webhooks": 0, "unrouted_webhooks": 0, "user_mappings": 12, "api_keys": 1, "sessions": 2,
        },
    });
    examples::with(app(), more)
}
