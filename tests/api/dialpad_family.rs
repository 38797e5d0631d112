//! Dialpad's own words: one snapshot of a call per change of state, as a JWS, and text messages.

use serde_json::{Value, json};

use crate::support::{Ack, App, Call, NOON, Shows, TestServer, With, World, kinds};

on_both_databases![
    an_answered_call_with_a_hold_is_emitted_in_our_words,
    nobody_answering_ends_a_call_once,
    states_before_the_answer_ring_once,
    blocked_and_unanswered_calls_have_their_outcomes,
    a_voicemail_comes_with_its_audio_and_then_its_words,
    a_state_without_a_name_here_is_passed_on,
    a_text_message_is_emitted_once_and_updated,
    the_same_state_twice_is_emitted_once,
];

const CALL: i64 = 5_527_348_325_810_176;

async fn tell(server: &TestServer, app: &App, states: impl IntoIterator<Item = Value>) {
    for state in states {
        Ack::of(&server.post_jws(&format!("/webhooks/{}", app.id), &state).await);
    }
}

fn ms(at: i64) -> i64 {
    (NOON + at) * 1000
}

async fn an_answered_call_with_a_hold_is_emitted_in_our_words(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let call = Call::new(CALL);
    let over = |state: &str, at| {
        let lengths = call.answered_state(state, at).with("date_ended", ms(180));
        lengths
            .with("total_duration", 179_999.51)
            .with("duration", 177_000.0)
            .with("talk_time", 172_000)
            .with("hold_time", 5_000)
    };
    let recording = json!([{"id": "r1", "url": "https://dialpad.com/r/1", "duration": 170_000, "recording_type": "callrecording"}]);
    let states = [
        call.state("ringing", 0),
        call.answered_state("connected", 3),
        call.answered_state("hold", 45),
        call.answered_state("connected", 50),
        over("hangup", 181),
        over("recording", 200).with("recording_details", recording),
    ];
    tell(&server, &app, states).await;
    let emitted = socket.events(6).await;
    assert_eq!(
        kinds(&emitted),
        ["call.ring", "call.started", "call.held", "call.resumed", "call.ended", "call.updated"]
    );
    emitted[0].shows(json!({
        "call_id": CALL, "direction": "inbound", "from_number": "+14155551234", "to_number": "+14155555678",
        "dialpad_user_id": 555, "status": "ringing", "ringing_at": "2024-01-01T12:00:00Z",
    }));
    emitted[1].shows(json!({"status": "active", "started_at": "2024-01-01T12:00:03Z"}));
    emitted[2].shows(json!({"status": "held", "held_at": "2024-01-01T12:00:45Z"}));
    emitted[3].shows(json!({"status": "active", "resumed_at": "2024-01-01T12:00:50Z"}));
    emitted[4].shows(json!({
        "outcome": "answered", "ended_at": "2024-01-01T12:03:00Z", "duration_seconds": 180, "talk_seconds": 172,
        "hold_seconds": 5,
    }));
    emitted[5].shows(json!({"changed": ["recording_url"], "recording_url": "https://dialpad.com/r/1"}));
}

async fn nobody_answering_ends_a_call_once(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let call = Call::new(CALL);
    let states = [
        call.state("ringing", 0),
        call.state("missed", 25),
        call.state("hangup", 25).with("date_ended", ms(25)),
    ];
    tell(&server, &app, states).await;
    assert_eq!(kinds(&socket.events(2).await), ["call.ring", "call.ended"]);
    server.webhook(&app, &Call::new(2).ring(0)).await;
    let next = socket.next_event().await;
    assert!(next["type"] == "call.updated" || next["dialpad_call_id"] == 2, "{next:#}");
    server
        .call(&app, CALL)
        .await
        .shows(json!({"outcome": "missed", "duration_seconds": 25, "talk_seconds": 0}));
}

async fn states_before_the_answer_ring_once(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(CALL);
    tell(
        &server,
        &app,
        ["preanswer", "queued", "ringing"].into_iter().zip(0..).map(|(state, at)| call.state(state, at)),
    )
    .await;
    tell(&server, &app, [call.answered_state("connected", 10)]).await;
    let emitted = server.feed_until(&app, "call.started").await;
    let rings = kinds(&emitted).iter().filter(|kind| **kind == "call.ring").count();
    assert_eq!((rings, kinds(&emitted)[0]), (1, "call.ring"), "{:?}", kinds(&emitted));
}

