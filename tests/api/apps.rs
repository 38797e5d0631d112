//! Registering an app and replacing its key.

use serde_json::{Value, json};

use crate::support::{Ask, Call, Shows, TestServer, World, eventually};

on_both_databases![
    a_new_app_gets_an_id_and_a_key_that_works,
    a_name_has_1_to_255_characters,
    a_body_that_is_no_app_is_refused,
    only_the_admin_may_create_an_app,
    both_admin_secrets_are_valid_while_one_is_rotated_out,
    a_rotated_key_is_invalid_at_once_on_open_sockets_too,
    a_grace_period_keeps_the_old_key_alive_and_then_ends,
    the_key_of_an_unknown_app_cannot_be_rotated,
    apps_do_not_see_each_other,
];

async fn create(server: &TestServer, body: &Value) -> crate::support::Answer {
    server.post("/internal/apps").by_admin().json(body).answer().await
}

async fn a_new_app_gets_an_id_and_a_key_that_works(world: World) {
    let server = world.start().await;
    let created = create(&server, &json!({"name": "My CRM Backend"})).await.ok();
    created.shows(json!({"name": "My CRM Backend"}));
    let text = |field: &str| created[field].as_str().unwrap_or_else(|| panic!("no {field} in {created:#}"));
    assert!(uuid::Uuid::parse_str(text("app_id")).is_ok(), "{created:#}");
    let digits = text("api_key").strip_prefix("raw_").expect("a key begins with raw_");
    assert!(digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{created:#}");
    assert!(text("message").contains("SAVE THE API KEY"), "{created:#}");
    assert!(chrono::DateTime::parse_from_rfc3339(text("created_at")).is_ok(), "{created:#}");

    let calls = server.get("/api/calls").header("x-api-key", text("api_key")).answer().await;
    assert!(calls.list().is_empty(), "{calls}");
}

async fn a_name_has_1_to_255_characters(world: World) {
    let server = world.start().await;
    let longest = "ä".repeat(255);
    create(&server, &json!({"name": longest})).await.ok().shows(json!({"name": longest}));
    create(&server, &json!({"name": "x"})).await.ok();
    for name in [String::new(), "x".repeat(256)] {
        create(&server, &json!({"name": name})).await.refuses_naming("name");
    }
}

async fn a_body_that_is_no_app_is_refused(world: World) {
    let server = world.start().await;
    for body in [json!({}), json!({"name": 5}), json!({"name": null}), json!([1]), json!("CRM")] {
        create(&server, &body).await.refuses(400, "INVALID_REQUEST");
    }
    let request = || server.post("/internal/apps").by_admin().header("content-type", "application/json");
    request().body("{\"name\":").answer().await.refuses(400, "INVALID_REQUEST");
    request().answer().await.refuses(400, "INVALID_REQUEST");
}

async fn only_the_admin_may_create_an_app(world: World) {
    let server = world.start().await;
    let request = || server.post("/internal/apps").json(&json!({"name": "CRM"}));
    request().answer().await.fails_with(401);
    request().bearer_auth("not-the-secret").answer().await.fails_with(403);
    request().bearer_auth("").answer().await;
    let app = server.create_app("CRM").await;
    request().bearer_auth(&app.key).answer().await.fails_with(403);
    request().by(&app).answer().await.fails_with(401);
}

async fn both_admin_secrets_are_valid_while_one_is_rotated_out(world: World) {
    let world = world.with("INTERNAL_API_SECRET", "the-next-admin-secret,the-last-admin-secret");
    let server = world.start().await;
    for secret in ["the-next-admin-secret", "the-last-admin-secret"] {
        let request = server.post("/internal/apps").bearer_auth(secret).json(&json!({"name": "CRM"}));
        request.answer().await.ok();
    }
    let both = server.post("/internal/apps").bearer_auth("the-next-admin-secret,the-last-admin-secret");
    both.json(&json!({"name": "CRM"})).answer().await.fails_with(403);
}

async fn a_rotated_key_is_invalid_at_once_on_open_sockets_too(world: World) {
    let server = world.start().await;
    let old = server.create_app("CRM").await;
    let mut open = server.listen(&old).await;

    let new = server.rotate_key(&old, None).await;
    assert_ne!(new.key, old.key);
    server.get("/api/calls").by(&old).answer().await.refuses(401, "INVALID_API_KEY");
    server.get("/api/calls").by(&new).answer().await.ok();
    server.handshake("/ws").by(&old).answer().await.refuses(401, "INVALID_API_KEY");
    assert_eq!(open.close_code().await, Some(4403));

    let mut open = server.listen(&new).await;
    server.webhook(&new, &Call::new(1).ring(0)).await;
    open.expect("call.ring").await;
}

async fn a_grace_period_keeps_the_old_key_alive_and_then_ends(world: World) {
    let server = world.start().await;
    let first = server.create_app("CRM").await;
    let second = server.rotate_key(&first, Some(3_600)).await;
    let mut open = server.listen(&first).await;
    for key in [&first, &second] {
        server.get("/api/calls").by(key).answer().await.ok();
    }
    server.webhook(&second, &Call::new(1).ring(0)).await;
    open.expect("call.ring").await;

    let app = server.create_app("Another CRM").await;
    let mut open = server.listen(&app).await;
    let next = server.rotate_key(&app, Some(1)).await;
    eventually("the grace period ends", async || {
        let answer = server.get("/api/calls").by(&app).answer().await;
        (answer.status == 401).then_some(())
    })
    .await;
    assert_eq!(open.close_code().await, Some(4403));
    server.get("/api/calls").by(&next).answer().await.ok();
}

async fn the_key_of_an_unknown_app_cannot_be_rotated(world: World) {
    let server = world.start().await;
    let path = "/internal/apps/01890000-0000-7000-8000-000000000000/api-key";
    server.post(path).by_admin().answer().await.fails_with(404);
    server.post(path).answer().await.fails_with(401);
}

async fn apps_do_not_see_each_other(world: World) {
    let server = world.start().await;
    let (ours, theirs) = (server.create_app("ours").await, server.create_app("theirs").await);
    let mut socket = server.listen(&theirs).await;
    server.webhooks(&ours, &Call::new(1).life()).await;
    let emitted = server.wait_for_events(&ours, 5).await;
    assert!(emitted.iter().all(|event| event["app_id"] == ours.id.as_str()), "{emitted:#?}");
    let id = server.call(&ours, 1).await["id"].as_str().expect("a call has an id").to_owned();
    let unknown = server.get("/api/calls/2").by(&theirs).answer().await.fails_with(404);
    for path in ["/api/calls/1".to_owned(), format!("/api/calls/{id}")] {
        let error = server.get(&path).by(&theirs).answer().await.fails_with(404);
        error.shows(json!({"error": unknown["error"], "code": unknown["code"]}));
    }
    for path in ["/api/calls", "/api/calls/active", "/api/events"] {
        assert!(server.get(path).by(&theirs).answer().await.list().is_empty(), "{path}");
    }
    socket.expect_nothing_more(&server, &theirs).await;
}
