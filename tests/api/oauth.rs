//! Connecting an app to Dialpad: `/authorize`, Dialpad's page, `/callback`.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{
    App, Ask, Call, Dialpad, Shows, TestServer, World, assert_contiguous, eventually, kinds,
};

on_both_databases![
    an_app_is_connected_and_says_so,
    the_browser_is_sent_to_dialpad_with_pkce_and_a_state,
    only_an_existing_app_can_be_connected,
    without_an_oauth_client_nobody_is_sent_to_dialpad,
    a_browser_under_another_host_comes_back_to_the_same_one,
    a_state_is_good_for_one_attempt,
    a_state_belongs_to_the_browser_that_asked_for_it,
    a_state_is_spent_by_any_attempt,
    a_forged_state_is_refused,
    a_user_who_refuses_connects_nothing,
    a_connection_outlives_the_server,
    dialpad_out_of_reach_is_said_so,
    a_code_that_dialpad_refuses_is_said_so,
    a_browser_gets_a_page,
    connecting_and_disconnecting_is_emitted,
    dialpad_that_takes_too_long_is_said_so,
    a_bad_answer_of_dialpad_is_said_so,
    a_browser_that_hangs_up_connects_the_app_all_the_same,
    an_app_that_moves_to_another_organisation_keeps_its_data,
    several_apps_share_an_organisation_and_part_one_by_one,
    an_authorisation_that_is_too_old_is_refused_and_forgotten,
    an_organisation_that_dialpad_could_not_name_is_found_later,
    an_app_that_was_removed_meanwhile_is_not_connected,
];

// Servers that share a database: on SQLite a second one is refused.
on_postgres![any_process_may_take_the_callback];

async fn office(world: World, dialpad: &Dialpad) -> (World, TestServer, App) {
    let world = world.with_dialpad(dialpad);
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    (world, server, app)
}

async fn is_connected(server: &TestServer, app: &App) -> bool {
    server.get("/status").by(app).answer().await.ok()["connected"] == true
}

async fn an_app_is_connected_and_says_so(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let connected = server.connect(&app).await;
    connected.shows(json!({"message": "Dialpad connected", "app_id": app.id, "environment": "sandbox"}));
    server.get("/status").by(&app).answer().await.ok().shows(json!({
        "message": "App is connected to Dialpad", "app_id": app.id, "connected": true,
        "dialpad_org_id": Dialpad::COMPANY, "environment": "sandbox",
    }));
}

async fn the_browser_is_sent_to_dialpad_with_pkce_and_a_state(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let sent = server.authorize(&app).await;
    let url = reqwest::Url::parse(&sent.location).expect("an address");
    assert!(sent.location.starts_with(&format!("{}/oauth2/authorize?", dialpad.base_url)), "{url}");
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    for (name, value) in [
        ("client_id", "client-of-the-tests"),
        ("response_type", "code"),
        ("code_challenge_method", "S256"),
        ("scope", "calls:list recordings_export offline_access"),
        ("redirect_uri", &format!("{}/callback", server.base_url)),
    ] {
        assert_eq!(query.get(name).map(String::as_str), Some(value), "{name} in {url}");
    }
    assert_eq!(query["code_challenge"].len(), 43, "{url}");
    assert!(query["state"].len() >= 22, "a state that can be guessed: {url}");
    assert!(sent.set_cookie.to_lowercase().contains("httponly"), "{}", sent.set_cookie);
    assert_ne!(server.authorize(&app).await.location, sent.location, "a state is made anew");
}

async fn only_an_existing_app_can_be_connected(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, _) = office(world, &dialpad).await;
    server.get("/authorize").answer().await.refuses(400, "INVALID_REQUEST");
    server.get("/authorize?app_id=nonsense").answer().await.refuses(400, "INVALID_REQUEST");
    let unknown = "/authorize?app_id=01890000-0000-7000-8000-000000000000";
    server.get(unknown).answer().await.refuses(404, "APP_NOT_FOUND");
}

async fn without_an_oauth_client_nobody_is_sent_to_dialpad(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let path = format!("/authorize?app_id={}", app.id);
    server.get(&path).answer().await.refuses(503, "OAUTH_NOT_CONFIGURED");
}

async fn a_browser_under_another_host_comes_back_to_the_same_one(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    for path in ["/authorize", "/auth/dialpad/connect", "/auth/dialpad/authorize"] {
        let address = format!("{path}?app_id={}", app.id);
        let port = server.address().rsplit(':').next().expect("a port").to_owned();
        let first = server.get(&address).header("host", format!("localhost:{port}")).answer().await;
        assert_eq!(first.status, 302, "{first}");
        let there = format!("{}{address}", server.base_url);
        assert_eq!(first.header("location"), Some(&*there), "{first}");
        assert!(!first.header("set-cookie").unwrap_or_default().contains("cti_oauth"), "{first}");
        let second = server.browser().get(there).answer().await;
        assert!(second.header("location").is_some_and(|to| to.starts_with(&dialpad.base_url)), "{second}");
    }
    server.connect(&app).await;
    assert!(is_connected(&server, &app).await);
}

