//! Voicemails: of a call that was seen, and of one that never was.

use serde_json::{Value, json};

use crate::support::{Ask, Call, Shows, With, World, kinds};

on_both_databases![
    a_voicemail_ends_a_live_call,
    a_voicemail_of_a_call_never_seen_makes_an_ended_call,
    a_voicemail_under_its_other_name_is_the_same,
    a_voicemail_emitted_again_with_more_is_an_update,
    a_person_who_answered_outweighs_a_voicemail,
];

const CALL: i64 = 9_876_543_210;

fn shows_the_voicemail(event: &Value) {
    event.shows(json!({
        "type": "voicemail.received", "call_id": CALL, "dialpad_call_id": CALL, "from_number": "+14155551234",
        "recording_url": "https://dialpad.com/api/v2/recordings/call123/download",
        "transcript": "Hi, please call me back", "duration_seconds": 28, "dialpad_voicemail_id": "vm_123456",
    }));
    let id = event["voicemail_id"].as_str().expect("a voicemail has an id");
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{event:#}");
}

async fn a_voicemail_ends_a_live_call(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let call = Call::new(CALL);
    server.webhooks(&app, [&call.ring(0), &call.voicemail(60)]).await;
    socket.expect("call.ring").await;
    let mut pair = socket.events(2).await;
    pair.sort_by_key(|event| event["type"].to_string());
    pair[0]
        .shows(json!({"type": "call.ended", "outcome": "voicemail", "status": "ended", "talk_seconds": 0}));
    shows_the_voicemail(&pair[1]);

    server.webhook(&app, &call.ended(61)).await;
    let emitted = server.feed_once_processed(&app, 2).await;
    assert_eq!(
        kinds(&emitted).iter().filter(|kind| **kind == "call.ended").count(),
        1,
        "{:?}",
        kinds(&emitted)
    );
    let shown = server.call(&app, CALL).await;
    shown.shows(json!({"status": "ended", "outcome": "voicemail", "is_voicemail": true}));
    shown["voicemail"].shows(json!({"transcript": "Hi, please call me back", "duration_seconds": 28}));
}

async fn a_voicemail_of_a_call_never_seen_makes_an_ended_call(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    server.webhook(&app, &Call::new(CALL).voicemail(60)).await;
    let ended = json!({"type": "call.ended", "outcome": "voicemail", "ended_at": "2024-01-01T12:01:00Z"});
    socket.next_event().await.shows(ended);
    shows_the_voicemail(&socket.next_event().await);
    socket.expect_nothing_more(&server, &app).await;
    let shown = server.call(&app, CALL).await;
    shown.shows(json!({"status": "ended", "outcome": "voicemail", "is_voicemail": true, "from_number": "+14155551234"}));
    shown["voicemail"].shows(json!({"duration_seconds": 28}));
    assert_eq!(shown["direction"], "inbound", "who leaves a voicemail has called");
    let inbound = server.get("/api/voicemails?direction=inbound").by(&app).answer().await.ok();
    assert_eq!(inbound[0]["direction"], "inbound", "{inbound:#}");
}

async fn a_voicemail_under_its_other_name_is_the_same(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let voicemail = Call::new(CALL).voicemail(60).with("event_type", "call.voicemail");
    server.webhook(&app, &voicemail).await;
    shows_the_voicemail(&server.wait_for_events(&app, 2).await[1]);
}

async fn a_voicemail_emitted_again_with_more_is_an_update(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let voicemail = Call::new(CALL).voicemail(60);
    server.webhook(&app, &voicemail.clone().without("transcript")).await;
    socket.expect("call.ended").await;
    let first = socket.expect("voicemail.received").await;
    first.shows(json!({"transcript": null, "duration_seconds": 28}));
    server.webhook(&app, &voicemail.with("timestamp", crate::support::NOON + 90)).await;
    let update = socket.expect("voicemail.updated").await;
    update.shows(json!({"transcript": "Hi, please call me back", "voicemail_id": first["voicemail_id"]}));
}

async fn a_person_who_answered_outweighs_a_voicemail(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(CALL);
    server.webhooks(&app, [&call.ring(0), &call.started(3), &call.ended(60), &call.voicemail(90)]).await;
    let emitted = server.feed_until(&app, "voicemail.received").await;
    assert_eq!(kinds(&emitted)[..3], ["call.ring", "call.started", "call.ended"]);
    let shown = server.call(&app, CALL).await;
    shown.shows(json!({"status": "ended", "outcome": "answered", "is_voicemail": true, "talk_seconds": 57}));
}
