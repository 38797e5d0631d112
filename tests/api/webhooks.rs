//! An authentic webhook is never refused: what can't be used is kept.

use serde_json::json;

use crate::support::{Ack, Ask, Call, Shows, With, World, kinds};

on_both_databases![
    without_an_app_or_an_organisation_a_webhook_is_kept_unrouted,
    what_cannot_be_read_is_kept_as_failed,
    what_cannot_be_read_does_not_hold_up_what_follows,
    an_unknown_type_of_a_known_call_is_passed_on,
    all_three_addresses_take_webhooks,
    a_slash_too_many_loses_no_webhook,
    numbers_may_be_strings,
    fields_may_lie_under_call,
    ids_are_exact_up_to_the_largest,
];

async fn without_an_app_or_an_organisation_a_webhook_is_kept_unrouted(world: World) {
    let server = world.start().await;
    server.create_app("CRM").await;
    for payload in
        [Call::new(1).ring(0), Call::new(1).of_organization(99).ring(0), Call::new(1).state("ringing", 0)]
    {
        for path in ["/webhooks", "/webhooks/dialpad"] {
            let ack = Ack::of(&server.post_webhook(path, &payload.to_string()).await);
            assert_eq!(ack.status.as_deref(), Some("unrouted"), "{payload:#}");
            assert_eq!(ack.duplicate, path == "/webhooks/dialpad", "{payload:#}");
        }
    }
}

async fn what_cannot_be_read_is_kept_as_failed(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let path = format!("/webhooks/{}", app.id);
    for body in [
        "{\"event_type\":",
        "[1, 2, 3]",
        "",
        "{}",
        "{\"event_type\":\"call.ring\"}",
        "{\"event_type\":\"call.ring\",\"call_id\":\"many\"}",
        "{\"event_type\":\"weather.changed\",\"temperature\":20}",
        "{\"state\":\"ringing\"}",
    ] {
        let ack = Ack::of(&server.post_webhook(&path, body).await);
        assert_eq!(ack.status.as_deref(), Some("failed"), "{body}: {ack:?}");
        assert!(Ack::of(&server.post_webhook(&path, body).await).duplicate, "{body}");
    }
    assert!(server.feed(&app).await.is_empty());
}

async fn what_cannot_be_read_does_not_hold_up_what_follows(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.webhook(&app, &json!({"event_type": "call.started"})).await;
    server.webhook(&app, &Call::new(1).started(3)).await;
    server.webhook(&app, &Call::new(1).ended(180)).await;
    let emitted = server.wait_for_events(&app, 3).await;
    assert_eq!(kinds(&emitted), ["call.ring", "call.started", "call.ended"]);
}

async fn an_unknown_type_of_a_known_call_is_passed_on(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ack = server.webhook(&app, &Call::new(1).event("call.whispered", 5).with("volume", 3)).await;
    assert_eq!(ack.status, None);
    server.webhook(&app, &Call::new(1).state("barge", 6)).await;
    let emitted = server.wait_for_events(&app, 2).await;
    emitted[0].shows(json!({"type": "call.raw", "state": "call.whispered", "dialpad_call_id": 1}));
    emitted[0]["payload"].shows(json!({"volume": 3, "event_type": "call.whispered"}));
    emitted[1].shows(json!({"type": "call.raw", "state": "barge", "dialpad_call_id": 1}));
}

async fn all_three_addresses_take_webhooks(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for path in ["/webhooks".to_owned(), "/webhooks/dialpad".to_owned(), format!("/webhooks/{}", app.id)] {
        Ack::of(&server.post_webhook(&path, &Call::new(1).ring(0).to_string()).await);
        Ack::of(&server.post_jws(&path, &Call::new(2).ring(0)).await);
    }
    server.wait_for_events(&app, 2).await;
}

async fn a_slash_too_many_loses_no_webhook(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let own = format!("/webhooks/{}/", app.id);
    for (call, path) in (1..).zip([own.clone(), format!("{own}/"), format!("/{own}?from=dialpad")]) {
        let ack = Ack::of(&server.post_webhook(&path, &Call::new(call).ring(0).to_string()).await);
        assert_eq!((ack.status, ack.duplicate), (None, false), "{path}");
    }
    server.wait_for_events(&app, 3).await;
    for path in ["/webhooks/", "/webhooks//", "/webhooks/dialpad/", "//webhooks/dialpad"] {
        let ack = Ack::of(&server.post_webhook(path, &Call::new(9).ring(0).to_string()).await);
        assert_eq!(ack.status.as_deref(), Some("unrouted"), "{path}");
    }
    let forged = server.post(&own).header("x-dialpad-signature", "00").body("{}").answer().await;
    forged.refuses(401, "INVALID_SIGNATURE");
    // The labels of the metrics do not grow with what is sent.
    let metrics = server.get("/metrics").answer().await;
    assert!(metrics.body.contains("route=\"/webhooks/{app_id}\"") && !metrics.body.contains("//webhooks"));
}

async fn numbers_may_be_strings(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ring = Call::new(1).ring(0);
    let ring =
        ring.with("call_id", "9876543210").with("dialpad_user_id", "555").with("timestamp", "1704110400");
    server.webhook(&app, &ring).await;
    server.wait_for_events(&app, 1).await[0].shows(json!({
        "call_id": 9_876_543_210_i64,
        "dialpad_user_id": 555,
        "ringing_at": "2024-01-01T12:00:00Z",
        "timestamp": 1_704_110_400,
    }));
}

async fn fields_may_lie_under_call(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let nested = json!({
        "event_type": "call.ring",
        "timestamp": 1_704_110_400,
        "call": {"id": 5, "direction": "INBOUND", "from_number": "+1", "to_number": "+2", "user_id": 555},
    });
    server.webhook(&app, &nested).await;
    server.wait_for_events(&app, 1).await[0].shows(json!({
        "type": "call.ring", "call_id": 5, "direction": "inbound", "from_number": "+1", "to_number": "+2",
        "dialpad_user_id": 555,
    }));
}

async fn ids_are_exact_up_to_the_largest(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(i64::MAX).of_user(9_007_199_254_740_993);
    server.webhook(&app, &call.ring(0)).await;
    server.wait_for_events(&app, 1).await[0]
        .shows(json!({"dialpad_call_id": i64::MAX, "call_id": i64::MAX, "dialpad_user_id": 9_007_199_254_740_993_i64}));
    server.call(&app, i64::MAX).await.shows(json!({"dialpad_call_id": i64::MAX}));
    let listed = server.get("/api/calls?dialpad_user_id=9007199254740993");
    assert_eq!(listed.by(&app).answer().await.list().len(), 1);
}