async fn a_state_is_good_for_one_attempt(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let sent = server.authorize(&app).await;
    let callback = server.approve(&sent).await;
    server.finish_authorization(&callback, sent.cookie()).await.ok();
    server.finish_authorization(&callback, sent.cookie()).await.refuses(400, "OAUTH_STATE_INVALID");
    assert!(is_connected(&server, &app).await);
}

async fn a_state_belongs_to_the_browser_that_asked_for_it(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let (ours, theirs) = (server.authorize(&app).await, server.authorize(&app).await);
    let callback = server.approve(&ours).await;
    server.browser().get(&callback).answer().await.refuses(400, "OAUTH_STATE_INVALID");
    let callback = server.approve(&theirs).await;
    server.finish_authorization(&callback, ours.cookie()).await.refuses(400, "OAUTH_STATE_INVALID");
    assert!(!is_connected(&server, &app).await);
}

async fn a_state_is_spent_by_any_attempt(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let sent = server.authorize(&app).await;
    let callback = server.approve(&sent).await;
    server.finish_authorization(&callback, "cti_oauth=another").await.refuses(400, "OAUTH_STATE_INVALID");
    server.finish_authorization(&callback, sent.cookie()).await.refuses(400, "OAUTH_STATE_INVALID");
    assert!(!is_connected(&server, &app).await);
}

async fn a_forged_state_is_refused(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let sent = server.authorize(&app).await;
    let base = &server.base_url;
    for query in
        ["code=abc&state=nonsense", "code=abc", "code=abc&state=", "error=access_denied&state=nonsense"]
    {
        let answer = server.finish_authorization(&format!("{base}/callback?{query}"), sent.cookie()).await;
        answer.refuses(400, "OAUTH_STATE_INVALID");
    }
}

async fn a_user_who_refuses_connects_nothing(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let sent = server.authorize(&app).await;
    let url = reqwest::Url::parse(&sent.location).expect("an address");
    let state =
        url.query_pairs().find(|(name, _)| name == "state").expect("a state is sent along").1.into_owned();
    let denied = format!("{}/callback?error=access_denied&state={state}", server.base_url);
    server.finish_authorization(&denied, sent.cookie()).await.refuses(400, "OAUTH_DENIED");
    assert!(!is_connected(&server, &app).await);
}

async fn a_connection_outlives_the_server(world: World) {
    let dialpad = Dialpad::start().await;
    let (world, mut server, app) = office(world, &dialpad).await;
    server.connect(&app).await;
    server.process.kill();
    let server = world.start().await;
    assert!(is_connected(&server, &app).await);
}

async fn dialpad_out_of_reach_is_said_so(world: World) {
    let mut dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let sent = server.authorize(&app).await;
    let callback = server.approve(&sent).await;
    dialpad.process.kill();
    let error =
        server.finish_authorization(&callback, sent.cookie()).await.refuses(503, "TOKEN_EXCHANGE_FAILED");
    error.shows(json!({"error": "Failed to exchange code for tokens"}));
    assert!(error["details"].is_string(), "{error:#}");
    assert!(!is_connected(&server, &app).await);
}

async fn a_code_that_dialpad_refuses_is_said_so(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let sent = server.authorize(&app).await;
    let url = reqwest::Url::parse(&server.approve(&sent).await).expect("an address");
    let state =
        url.query_pairs().find(|(name, _)| name == "state").expect("a state comes back").1.into_owned();
    let forged = format!("{}/callback?code=forged&state={state}", server.base_url);
    server.finish_authorization(&forged, sent.cookie()).await.refuses(502, "TOKEN_EXCHANGE_REJECTED");
    assert!(!is_connected(&server, &app).await);
}

async fn a_browser_gets_a_page(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let sent = server.authorize(&app).await;
    let callback = server.approve(&sent).await;
    let request = server.browser().get(&callback).header("cookie", sent.cookie());
    let answer = request.header("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8").answer().await;
    assert_eq!(answer.status, 200, "{answer}");
    assert!(answer.header("content-type").is_some_and(|it| it.starts_with("text/html")), "{answer}");
}

