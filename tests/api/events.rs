//! `GET /api/events`: the durable feed.

use serde_json::json;

use crate::support::{Ask, Call, Shows, World, assert_contiguous, kinds, seqs};

on_both_databases![
    the_feed_pages_without_a_hole,
    without_a_cursor_the_feed_begins_at_its_oldest_event,
    types_narrow_the_feed,
    a_cursor_ahead_of_the_feed_is_a_conflict,
    what_is_not_known_is_refused_by_name,
    the_feed_survives_a_restart,
    each_app_counts_for_itself,
];

async fn the_feed_pages_without_a_hole(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for id in 1..=5 {
        server.webhooks(&app, &Call::new(id).life()).await;
    }
    let whole = server.wait_for_events(&app, 25).await;
    assert_contiguous(&whole, 0);
    for limit in [1, 4, 25, 1_000] {
        let mut read = Vec::new();
        let mut path = Some(format!("/api/events?after=0&limit={limit}"));
        while let Some(next) = path {
            let answer = server.get(&next).by(&app).answer().await;
            assert!(answer.list().len() <= limit, "{answer}");
            read.extend(answer.list());
            path = answer.next_page();
        }
        assert_eq!(read, whole, "limit={limit}");
    }
    assert_eq!(server.feed_after(&app, 20).await, whole[20..]);
    assert!(server.feed_after(&app, 25).await.is_empty());
}

async fn without_a_cursor_the_feed_begins_at_its_oldest_event(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    assert!(server.get("/api/events").by(&app).answer().await.list().is_empty());
    server.webhooks(&app, &Call::new(1).life()).await;
    server.wait_for_events(&app, 5).await;
    let events = server.get("/api/events").by(&app).answer().await.list();
    assert_contiguous(&events, 0);
    assert_eq!(kinds(&events), ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"]);
}

async fn types_narrow_the_feed(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.webhook(&app, &Call::new(2).voicemail(60)).await;
    server.wait_for_events(&app, 7).await;
    let of_types = async |types: &str| {
        let events = server.get(&format!("/api/events?types={types}")).by(&app).answer().await.list();
        seqs(&events)
    };
    assert_eq!(of_types("call.ended").await, [5, 6]);
    assert_eq!(of_types("call.ring,voicemail.received").await, [1, 7]);
    assert_eq!(of_types("call.*").await, [1, 2, 3, 4, 5, 6]);
    server.get("/api/events?types=call.rings").by(&app).answer().await.refuses_naming("types");
}

async fn a_cursor_ahead_of_the_feed_is_a_conflict(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.wait_for_events(&app, 1).await;
    assert!(server.get("/api/events?after=1").by(&app).answer().await.list().is_empty());
    server.get("/api/events?after=2").by(&app).answer().await.refuses(409, "CURSOR_AHEAD");
}

async fn what_is_not_known_is_refused_by_name(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (name, value) in [
        ("after", "-1"),
        ("after", "first"),
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "x"),
        ("colour", "red"),
    ] {
        server.get(&format!("/api/events?{name}={value}")).by(&app).answer().await.refuses_naming(name);
    }
}

async fn the_feed_survives_a_restart(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(1);
    server.webhooks(&app, [&call.ring(0), &call.started(3)]).await;
    let before = server.wait_for_events(&app, 2).await;
    server.process.kill();

    let server = world.start().await;
    assert_eq!(server.feed(&app).await, before);
    server.call(&app, 1).await.shows(json!({"status": "active"}));
    server.webhooks(&app, [&call.held(45), &call.resumed(50), &call.ended(180)]).await;
    let after = server.wait_for_events(&app, 5).await;
    assert_contiguous(&after, 0);
    after[4].shows(
        json!({"type": "call.ended", "duration_seconds": 180, "talk_seconds": 172, "hold_seconds": 5}),
    );
}

async fn each_app_counts_for_itself(world: World) {
    let server = world.start().await;
    let (one, other) = (server.create_app("one").await, server.create_app("other").await);
    for id in 1..=3 {
        server.webhook(&one, &Call::new(id).ring(0)).await;
        server.webhook(&other, &Call::new(id).ring(0)).await;
    }
    for app in [&one, &other] {
        assert_contiguous(&server.wait_for_events(app, 3).await, 0);
    }
}