async fn blocked_and_unanswered_calls_have_their_outcomes(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (blocked, outbound, lone) = (Call::new(1), Call::new(2).outbound(), Call::new(3));
    tell(&server, &app, [blocked.state("ringing", 0), blocked.state("blocked", 1)]).await;
    tell(
        &server,
        &app,
        [outbound.state("calling", 0), outbound.state("hangup", 20).with("date_ended", ms(20))],
    )
    .await;
    tell(&server, &app, [lone.state("hangup", 20).with("date_ended", ms(20))]).await;
    let emitted = server.wait_for_events(&app, 5).await;
    let outcomes: Vec<(&Value, &Value)> = emitted
        .iter()
        .filter(|event| event["type"] == "call.ended")
        .map(|event| (&event["call_id"], &event["outcome"]))
        .collect();
    assert_eq!(
        outcomes,
        [(&json!(1), &json!("rejected")), (&json!(2), &json!("abandoned")), (&json!(3), &json!("missed"))]
    );
    emitted[2].shows(json!({"type": "call.ring", "direction": "outbound", "from_number": "+14155551234"}));
}

async fn a_voicemail_comes_with_its_audio_and_then_its_words(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(CALL);
    let ready = |state: &str, at| {
        let snapshot = call.state(state, at).with("date_ended", ms(60)).with("total_duration", 60_000.0);
        snapshot.with("voicemail_link", "https://dialpad.com/v/1").with("voicemail_recording_id", "8001")
    };
    let states = [
        call.state("ringing", 0),
        call.state("missed", 20),
        call.state("voicemail", 21),
        call.state("hangup", 60).with("date_ended", ms(60)).with("total_duration", 60_000.0),
        ready("voicemail_uploaded", 65),
        ready("transcription", 90).with("transcription_text", "Hi, please call me back"),
    ];
    tell(&server, &app, states).await;
    let emitted = server.feed_until(&app, "voicemail.updated").await;
    let all = kinds(&emitted);
    let named: Vec<&str> = all.into_iter().filter(|kind| *kind != "call.updated").collect();
    assert_eq!(named, ["call.ring", "call.ended", "voicemail.received", "voicemail.updated"]);
    let received = emitted.iter().find(|event| event["type"] == "voicemail.received").expect("counted above");
    received.shows(json!({"recording_url": "https://dialpad.com/v/1", "transcript": null}));
    emitted.last().expect("counted above").shows(json!({"transcript": "Hi, please call me back"}));
    let shown = server.call(&app, CALL).await;
    shown.shows(
        json!({"outcome": "voicemail", "is_voicemail": true, "status": "ended", "duration_seconds": 60}),
    );
}

async fn a_state_without_a_name_here_is_passed_on(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    tell(&server, &app, [Call::new(CALL).state("takeover", 5)]).await;
    let emitted = server.wait_for_events(&app, 1).await;
    emitted[0].shows(json!({"type": "call.raw", "state": "takeover", "dialpad_call_id": CALL}));
    emitted[0]["payload"].shows(json!({"state": "takeover", "external_number": "+14155551234"}));
}

async fn a_text_message_is_emitted_once_and_updated(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let text = |status: &str, at| {
        json!({
            "id": 6_095_823_680_520_192_i64, "created_date": ms(0), "event_timestamp": ms(at), "direction": "outbound",
            "from_number": "+14155555678", "to_number": ["+14155551234"], "text": "Hello", "message_status": status,
            "target": {"type": "user", "id": 555}, "contact": {"name": "Grace"}, "mms": false,
        })
    };
    tell(&server, &app, [text("pending", 0), text("pending", 0), text("delivered", 2)]).await;
    let emitted = server.wait_for_events(&app, 2).await;
    emitted[0].shows(json!({
        "type": "message.sent", "text": "Hello", "from_number": "+14155555678", "to_number": "+14155551234",
        "dialpad_message_id": 6_095_823_680_520_192_i64, "message_status": "pending", "direction": "outbound",
    }));
    emitted[1].shows(json!({
        "type": "message.updated", "message_status": "delivered", "message_id": emitted[0]["message_id"],
    }));
}

async fn the_same_state_twice_is_emitted_once(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let call = Call::new(CALL);
    // Nobody can tell these apart but by a field that means nothing here.
    tell(&server, &app, [call.state("ringing", 0), call.state("ringing", 0).with("mos_score", 4.2)]).await;
    socket.expect("call.ring").await;
    socket.expect_nothing_more(&server, &app).await;
}
