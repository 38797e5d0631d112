//! The life of a call, as it is emitted and as it is shown, in order and out of order.

use serde_json::{Value, json};

use crate::support::{Call, Shows, With, World, assert_contiguous, kinds, object_keys, of_call};

on_both_databases![
    an_answered_call_is_emitted_step_by_step,
    every_step_is_seen_over_rest,
    whatever_the_order_of_arrival_the_call_is_the_same,
    a_late_event_never_takes_a_call_back,
    a_recording_that_comes_late_is_an_update,
    a_reported_length_goes_before_a_measured_one,
    nobody_answering_makes_a_missed_or_an_abandoned_call,
    calls_at_the_same_time_do_not_touch_each_other,
];

const CALL: i64 = 9_876_543_210;

async fn an_answered_call_is_emitted_step_by_step(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    server.webhooks(&app, &Call::new(CALL).life()).await;

    let emitted = socket.events(5).await;
    assert_contiguous(&emitted, 0);
    for event in &emitted {
        event.shows(json!({
            "app_id": app.id, "call_id": CALL, "dialpad_call_id": CALL, "direction": "inbound",
            "from_number": "+14155551234", "to_number": "+14155555678", "dialpad_user_id": 555, "crm_user_id": null,
        }));
        let id = event["event_id"].as_str().expect("an event has an id");
        assert!(uuid::Uuid::parse_str(id).is_ok(), "{event:#}");
    }
    emitted[0].shows(json!({
        "type": "call.ring", "status": "ringing", "ringing_at": "2024-01-01T12:00:00Z", "timestamp": 1_704_110_400,
    }));
    emitted[1].shows(json!({
        "type": "call.started", "status": "active", "started_at": "2024-01-01T12:00:03Z", "recording_url": null,
        "timestamp": 1_704_110_403,
    }));
    emitted[2].shows(json!({"type": "call.held", "status": "held", "held_at": "2024-01-01T12:00:45Z"}));
    emitted[3]
        .shows(json!({"type": "call.resumed", "status": "active", "resumed_at": "2024-01-01T12:00:50Z"}));
    emitted[4].shows(json!({
        "type": "call.ended", "status": "ended", "ended_at": "2024-01-01T12:03:00Z", "duration_seconds": 180,
        "talk_seconds": 172, "hold_seconds": 5, "outcome": "answered", "recording_url": null,
    }));
    assert_eq!(server.feed(&app).await, emitted, "the feed and the socket tell the same");
    socket.expect_nothing_more(&server, &app).await;
}

async fn every_step_is_seen_over_rest(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    for (step, status) in Call::new(CALL).life().iter().zip(["ringing", "active", "held", "active", "ended"])
    {
        server.webhook(&app, step).await;
        socket.next_event().await;
        server.call(&app, CALL).await.shows(json!({"status": status}));
    }
    let call = server.call(&app, CALL).await;
    call.shows(json!({
        "app_id": app.id, "dialpad_call_id": CALL, "call_id": CALL, "direction": "inbound",
        "from_number": "+14155551234", "to_number": "+14155555678", "status": "ended", "outcome": "answered",
        "dialpad_user_id": 555, "crm_user_id": null, "ringing_at": "2024-01-01T12:00:00Z",
        "answered_at": "2024-01-01T12:00:03Z", "started_at": "2024-01-01T12:00:03Z",
        "ended_at": "2024-01-01T12:03:00Z", "duration_seconds": 180, "talk_seconds": 172, "hold_seconds": 5,
        "recording_url": null, "is_voicemail": false, "voicemail": null,
    }));
    for field in ["id", "created_at", "updated_at"] {
        assert!(object_keys(&call).contains(field), "no {field} in {call:#}");
    }
}

