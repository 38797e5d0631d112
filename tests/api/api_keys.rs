//! An app's keys as administrators see them: revoked, looked at, looked back upon.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{App, Ask, Shows, TestServer, World};

on_both_databases![
    a_revocation_ends_all_keys_at_once,
    the_status_shows_the_keys_that_are_valid,
    the_audit_log_tells_what_was_done_and_never_a_key,
    the_audit_log_comes_page_by_page,
    a_key_is_replaced_once_per_idempotency_key,
    of_two_rotations_at_a_time_one_key_is_left,
    only_administrators_see_keys,
];

fn path(app: &App, rest: &str) -> String {
    format!("/internal/apps/{}/api-key{rest}", app.id)
}

async fn audit(server: &TestServer, app: &App) -> Vec<Value> {
    server.get(&path(app, "/audit")).by_admin().answer().await.list()
}

fn hint(key: &str) -> String {
    format!("{}…{}", &key[..8], &key[key.len() - 4..])
}

async fn a_revocation_ends_all_keys_at_once(world: World) {
    let server = world.start().await;
    let first = server.create_app("CRM").await;
    let second = server.rotate_key(&first, Some(3_600)).await;
    let mut sockets = [server.listen(&first).await, server.listen(&second).await];
    let revoked = server.post(&path(&first, "/revoke")).by_admin().answer().await.ok();
    revoked.shows(json!({"app_id": first.id, "revoked": [hint(&first.key), hint(&second.key)]}));
    for socket in &mut sockets {
        let closed = tokio::time::timeout(Duration::from_secs(2), socket.close_code()).await;
        assert_eq!(closed.expect("within two seconds"), Some(4403));
    }
    for key in [&first, &second] {
        server.get("/api/calls").by(key).answer().await.refuses(401, "INVALID_API_KEY");
    }
    let again = server.post(&path(&first, "/revoke")).by_admin().json(&json!({})).answer().await.ok();
    again.shows(json!({"revoked": []}));
    let third = server.rotate_key(&first, None).await;
    server.get("/api/calls").by(&third).answer().await.ok();
    let emitted = audit(&server, &first).await;
    let actions: Vec<_> = emitted.iter().map(|entry| entry["action"].as_str().expect("an action")).collect();
    assert_eq!(actions, ["rotated", "revoked", "revoked", "rotated", "created"]);
    let odd = server.post(&path(&first, "/revoke")).by_admin().json(&json!({"grace_seconds": 5}));
    odd.answer().await.refuses_naming("grace_seconds");
}

async fn the_status_shows_the_keys_that_are_valid(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let status = async || server.get(&path(&app, "/status")).by_admin().answer().await.ok();
    status().await.shows(json!({
        "app_id": app.id, "has_active_key": true, "key_hint": hint(&app.key), "last_rotated": null,
    }));
    let next = server.rotate_key(&app, Some(3_600)).await;
    let shown = status().await;
    shown.shows(json!({"has_active_key": true, "key_hint": hint(&next.key)}));
    assert!(shown["last_rotated"].is_string(), "{shown:#}");
    let keys = shown["keys"].as_array().expect("a list");
    assert_eq!(keys.len(), 2, "{shown:#}");
    keys[0].shows(json!({"key_hint": hint(&app.key)}));
    assert!(keys[0]["expires_at"].is_string(), "{shown:#}");
    keys[1].shows(json!({"key_hint": hint(&next.key), "expires_at": null}));
    server.post(&path(&app, "/revoke")).by_admin().answer().await.ok();
    status().await.shows(json!({"has_active_key": false, "key_hint": null, "keys": []}));
}

async fn the_audit_log_tells_what_was_done_and_never_a_key(world: World) {
    let server = world.start().await;
    let first = server.create_app("CRM").await;
    let second = server.rotate_key(&first, None).await;
    server.post(&path(&first, "/revoke")).by_admin().answer().await.ok();
    let emitted = audit(&server, &first).await;
    let shown: Vec<_> = emitted
        .iter()
        .map(|entry| json!([entry["action"], entry["old_key_hint"], entry["new_key_hint"]]))
        .collect();
    assert_eq!(
        shown,
        [
            json!(["revoked", hint(&second.key), null]),
            json!(["rotated", hint(&first.key), hint(&second.key)]),
            json!(["created", null, hint(&first.key)]),
        ]
    );
    for entry in &emitted {
        assert!(uuid::Uuid::parse_str(entry["id"].as_str().expect("an id")).is_ok(), "{entry:#}");
        assert!(entry["created_at"].is_string(), "{entry:#}");
    }
    let text = json!(emitted).to_string();
    assert!(!text.contains(&first.key) && !text.contains(&second.key), "{text}");
}

async fn the_audit_log_comes_page_by_page(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for _ in 0..4 {
        server.rotate_key(&app, None).await;
    }
    let all = audit(&server, &app).await;
    assert_eq!(all.len(), 5);
    let (mut seen, mut next) = (Vec::new(), Some(path(&app, "/audit?limit=2")));
    while let Some(page) = next {
        let answer = server.get(&page).by_admin().answer().await;
        seen.extend(answer.list());
        next = answer.next_page();
    }
    assert_eq!(seen, all);
    let behind = server.get(&path(&app, "/audit?offset=3")).by_admin().answer().await.list();
    assert_eq!(behind, all[3..]);
    assert!(server.get(&path(&app, "/audit?offset=99")).by_admin().answer().await.list().is_empty());
    for (query, named) in
        [("limit=0", "limit"), ("offset=-1", "offset"), ("offset=x", "offset"), ("a=b", "a")]
    {
        let answer = server.get(&path(&app, &format!("/audit?{query}"))).by_admin().answer().await;
        answer.refuses_naming(named);
    }
}

async fn a_key_is_replaced_once_per_idempotency_key(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let rotate = async |key: &str, body: Value| {
        server.post(&path(&app, "")).by_admin().header("idempotency-key", key).json(&body).answer().await
    };
    let first = rotate("click", json!({})).await;
    let again = rotate("click", json!({"grace_seconds": 0})).await;
    assert_eq!(first.ok(), again.ok());
    rotate("click", json!({"grace_seconds": 5})).await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    let key = first.ok()["api_key"].as_str().expect("a key").to_owned();
    server.get("/api/calls").header("x-api-key", key).answer().await.ok();
    assert_eq!(audit(&server, &app).await.len(), 2);
}

async fn of_two_rotations_at_a_time_one_key_is_left(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let rotations = (0..8).map(|_| server.rotate_key(&app, None));
    let keys = futures_util::future::join_all(rotations).await;
    let mut valid = 0;
    for key in &keys {
        valid += usize::from(server.get("/api/calls").by(key).answer().await.status == 200);
    }
    assert_eq!(valid, 1);
}

async fn only_administrators_see_keys(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for request in [
        server.post(&path(&app, "/revoke")),
        server.get(&path(&app, "/status")),
        server.get(&path(&app, "/audit")),
    ] {
        request.try_clone().expect("no stream").answer().await.refuses(401, "MISSING_BEARER");
        request.bearer_auth(&app.key).answer().await.refuses(403, "FORBIDDEN");
    }
    let nobody = "/internal/apps/01890000-0000-7000-8000-000000000000/api-key";
    for request in [
        server.post(&format!("{nobody}/revoke")),
        server.get(&format!("{nobody}/status")),
        server.get(&format!("{nobody}/audit")),
    ] {
        request.by_admin().answer().await.refuses(404, "APP_NOT_FOUND");
    }
}
