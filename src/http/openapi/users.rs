//! What the CRM calls the users of Dialpad, for administrators.

use serde_json::{Value, json};
use utoipa::openapi::Required;

use super::{
    bodies,
    operation::{Access, Group, Way, text},
    parameters::{any_whole, app_id, idempotency_key, ids, paging, path, query, uuid},
    schemas::{list_of, named},
};
use crate::{http::error::ErrorCode::*, store::tenants::user_mappings::UserMapping};

const USERS: Group = Group { tag: "Administration: user mappings", access: Access::Administrator };

pub(crate) fn ways() -> Vec<Way> {
    let user = || path("dialpad_user_id", any_whole(), "The user of Dialpad.");
    let mapping = |way: Way| {
        way.takes([app_id(), ids()])
            .shows(200, "The mapping.", named::<UserMapping>(), mapping())
            .refuses([AppNotFound, UserMappingNotFound])
    };
    let deletion = |way: Way| {
        way.takes([app_id()]).answers(204, "It is gone.").refuses([AppNotFound, UserMappingNotFound])
    };
    vec![
        map(),
        map_batch(),
        list(),
        mapping(USERS.get(
            "/internal/apps/{app_id}/users/mappings/dialpad/{dialpad_user_id}",
            "mapping_of_dialpad_user",
            "Show the mapping of a user of Dialpad",
        ))
        .takes([user()]),
        deletion(USERS.delete(
            "/internal/apps/{app_id}/users/mappings/dialpad/{dialpad_user_id}",
            "delete_mapping_of_dialpad_user",
            "Delete the mapping of a user of Dialpad",
        ))
        .takes([user()]),
        mapping(
            USERS
                .get(
                    "/internal/apps/{app_id}/users/mappings/crm/{crm_user_id}",
                    "mapping_of_crm_user",
                    "Show the mapping of a person in the CRM",
                )
                .says("Of several, the one that was changed last."),
        )
        .takes([path("crm_user_id", text(), "What the CRM calls them.")]),
        deletion(USERS.delete(
            "/internal/apps/{app_id}/users/mappings/{mapping_id}",
            "delete_mapping",
            "Delete a mapping",
        ))
        .takes([path("mapping_id", uuid(), "Our `id` of the mapping.")]),
    ]
}

fn map() -> Way {
    let user = json!({"dialpad_user_id": 555, "crm_user_id": "agent-7"});
    USERS
        .post("/internal/apps/{app_id}/users/map", "map_user", "Say what the CRM calls a user of Dialpad")
        .says("In place of what was said before. From then on, calls and events of this user have `crm_user_id`.")
        .takes([app_id(), ids(), idempotency_key()])
        .reads(Required::True, named::<bodies::UserToMap>(), user)
        .shows(200, "The mapping.", named::<UserMapping>(), mapping())
        .refuses([AppNotFound, IdempotencyKeyInUse, IdempotencyKeyReused])
}

fn map_batch() -> Way {
    let users = json!({"mappings": [{"dialpad_user_id": 555, "crm_user_id": "agent-7"}]});
    USERS
        .post("/internal/apps/{app_id}/users/batch-map", "map_users", "The same of up to 1000 users")
        .says("All of them, or none.")
        .takes([app_id(), ids(), idempotency_key()])
        .reads(Required::True, named::<bodies::UsersToMap>(), users)
        .shows(200, "The mappings.", list_of(named::<UserMapping>()), json!([mapping()]))
        .refuses([AppNotFound, IdempotencyKeyInUse, IdempotencyKeyReused])
}

fn list() -> Way {
    USERS
        .get("/internal/apps/{app_id}/users/mappings", "list_mappings", "List mappings")
        .says("The newest first.")
        .takes([app_id(), query("crm_user_id", text(), "Only those of this person in the CRM.")])
        .takes(paging())
        .takes([ids()])
        .shows(200, "A page of mappings.", list_of(named::<UserMapping>()), json!([mapping()]))
        .paged()
        .refuses([AppNotFound])
}

fn mapping() -> Value {
    json!({
        "id": "018cc4dc-1b2a-7f63-8c0d-2e4f6a8b0c1d", "dialpad_user_id": 555, "crm_user_id": "agent-7",
        "created_at": "2024-01-01T11:51:00.250311Z", "updated_at": "2024-01-01T11:51:00.250311Z",
    })
}