async fn connecting_and_disconnecting_is_emitted(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let mut socket = server.listen(&app).await;
    server.connect(&app).await;
    let emitted = socket.expect("connection.connected").await;
    emitted.shows(
        json!({"seq": 1, "app_id": app.id, "environment": "sandbox", "dialpad_org_id": Dialpad::COMPANY}),
    );
    assert!(emitted["timestamp"].is_i64() && emitted["event_id"].is_string(), "{emitted:#}");
    server.connect(&app).await;
    socket.expect("connection.connected").await;
    let path = format!("/auth/dialpad/disconnect/{}", app.id);
    server.post(&path).answer().await.refuses(401, "MISSING_BEARER");
    for message in ["Dialpad disconnected", "App was not connected"] {
        let answer = server.post(&path).by_admin().answer().await.ok();
        answer.shows(json!({"message": message, "app_id": app.id}));
    }
    socket.expect("connection.disconnected").await.shows(json!({"dialpad_org_id": Dialpad::COMPANY}));
    let status = server.get("/status").by(&app).answer().await.ok();
    status.shows(json!({"connected": false, "status": "disconnected", "dialpad_org_id": null}));
    let feed = server.feed(&app).await;
    assert_contiguous(&feed, 0);
    let emitted = ["connection.connected", "connection.connected", "connection.disconnected"];
    assert_eq!(kinds(&feed), emitted);
    let metrics = server.metrics().await;
    assert_eq!(metrics.sum("cti_events_emitted_total", &["type=\"connection.connected\""]), 2.0);
    assert_eq!(metrics.kind("cti_token_refreshes_total"), Some("counter"), "{}", metrics.text());
}

async fn dialpad_that_takes_too_long_is_said_so(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let sent = server.authorize(&app).await;
    let callback = server.approve(&sent).await;
    dialpad.switch(&json!({"token_delay_ms": 15_000})).await;
    let began = std::time::Instant::now();
    let error =
        server.finish_authorization(&callback, sent.cookie()).await.refuses(503, "TOKEN_EXCHANGE_FAILED");
    let (waited, limit) = (began.elapsed().as_secs_f64(), 9.5..12.0);
    assert!(limit.contains(&waited), "waited for {waited} s");
    error.shows(json!({"error": "Failed to exchange code for tokens", "details": "Connection timeout"}));
    assert!(!is_connected(&server, &app).await);
}

async fn a_bad_answer_of_dialpad_is_said_so(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    for (answer, status, code, details) in [
        ("server_error", 503, "TOKEN_EXCHANGE_FAILED", json!("Dialpad answered 500")),
        ("html", 503, "TOKEN_EXCHANGE_FAILED", json!("Dialpad's answer can't be parsed")),
        ("empty", 503, "TOKEN_EXCHANGE_FAILED", json!("Dialpad's answer can't be parsed")),
        ("reset", 503, "TOKEN_EXCHANGE_FAILED", json!("The connection broke")),
        ("invalid_grant", 502, "TOKEN_EXCHANGE_REJECTED", json!(null)),
        ("forbidden", 502, "TOKEN_EXCHANGE_REJECTED", json!(null)),
    ] {
        let sent = server.authorize(&app).await;
        let callback = server.approve(&sent).await;
        dialpad.switch(&json!({"next_answers": [{"to": "token", "answer": answer}]})).await;
        let error = server.finish_authorization(&callback, sent.cookie()).await.refuses(status, code);
        assert_eq!(error["details"], details, "{answer}");
        server.finish_authorization(&callback, sent.cookie()).await.refuses(400, "OAUTH_STATE_INVALID");
    }
    assert!(!is_connected(&server, &app).await);
    assert!(server.feed(&app).await.is_empty());
}

async fn a_browser_that_hangs_up_connects_the_app_all_the_same(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let sent = server.authorize(&app).await;
    let callback = server.approve(&sent).await;
    dialpad.switch(&json!({"token_answer_delay_ms": 500})).await;
    let request = server.browser().get(&callback).header("cookie", sent.cookie());
    let impatient = request.timeout(std::time::Duration::from_millis(200)).send().await;
    assert!(impatient.is_err(), "it hung up");
    eventually("the app is connected", async || is_connected(&server, &app).await.then_some(())).await;
}

async fn any_process_may_take_the_callback(world: World) {
    let dialpad = Dialpad::start().await;
    let world =
        world.with_dialpad(&dialpad).with("DIALPAD_SANDBOX_REDIRECT_URI", "https://cti.example/callback");
    let (first, second) = (world.start().await, world.start().await);
    let app = first.create_app("CRM").await;
    let sent = first.authorize(&app).await;
    let callback = first.approve(&sent).await;
    let path = callback.strip_prefix("https://cti.example").expect("the address that was agreed on");
    let elsewhere = format!("{}{path}", second.base_url);
    second.finish_authorization(&elsewhere, sent.cookie()).await.ok();
    let again = format!("{}{path}", first.base_url);
    first.finish_authorization(&again, sent.cookie()).await.refuses(400, "OAUTH_STATE_INVALID");
    assert!(is_connected(&first, &app).await && is_connected(&second, &app).await);
}