async fn whatever_the_order_of_arrival_the_call_is_the_same(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let orders = [
        [0, 1, 2, 3, 4],
        [4, 3, 2, 1, 0],
        [1, 0, 3, 2, 4],
        [4, 0, 1, 2, 3],
        [2, 4, 0, 3, 1],
        [3, 2, 1, 4, 0],
    ];
    let mut expected: Option<Value> = None;
    for (id, order) in (1..).zip(orders) {
        let steps = Call::new(id).life();
        server.webhooks(&app, order.map(|index| &steps[index])).await;
        let feed = of_call(&server.feed_once_processed(&app, 1_000 + id).await, id);
        let ends = kinds(&feed).iter().filter(|kind| **kind == "call.ended").count();
        assert_eq!(ends, 1, "{order:?}: {:?}", kinds(&feed));
        let call = ["id", "dialpad_call_id", "call_id", "created_at", "updated_at", "interaction_id"]
            .into_iter()
            .fold(server.call(&app, id).await, With::without);
        let expected = expected.get_or_insert_with(|| call.clone());
        assert_eq!(&call, expected, "{order:?}");
    }
}

async fn a_late_event_never_takes_a_call_back(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let call = Call::new(CALL);
    server.webhook(&app, &call.started(3)).await;
    socket.expect("call.started").await;
    server.webhook(&app, &call.ring(0)).await;
    let update = socket.expect("call.updated").await;
    update.shows(json!({"status": "active", "ringing_at": "2024-01-01T12:00:00Z"}));
    assert!(
        update["changed"].as_array().is_some_and(|changed| changed.contains(&"ringing_at".into())),
        "{update:#}"
    );

    server.webhook(&app, &call.ended(60)).await;
    socket
        .expect("call.ended")
        .await
        .shows(json!({"duration_seconds": 60, "hold_seconds": 0, "talk_seconds": 57}));
    server.webhooks(&app, [&call.held(20), &call.resumed(30)]).await;
    for event in socket.events(2).await {
        event.shows(json!({"type": "call.updated", "status": "ended"}));
    }
    server.call(&app, CALL).await.shows(json!({"status": "ended", "hold_seconds": 10, "talk_seconds": 47}));
}

async fn a_recording_that_comes_late_is_an_update(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let (call, url) = (Call::new(CALL), "https://dialpad.com/recordings/call123.wav");
    server.webhooks(&app, [&call.ring(0), &call.started(3), &call.ended(180)]).await;
    server.webhook(&app, &call.event("call.recording.completed", 200).with("recording_url", url)).await;
    socket.events(3).await;
    let update = socket.expect("call.updated").await;
    update.shows(json!({"changed": ["recording_url"], "recording_url": url, "status": "ended"}));
    server.call(&app, CALL).await.shows(json!({"recording_url": url, "duration_seconds": 180}));
    socket.expect_nothing_more(&server, &app).await;
}

async fn a_reported_length_goes_before_a_measured_one(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(CALL);
    let ended = call.ended(180).with("duration_seconds", "177.5");
    server.webhooks(&app, [&call.ring(0), &call.started(3), &ended]).await;
    server.wait_for_events(&app, 3).await[2].shows(json!({"duration_seconds": 178, "talk_seconds": 177}));
}

async fn nobody_answering_makes_a_missed_or_an_abandoned_call(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (inbound, outbound) = (Call::new(1), Call::new(2).outbound());
    for call in [&inbound, &outbound] {
        server.webhooks(&app, [&call.ring(0), &call.ended(30)]).await;
    }
    let emitted = server.wait_for_events(&app, 4).await;
    let lengths = json!({"duration_seconds": 30, "talk_seconds": 0, "hold_seconds": 0});
    emitted[1].shows(lengths.clone().with("outcome", "missed").with("direction", "inbound"));
    emitted[3].shows(lengths.with("outcome", "abandoned").with("direction", "outbound"));
}

async fn calls_at_the_same_time_do_not_touch_each_other(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let lives: Vec<[Value; 5]> = (1..=40).map(|id| Call::new(id).of_user(500 + id).life()).collect();
    futures_util::future::join_all(lives.iter().map(|life| server.webhooks(&app, life))).await;
    let feed = server.wait_for_events(&app, 200).await;
    assert_contiguous(&feed, 0);
    for id in 1..=40 {
        let emitted = of_call(&feed, id);
        let life = ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"];
        assert_eq!(kinds(&emitted), life, "call {id}");
        emitted[4].shows(json!({"dialpad_user_id": 500 + id, "duration_seconds": 180, "talk_seconds": 172}));
    }
}
