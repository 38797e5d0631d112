//! Examples of what administrators send and receive.

use serde_json::{Value, json};

use super::examples::{APP, KEY, with};
use crate::spool::SpoolState;

const CREATED_AT: &str = "2024-01-01T11:50:00.003127Z";
const KEY_HINT: &str = "raw_5b0c…9e1f";

pub(crate) fn app() -> Value {
    json!({
        "app_id": APP, "name": "My CRM Backend", "is_active": true, "region": "US", "created_at": CREATED_AT,
        "updated_at": CREATED_AT,
    })
}

pub(crate) fn app_details() -> Value {
    let details = json!({
        "connection": {
            "status": "connected", "environment": "sandbox", "dialpad_org_id": 12_345_678,
            "connected_at": "2024-01-01T11:50:12.004310Z", "token_expires_at": "2024-01-01T12:50:12.004310Z",
            "degraded_since": null, "problem": null, "missing_scopes": [],
        },
        "counts": {
            "calls": 1204, "active_calls": 3, "voicemails": 17, "messages": 80, "events": 6411,
            "pending_webhooks": 0, "unrouted_webhooks": 0, "user_mappings": 12, "api_keys": 1, "sessions": 2,
        },
    });
    with(app(), details)
}

pub(crate) fn created_app() -> Value {
    json!({
        "app_id": APP, "api_key": KEY,
        "message": "App created successfully. SAVE THE API KEY - it will not be shown again.",
        "name": "My CRM Backend", "created_at": CREATED_AT,
    })
}

pub(crate) fn created_key() -> Value {
    json!({
        "app_id": APP, "api_key": KEY, "created_at": CREATED_AT,
        "message": "API key replaced. SAVE THE API KEY - it will not be shown again.",
    })
}

pub(crate) fn revoked_keys() -> Value {
    json!({"app_id": APP, "message": "API keys revoked", "revoked": [KEY_HINT]})
}

pub(crate) fn key_status() -> Value {
    json!({
        "app_id": APP, "has_active_key": true, "key_hint": KEY_HINT, "last_rotated": null,
        "keys": [{"key_hint": KEY_HINT, "created_at": CREATED_AT, "expires_at": null}],
    })
}

pub(crate) fn key_audit() -> Value {
    json!({
        "id": "018cc4db-fa40-7c21-9d3e-5b1f0a6c2e85", "action": "created", "old_key_hint": null,
        "new_key_hint": KEY_HINT, "number_hash": null, "created_at": CREATED_AT,
    })
}

pub(crate) fn person_erased() -> Value {
    json!({"calls": 3, "messages": 1, "voicemails": 1, "events": 14, "webhooks": 12})
}

pub(crate) fn user_mapping() -> Value {
    json!({
        "id": "018cc4dc-1b2a-7f63-8c0d-2e4f6a8b0c1d", "dialpad_user_id": 555, "crm_user_id": "agent-7",
        "created_at": "2024-01-01T11:51:00.250311Z", "updated_at": "2024-01-01T11:51:00.250311Z",
    })
}

pub(crate) fn dialpad_user() -> Value {
    json!({
        "dialpad_user_id": 555, "name": "Uma Lang", "emails": ["uma@acme.example"],
        "phone_numbers": ["+14155550155"], "state": "active", "crm_user_id": "agent-7",
    })
}

pub(crate) fn unrouted_webhook_event() -> Value {
    json!({
        "id": "018cc4e5-2270-7c12-8f01-6a7b8c9d0e1f", "app_id": null, "dialpad_org_id": 12_345_678,
        "event_type": "call.ring", "status": "unrouted", "reason": "no_app_for_organization", "attempts": 0,
        "received_at": "2024-01-01T12:00:00.112043Z", "processed_at": null,
        "payload": {"event_type": "call.ring", "call_id": 9_876_543_210_i64}, "payload_encoding": "json",
    })
}

pub(crate) fn replayed_webhook_event() -> Value {
    let processed = json!({
        "app_id": APP, "status": "processed", "reason": null, "attempts": 1,
        "processed_at": "2024-01-01T13:00:00.310222Z",
    });
    with(unrouted_webhook_event(), processed)
}

pub(crate) fn webhook() -> Value {
    json!({
        "webhook_id": "018cc4db-fc10-7d3f-8e52-6b0c1d2e3f40", "app_id": APP,
        "hook_url": format!("https://cti.example.com/webhooks/{APP}"),
        "dialpad_webhook_id": 4_800_000_000_000_001_i64, "state": "active", "problems": [],
        "subscriptions": [
            {"type": "call", "dialpad_subscription_id": 4_800_000_000_000_002_i64},
            {"type": "sms", "dialpad_subscription_id": 4_800_000_000_000_003_i64},
        ],
        "verified_at": "2024-01-01T12:00:01.120044Z", "checked_at": "2024-01-01T12:00:01.120044Z",
        "created_at": "2024-01-01T11:50:12.104310Z",
    })
}

pub(crate) fn engine() -> Value {
    let app = json!({
        "app_id": APP, "owned": true, "batch_in_progress": false, "inbox": 0, "live_calls": 3, "restarts": 0,
        "quarantined": 0, "sessions": 2,
        "last_error": {
            "message": "the database is unavailable: timeout", "at": "2024-01-01T12:00:00.112043Z",
        },
    });
    json!({
        "process_id": "018cc4db-f000-7a01-8b02-3c4d5e6f7a8b", "apps": [app], "sessions": 2, "consumers": 1,
        "token_refresher": {"renewals_in_progress": 0, "restarts": 0, "last_error": null},
        "spool": SpoolState::example(),
    })
}

pub(crate) fn cluster() -> Value {
    json!({
        "processes": [
            {"process_id": "cti-1", "host": "cti-1.example.com", "version": "0.1.0",
             "started_at": "2024-01-01T11:00:00.120331Z", "seen_at": "2024-01-01T12:00:01.310220Z", "apps": 1},
            {"process_id": "cti-2", "host": "cti-2.example.com", "version": "0.1.0",
             "started_at": "2024-01-01T11:02:10.450817Z", "seen_at": "2024-01-01T12:00:01.102934Z", "apps": 0},
        ],
        "leases": [
            {"app_id": APP, "owner": "cti-1", "fence": 3, "expires_at": "2024-01-01T12:00:04.810220Z"},
        ],
    })
}