async fn an_app_that_moves_to_another_organisation_keeps_its_data(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world.with("AUTO_SUBSCRIBE", "false"), &dialpad).await;
    server.connect(&app).await;
    server.webhook_for_all(&Call::new(1).of_organization(Dialpad::COMPANY).ring(0)).await;
    server.feed_until(&app, "call.ring").await;
    let call = server.call(&app, 1).await;

    dialpad.switch(&json!({"company_id": 99})).await;
    server.connect(&app).await;
    let status = server.get("/status").by(&app).answer().await.ok();
    status.shows(json!({"app_id": app.id, "connected": true, "dialpad_org_id": 99}));
    assert_eq!(server.call(&app, 1).await, call);
    let old = server.webhook_for_all(&Call::new(2).of_organization(Dialpad::COMPANY).ring(0)).await;
    assert_eq!(old.status.as_deref(), Some("unrouted"));
    let new = server.webhook_for_all(&Call::new(3).of_organization(99).ring(0)).await;
    assert_eq!(new.status, None);
    let feed = server.feed_once_processed(&app, 4).await;
    assert_eq!(kinds(&feed), ["connection.connected", "call.ring", "connection.connected", "call.ring"]);
    assert_eq!(feed[2]["dialpad_org_id"], 99);
}

async fn several_apps_share_an_organisation_and_part_one_by_one(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, first) = office(world.with("AUTO_SUBSCRIBE", "false"), &dialpad).await;
    let second = server.create_app("another CRM").await;
    server.connect(&first).await;
    server.connect(&second).await;
    let path = format!("/auth/dialpad/disconnect/{}", first.id);
    server.post(&path).by_admin().answer().await.ok();
    assert!(!is_connected(&server, &first).await && is_connected(&server, &second).await);
    let ring = server.webhook_for_all(&Call::new(1).of_organization(Dialpad::COMPANY).ring(0)).await;
    assert_eq!(ring.status, None);
    server.feed_until(&second, "call.ring").await;
    assert_eq!(kinds(&server.feed(&first).await), ["connection.connected", "connection.disconnected"]);
}

async fn an_authorisation_that_is_too_old_is_refused_and_forgotten(world: World) {
    let dialpad = Dialpad::start().await;
    let (world, server, app) = office(world.with("RETENTION_INTERVAL", "1s"), &dialpad).await;
    let (late, never) = (server.authorize(&app).await, server.authorize(&app).await);
    let callback = server.approve(&late).await;
    let far_past = "2000-01-01T00:00:00+00:00";
    world.execute(&format!("UPDATE oauth_sessions SET expires_at = '{far_past}'")).await;
    server.finish_authorization(&callback, late.cookie()).await.refuses(400, "OAUTH_STATE_INVALID");
    drop(never);
    eventually("what nobody finished is forgotten", async || {
        (world.count("SELECT COUNT(*) FROM oauth_sessions").await == 0).then_some(())
    })
    .await;
    assert!(!is_connected(&server, &app).await);
}

async fn an_organisation_that_dialpad_could_not_name_is_found_later(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with("AUTO_SUBSCRIBE", "false").with("RETENTION_INTERVAL", "1s");
    let (_world, server, app) = office(world, &dialpad).await;
    dialpad.switch(&json!({"next_answers": [{"to": "api", "answer": "forbidden", "times": null}]})).await;
    server.connect(&app).await;
    let ring = server.webhook_for_all(&Call::new(1).of_organization(Dialpad::COMPANY).ring(0)).await;
    assert_eq!(ring.status.as_deref(), Some("unrouted"));
    let status = server.get("/status").by(&app).answer().await.ok();
    status.shows(json!({"connected": true, "dialpad_org_id": null}));
    dialpad.switch(&json!({"next_answers": []})).await;
    server.feed_until(&app, "call.ring").await;
    let status = server.get("/status").by(&app).answer().await.ok();
    status.shows(json!({"connected": true, "dialpad_org_id": Dialpad::COMPANY}));
}

async fn an_app_that_was_removed_meanwhile_is_not_connected(world: World) {
    let dialpad = Dialpad::start().await;
    let (_world, server, app) = office(world, &dialpad).await;
    let sent = server.authorize(&app).await;
    let callback = server.approve(&sent).await;
    let path = format!("/internal/apps/{}", app.id);
    let removed = server.request(reqwest::Method::DELETE, &path).by_admin().answer().await;
    assert_eq!(removed.status, 204, "{removed}");
    server.finish_authorization(&callback, sent.cookie()).await.refuses(400, "OAUTH_STATE_INVALID");
    assert!(dialpad.requests("/oauth2/token").await.is_empty(), "nobody is asked for tokens");
}
