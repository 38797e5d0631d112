//! A webhook that comes again is acknowledged again, and emitted once.

use serde_json::Value;

use crate::support::{Ack, Call, With, World, kinds};

on_both_databases![
    the_same_body_is_a_duplicate,
    a_jws_signed_again_is_a_duplicate,
    the_same_event_in_the_other_form_is_a_duplicate,
    a_duplicate_is_known_after_a_restart,
    many_copies_at_once_are_emitted_once,
    another_moment_is_another_event,
];

async fn the_same_body_is_a_duplicate(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ring = Call::new(1).ring(0);
    let first = server.webhook(&app, &ring).await;
    assert!(!first.duplicate && first.status.is_none(), "{first:?}");
    for _ in 0..3 {
        let again = server.webhook(&app, &ring).await;
        assert!(again.duplicate, "{again:?}");
        assert_eq!(again.event_id, first.event_id);
    }
    server.webhook(&app, &Call::new(1).started(3)).await;
    assert_eq!(kinds(&server.wait_for_events(&app, 2).await), ["call.ring", "call.started"]);
}

async fn a_jws_signed_again_is_a_duplicate(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let path = format!("/webhooks/{}", app.id);
    let signed_at = |iat: i64, jti: &str| -> Value {
        Call::new(1).state("ringing", 0).with("iat", iat).with("exp", iat + 60).with("jti", jti)
    };
    let first = Ack::of(&server.post_jws(&path, &signed_at(1_704_110_400, "a")).await);
    let again = Ack::of(&server.post_jws(&path, &signed_at(1_704_110_402, "b")).await);
    let bare = Ack::of(&server.post_jws(&path, &Call::new(1).state("ringing", 0)).await);
    assert!(!first.duplicate && again.duplicate && bare.duplicate, "{first:?} {again:?} {bare:?}");
    assert_eq!((&again.event_id, &bare.event_id), (&first.event_id, &first.event_id));
    server.webhook(&app, &Call::new(2).ring(0)).await;
    server.wait_for_events(&app, 2).await;
}

async fn the_same_event_in_the_other_form_is_a_duplicate(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ring = Call::new(1).ring(0);
    let first = server.webhook(&app, &ring).await;
    let sealed = Ack::of(&server.post_jws(&format!("/webhooks/{}", app.id), &ring).await);
    assert!(sealed.duplicate && sealed.event_id == first.event_id, "{first:?} {sealed:?}");
}

async fn a_duplicate_is_known_after_a_restart(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let first = server.webhook(&app, &Call::new(1).ring(0)).await;
    server.wait_for_events(&app, 1).await;
    server.process.kill();

    let server = world.start().await;
    let again = server.webhook(&app, &Call::new(1).ring(0)).await;
    assert!(again.duplicate && again.event_id == first.event_id, "{first:?} {again:?}");
    server.webhook(&app, &Call::new(1).started(3)).await;
    assert_eq!(kinds(&server.wait_for_events(&app, 2).await), ["call.ring", "call.started"]);
}

async fn many_copies_at_once_are_emitted_once(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ring = Call::new(1).ring(0);
    let acks = futures_util::future::join_all((0..16).map(|_| server.webhook(&app, &ring))).await;
    assert_eq!(acks.iter().filter(|ack| !ack.duplicate).count(), 1, "{acks:?}");
    assert!(acks.iter().all(|ack| ack.event_id == acks[0].event_id), "{acks:?}");
    server.webhook(&app, &Call::new(1).started(3)).await;
    assert_eq!(kinds(&server.wait_for_events(&app, 2).await), ["call.ring", "call.started"]);
}

async fn another_moment_is_another_event(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(1);
    let acks = [
        server.webhook(&app, &call.started(3)).await,
        server.webhook(&app, &call.held(10)).await,
        server.webhook(&app, &call.resumed(20)).await,
        server.webhook(&app, &call.held(30)).await,
    ];
    assert!(acks.iter().all(|ack| !ack.duplicate), "{acks:?}");
    let emitted = server.wait_for_events(&app, 4).await;
    assert_eq!(kinds(&emitted), ["call.started", "call.held", "call.resumed", "call.held"]);
}
