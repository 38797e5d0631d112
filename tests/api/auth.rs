//! Keys of CRM endpoints, and the one shape of errors.

use crate::support::{Ask, World};

on_both_databases![
    a_key_is_taken_in_all_three_ways,
    no_key_and_a_wrong_key_are_emitted_apart,
    who_is_not_authenticated_is_emitted_how_to_be,
    every_crm_endpoint_wants_a_key,
    what_does_not_exist_is_answered_in_json,
    every_error_names_its_request,
];

const CRM_ENDPOINTS: [&str; 5] =
    ["/api/calls", "/api/calls/active", "/api/calls/1", "/api/events", "/status"];

async fn a_key_is_taken_in_all_three_ways(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (name, value) in [
        ("x-api-key", app.key.clone()),
        ("x-app-api-key", app.key.clone()),
        ("authorization", format!("Bearer {}", app.key)),
    ] {
        server.get("/api/calls").header(name, value).answer().await.ok();
    }
}

async fn no_key_and_a_wrong_key_are_emitted_apart(world: World) {
    let server = world.start().await;
    server.get("/api/calls").answer().await.refuses(401, "MISSING_API_KEY");
    for wrong in ["nonsense".to_owned(), format!("raw_{}", "0".repeat(64))] {
        let error = server
            .get("/api/calls")
            .header("x-api-key", wrong)
            .answer()
            .await
            .refuses(401, "INVALID_API_KEY");
        assert_eq!(error["error"], "Invalid API key");
    }
}

async fn who_is_not_authenticated_is_emitted_how_to_be(world: World) {
    let server = world.start().await;
    for (request, challenge) in [
        (server.get("/api/calls"), r#"Bearer realm="cti-server""#),
        (server.get("/internal/apps"), r#"Bearer realm="cti-server""#),
        (
            server.get("/api/calls").header("x-api-key", "wrong"),
            r#"Bearer realm="cti-server", error="invalid_token""#,
        ),
        (server.handshake("/ws?api_key=wrong"), r#"Bearer realm="cti-server", error="invalid_token""#),
    ] {
        let answer = request.answer().await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(challenge)), "{answer}");
    }
}

async fn every_crm_endpoint_wants_a_key(world: World) {
    let server = world.start().await;
    for path in CRM_ENDPOINTS {
        server.get(path).answer().await.refuses(401, "MISSING_API_KEY");
    }
}

async fn what_does_not_exist_is_answered_in_json(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.get("/nowhere").answer().await.refuses(404, "NOT_FOUND");
    server.get("/api/nowhere").by(&app).answer().await.refuses(404, "NOT_FOUND");
    server.get("/api/calls/9876543210").by(&app).answer().await.fails_with(404);
    let unknown = "/api/calls/01890000-0000-7000-8000-000000000000";
    server.get(unknown).by(&app).answer().await.fails_with(404);

    server.request(reqwest::Method::DELETE, "/api/calls").by(&app).answer().await.fails_with(405);
    server.get("/webhooks").answer().await.fails_with(405);
    server.post("/health").answer().await.fails_with(405);
}

async fn every_error_names_its_request(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut seen = std::collections::BTreeSet::new();
    for (request, status) in [
        (server.get("/nowhere"), 404),
        (server.get("/api/calls"), 401),
        (server.get("/api/calls?limit=0").by(&app), 400),
        (server.post("/health"), 405),
        (server.post("/webhooks").body("{}"), 401),
        (server.post("/internal/apps"), 401),
        (server.handshake("/ws?api_key=wrong"), 401),
    ] {
        let error = request.answer().await.fails_with(status);
        let request_id = error["request_id"].as_str().expect("checked above").to_owned();
        assert!(seen.insert(request_id), "two requests have one name: {error:#}");
    }
}
