//! Authentic webhooks with content that nobody expects: none of it may stop what follows, and none of it is lost.

use serde_json::{Value, json};

use crate::support::{Ack, Ask, Call, NOON, Shows, With, World, assert_contiguous, kinds, of_call};

on_both_databases![
    nothing_that_a_webhook_says_stops_what_follows,
    the_largest_webhook_is_emitted_whole,
    every_character_comes_through,
    an_instant_may_be_written_in_many_ways,
    an_impossible_instant_stops_nobody,
];

async fn nothing_that_a_webhook_says_stops_what_follows(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let call = Call::new(1);
    let bodies = [
        deep.clone(),
        format!("{{\"event_type\":\"call.ring\",\"call_id\":1,\"deep\":{deep}}}"),
        "{\"event_type\":\"call.ring\",\"call_id\":1e400}".to_owned(),
        "{\"event_type\":\"call.ring\",\"call_id\":1.5}".to_owned(),
        "{\"event_type\":\"call.ring\",\"call_id\":99999999999999999999}".to_owned(),
        "{\"event_type\":\"call.ring\",\"call_id\":0}".to_owned(),
        "{\"event_type\":\"call.ring\",\"call_id\":{\"id\":1}}".to_owned(),
        "{\"event_type\":\"call.ring\",\"call_id\":1,\"from_number\":\"\\ud800\"}".to_owned(),
        "{\"event_type\":\"\",\"call_id\":1}".to_owned(),
        "{\"event_type\":7,\"state\":[],\"call_id\":1}".to_owned(),
        call.event("call.ring\u{0}", 0).to_string(),
        call.event(&"x".repeat(10_000), 0).to_string(),
        call.ring(0)
            .with("direction", 5)
            .with("dialpad_user_id", "Ada")
            .with("from_number", json!({}))
            .to_string(),
        call.state("ringing", 0).with("target", "nobody").with("date_started", "soon").to_string(),
        call.state("hangup", 0).with("recording_details", json!([[], 1, {"url": null}])).to_string(),
        call.state("ringing", 0).with("total_duration", -1).with("talk_time", "NaN").to_string(),
        json!({"event_type": "message.received", "message_id": {}, "text": []}).to_string(),
        "\u{feff}{}".to_owned(),
        "a.b.c".to_owned(),
        "null".to_owned(),
    ];
    let path = format!("/webhooks/{}", app.id);
    for (marker, body) in (1_000..).zip(&bodies) {
        let answer = server.post_webhook(&path, body).await;
        if body == "a.b.c" {
            // What looks like a JWS must be one.
            answer.refuses(401, "INVALID_SIGNATURE");
        } else {
            Ack::of(&answer);
        }
        server.webhooks(&app, &Call::new(marker).life()).await;
    }
    let feed = server.feed_once_processed(&app, 5_000).await;
    for marker in (1_000..).take(bodies.len()) {
        assert_eq!(of_call(&feed, marker).len(), 5, "after {}", bodies[(marker - 1_000) as usize]);
    }
    assert_contiguous(&server.feed(&app).await, 0);
}

async fn the_largest_webhook_is_emitted_whole(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let note = "ä€😀".repeat(27_000);
    let large = Call::new(1).event("call.noted", 0).with("note", note.as_str());
    assert!((200 << 10..256 << 10).contains(&large.to_string().len()));
    server.webhook(&app, &large).await;
    let emitted = socket.expect("call.raw").await;
    assert!(emitted["payload"]["note"] == note.as_str(), "the note was changed");
    assert_eq!(server.feed(&app).await, [emitted]);
    socket.expect_nothing_more(&server, &app).await;
}

async fn every_character_comes_through(world: World) {
    let server = world.start().await;
    let app = server.create_app("Äpfel & \"Birnen\" 🍐").await;
    let mut socket = server.listen(&app).await;
    let words = "\"quoted\" \\ back\tslash\r\n\u{1}\u{7f}\u{2028} Ünïcödé 😀 ' ; DROP TABLE calls; --";
    let raw = Call::new(1).event("call.noted", 0).with("note", words).with("nothing", "a\u{0}b");
    server.webhook(&app, &raw).await;
    let emitted = socket.expect("call.raw").await;
    emitted["payload"].shows(json!({"note": words}));
    let voicemail = Call::new(2).voicemail(5).with("transcript", format!("{words}\u{0}"));
    server.webhook(&app, &voicemail).await;
    socket.expect("call.ended").await;
    let emitted = socket.expect("voicemail.received").await;
    assert!(emitted["transcript"].as_str().is_some_and(|it| it.starts_with(words)), "{emitted:#}");
    server.call(&app, 2).await["voicemail"].shows(json!({"transcript": emitted["transcript"]}));
}

async fn an_instant_may_be_written_in_many_ways(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ways = [
        json!(NOON),
        json!(NOON.to_string()),
        json!(NOON * 1000),
        json!((NOON * 1000).to_string()),
        json!(NOON as f64),
        json!("2024-01-01T12:00:00Z"),
        json!("2024-01-01T13:00:00+01:00"),
    ];
    for (id, way) in (1..).zip(&ways) {
        server.webhook(&app, &Call::new(id).ring(0).with("timestamp", way.clone())).await;
    }
    for event in server.wait_for_events(&app, ways.len()).await {
        event.shows(json!({"ringing_at": "2024-01-01T12:00:00Z", "timestamp": NOON}));
    }
}

async fn an_impossible_instant_stops_nobody(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let impossible: [Value; 9] = [
        json!(i64::MAX),
        json!(i64::MIN),
        json!(-1),
        json!(0),
        json!(99_999_999_999_i64),
        json!(9_223_372_036_854_775_i64),
        json!(1e300),
        json!("+292277026596-12-04T15:30:08Z"),
        json!("0000-01-01T00:00:00Z"),
    ];
    for (id, instant) in (1..).zip(&impossible) {
        let ring = Call::new(id).ring(0).with("timestamp", instant.clone());
        server
            .webhooks(&app, [&ring, &Call::new(id).ended(30).with("duration_seconds", instant.clone())])
            .await;
    }
    let feed = server.feed_once_processed(&app, 100).await;
    assert_contiguous(&feed, 0);
    for id in (1..).take(impossible.len()) {
        let emitted = of_call(&feed, id);
        assert!(
            kinds(&emitted).contains(&"call.ended"),
            "{}: {:?}",
            impossible[id as usize - 1],
            kinds(&emitted)
        );
        server.call(&app, id).await.shows(json!({"status": "ended"}));
    }
    let listed = server.get("/api/calls?limit=500&since=0").by(&app);
    assert_eq!(listed.answer().await.list().len(), impossible.len() + 1);
}
