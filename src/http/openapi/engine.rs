//! The engine of the process, for administrators.

use serde_json::json;

use super::{
    examples,
    operation::{Access, Group, Way},
    schemas::named,
};
use crate::http::{admin::engine, error::ErrorCode::InvalidRequest};

const ENGINE: Group = Group { tag: "Administration: engine", access: Access::Administrator };

pub(crate) fn ways() -> Vec<Way> {
    let app = json!({
        "app_id": examples::APP, "owned": true, "batch_in_progress": false, "inbox": 0, "live_calls": 3,
        "restarts": 0, "quarantined": 0, "sessions": 2,
        "last_error": {
            "message": "the database is unavailable: timeout", "at": "2024-01-01T12:00:00.112043Z",
        },
    });
    let state = json!({
        "process_id": "018cc4db-f000-7a01-8b02-3c4d5e6f7a8b", "apps": [app], "sessions": 2, "consumers": 1,
        "token_refresher": {"renewals_in_progress": 0, "restarts": 0, "last_error": null}, "spool": null,
    });
    vec![
        ENGINE
            .get("/internal/engine", "get_engine", "Show what this process does at the moment")
            .says("Of this process only. It answers at once, also when the database is unavailable.")
            .shows(200, "The state of its engine.", named::<engine::ProcessState>(), state)
            .refuses([InvalidRequest]),
    ]
}
