//! Strangers who guess are slowed down, and nobody else.

use crate::support::{Ask, Call, Dialpad, Received, TestServer, World};

on_both_databases![
    who_guesses_keys_is_slowed_down_and_the_right_key_is_served,
    who_guesses_in_first_messages_is_slowed_down_as_well,
    who_guesses_bearers_is_slowed_down_and_the_right_one_is_served,
    webhooks_are_never_slowed_down,
    authorizations_are_begun_so_often_and_no_more,
    a_trusted_proxy_says_who_asks,
    nobody_is_slowed_down_where_that_is_switched_off,
];

/// So many wrong keys; each is refused as a wrong key.
async fn guess(server: &TestServer, times: usize) {
    for _ in 0..times {
        let wrong = server.get("/api/calls").header("x-api-key", "raw_wrong").answer().await;
        wrong.refuses(401, "INVALID_API_KEY");
    }
}

#[track_caller]
fn is_slowed_down(answer: &crate::support::Answer) {
    answer.refuses(429, "RATE_LIMITED");
    let wait: u64 = answer.header("retry-after").and_then(|it| it.parse().ok()).expect("a Retry-After");
    assert!((1..=60).contains(&wait), "{answer}");
}

async fn who_guesses_keys_is_slowed_down_and_the_right_key_is_served(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    guess(&server, 20).await;
    let wrong = |path: &str| server.get(path).header("x-api-key", "raw_wrong");
    is_slowed_down(&wrong("/api/calls").answer().await);
    is_slowed_down(&wrong("/status").answer().await);
    is_slowed_down(&wrong("/api/events/stream").answer().await);
    is_slowed_down(&server.handshake("/ws?api_key=raw_wrong").answer().await);
    is_slowed_down(&server.get("/api/calls").bearer_auth("raw_wrong").answer().await);

    server.get("/api/calls").by(&app).answer().await.ok();
    server.listen(&app).await;
    server.get("/api/calls").answer().await.refuses(401, "MISSING_API_KEY");
    server.get("/health").answer().await.ok();
    let metrics = server.metrics().await;
    assert!(metrics.sum("cti_rate_limited_total", &["attempt=\"credentials\""]) >= 4.0, "{}", metrics.text());
}

/// How a socket ends whose first message brings this key.
async fn first_message(server: &TestServer, key: &str) -> Received {
    let mut socket = server.open_socket("/ws", &[]).await;
    socket.send_subscribe(key).await;
    socket.receive().await
}

async fn who_guesses_in_first_messages_is_slowed_down_as_well(world: World) {
    let server = world.with("AUTH_FAILURES_PER_MINUTE", "4").start().await;
    let app = server.create_app("CRM").await;
    for _ in 0..3 {
        assert_eq!(first_message(&server, "raw_wrong").await, Received::Closed(Some(4401)));
    }
    // All ways count together.
    guess(&server, 1).await;
    assert_eq!(first_message(&server, "raw_wrong").await, Received::Closed(Some(4429)));
    is_slowed_down(&server.get("/api/calls").header("x-api-key", "raw_wrong").answer().await);
    let Received::Message(connected) = first_message(&server, &app.key).await else {
        panic!("the right key is served")
    };
    assert_eq!(connected["type"], "connected");
    let metrics = server.metrics().await;
    assert!(metrics.sum("cti_rate_limited_total", &["attempt=\"credentials\""]) >= 2.0, "{}", metrics.text());
}

async fn who_guesses_bearers_is_slowed_down_and_the_right_one_is_served(world: World) {
    let server = world.with("AUTH_FAILURES_PER_MINUTE", "3").with("METRICS_TOKEN", "the-token").start().await;
    for path in ["/internal/apps", "/internal/webhook-events", "/metrics"] {
        server.get(path).bearer_auth("wrong").answer().await.refuses(403, "FORBIDDEN");
    }
    for path in ["/internal/apps", "/metrics"] {
        is_slowed_down(&server.get(path).bearer_auth("wrong").answer().await);
        server.get(path).answer().await.refuses(401, "MISSING_BEARER");
    }
    is_slowed_down(&server.get("/api/calls").header("x-api-key", "raw_wrong").answer().await);
    server.get("/internal/apps").by_admin().answer().await.ok();
    assert_eq!(server.get("/metrics").bearer_auth("the-token").answer().await.status, 200);
    let app = server.create_app("CRM").await;
    server.get("/api/calls").by(&app).answer().await.ok();
}

async fn webhooks_are_never_slowed_down(world: World) {
    let server = world.with("AUTH_FAILURES_PER_MINUTE", "3").start().await;
    let app = server.create_app("CRM").await;
    guess(&server, 3).await;
    is_slowed_down(&server.get("/api/calls").header("x-api-key", "raw_wrong").answer().await);
    for call in 1..=30 {
        let forged = server.post("/webhooks").header("x-dialpad-signature", "00").body("{}").answer().await;
        forged.refuses(401, "INVALID_SIGNATURE");
        server.webhook(&app, &Call::new(call).ring(0)).await;
    }
    server.wait_for_events(&app, 30).await;
}

async fn authorizations_are_begun_so_often_and_no_more(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("OAUTH_STARTS_PER_MINUTE", "3").start().await;
    let app = server.create_app("CRM").await;
    let begin = |path: &str| server.get(&format!("{path}?app_id={}", app.id)).answer();
    for path in ["/authorize", "/auth/dialpad/connect", "/auth/dialpad/authorize"] {
        assert_eq!(begin(path).await.status, 302);
    }
    is_slowed_down(&begin("/authorize").await);
    server.get("/authorize").answer().await.refuses(429, "RATE_LIMITED");
    server.get("/callback?state=x").answer().await.refuses(400, "OAUTH_STATE_INVALID");
    guess(&server, 1).await;
    server.get("/api/calls").by(&app).answer().await.ok();
}

async fn a_trusted_proxy_says_who_asks(world: World) {
    let world = world.with("AUTH_FAILURES_PER_MINUTE", "2");
    let stranger = world.start().await;
    let wrong = |server: &TestServer, client: &str| {
        let request = server.get("/api/calls").header("x-api-key", "raw_wrong");
        request.header("x-forwarded-for", client).answer()
    };
    for client in ["192.0.2.1", "192.0.2.2"] {
        wrong(&stranger, client).await.refuses(401, "INVALID_API_KEY");
    }
    is_slowed_down(&wrong(&stranger, "192.0.2.3").await);
    drop(stranger);

    let trusting = world.with("TRUSTED_PROXIES", "::1, 127.0.0.0/8").start().await;
    for client in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        wrong(&trusting, client).await.refuses(401, "INVALID_API_KEY");
    }
    is_slowed_down(&wrong(&trusting, "192.0.2.1").await);
    is_slowed_down(&wrong(&trusting, "1.1.1.1, 192.0.2.1").await);
    wrong(&trusting, "192.0.2.1, 192.0.2.2").await.refuses(401, "INVALID_API_KEY");
}

async fn nobody_is_slowed_down_where_that_is_switched_off(world: World) {
    let server = world.with("AUTH_FAILURES_PER_MINUTE", "0").start().await;
    guess(&server, 40).await;
}
