//! Webhooks with spots that can't be read: the rest of them counts, and the journal says what was left out.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Ack, App, Ask, Call, NOON, Shows, TestServer, WEBHOOK_SECRET, With, World, eventually, hmac_hex, kinds,
};

on_both_databases![
    a_spot_that_is_no_json_costs_no_event,
    half_an_emoji_costs_no_message,
    a_spot_is_remembered_until_the_app_is_active,
    times_in_every_form_are_read,
    a_time_that_cannot_be_read_fails_the_webhook,
    a_key_without_a_value_counts_as_absent,
    a_fax_is_kept_and_not_emitted,
];

async fn post_bytes(server: &TestServer, app: &App, body: Vec<u8>) -> Ack {
    let signature = hmac_hex(WEBHOOK_SECRET, &body);
    let request = server.post(&format!("/webhooks/{}", app.id)).header("x-dialpad-signature", signature);
    Ack::of(&request.body(body).answer().await)
}

async fn processed(server: &TestServer, id: &str) -> Value {
    eventually("the webhook is processed", async || {
        let entry = server.get(&format!("/internal/webhook-events/{id}")).by_admin().answer().await.ok();
        (entry["status"] == "processed").then_some(entry)
    })
    .await
}

/// A hangup with one more field, whose value is written as it is.
fn hangup(call: i64, odd: &[u8]) -> Vec<u8> {
    let hangup = Call::new(call).answered_state("hangup", 63).with("date_ended", (NOON + 63) * 1000);
    let text = hangup.with("talk_time", 60_000).with("odd", 4711).to_string();
    let (before, after) = text.split_once("4711").expect("the field is there");
    [before.as_bytes(), odd, after.as_bytes()].concat()
}

async fn a_spot_that_is_no_json_costs_no_event(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let spots: [&[u8]; 9] = [
        br#""cut \ud83d""#,
        br#""\udc00 first""#,
        br#""C:\dir""#,
        b"\"caf\xe9\"",
        b"\"a\0b\nc\"",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"007",
    ];
    for (call, odd) in (1..).zip(spots) {
        let body = hangup(call, odd);
        let taken = post_bytes(&server, &app, body.clone()).await;
        assert_eq!(taken.status, None, "{}", String::from_utf8_lossy(odd));
        let entry = processed(&server, &taken.event_id).await;
        assert!(entry["reason"].as_str().is_some_and(|reason| reason.ends_with("in odd")), "{entry:#}");
        assert_eq!(entry["event_type"], "hangup");
        server
            .call(&app, call)
            .await
            .shows(json!({"status": "ended", "outcome": "answered", "talk_seconds": 60}));
        assert!(post_bytes(&server, &app, body).await.duplicate, "a copy is recognised");
    }
    for (call, body) in [
        (20, [b"\xef\xbb\xbf".as_slice(), Call::new(20).ring(0).to_string().as_bytes()].concat()),
        (21, [Call::new(21).ring(0).to_string().as_bytes(), b"\0".as_slice()].concat()),
    ] {
        let taken = post_bytes(&server, &app, body).await;
        assert!(processed(&server, &taken.event_id).await["reason"].is_string());
        server.call(&app, call).await.shows(json!({"status": "ringing"}));
    }
    let cut = post_bytes(&server, &app, br#"{"event_type":"call.ring","call_id":30"#.to_vec()).await;
    assert_eq!(cut.status.as_deref(), Some("failed"), "what is incomplete is not guessed");
}

async fn half_an_emoji_costs_no_message(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let sms = br#"{"id":5,"created_date":1704110400000,"direction":"inbound","from_number":"+14155551234",
        "to_number":["+14155555678"],"text":"See you \ud83d","message_status":"pending"}"#;
    let taken = post_bytes(&server, &app, sms.to_vec()).await;
    let emitted = server.wait_for_events(&app, 1).await;
    emitted[0].shows(json!({"type": "message.received", "text": "See you \u{fffd}"}));
    let entry = processed(&server, &taken.event_id).await;
    entry.shows(json!({"payload_encoding": "base64", "attempts": 0}));
}

async fn a_spot_is_remembered_until_the_app_is_active(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let switch = async |is_active: bool| {
        let path = format!("/internal/apps/{}", app.id);
        let request = server.request(Method::PATCH, &path).by_admin();
        request.json(&json!({"is_active": is_active})).answer().await.ok();
    };
    switch(false).await;
    let taken = post_bytes(&server, &app, hangup(1, b"NaN")).await;
    assert_eq!(taken.status.as_deref(), Some("unrouted"));
    switch(true).await;
    processed(&server, &taken.event_id).await;
    server.call(&app, 1).await.shows(json!({"outcome": "answered"}));
}

async fn times_in_every_form_are_read(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (call, at, expected) in [
        (1, json!("2024-01-01T12:00:00"), "2024-01-01T12:00:00Z"),
        (2, json!("2024-01-01T13:00:00+0100"), "2024-01-01T12:00:00Z"),
        (3, json!(1_704_110_400_123_456_i64), "2024-01-01T12:00:00.123456Z"),
        (4, json!("2024-01-01T12:00:00.123456"), "2024-01-01T12:00:00.123456Z"),
        (5, json!("2024-01-01"), "2024-01-01T00:00:00Z"),
        (6, json!("2024-01-01T11:59:60Z"), "2024-01-01T12:00:00Z"),
        (7, json!("2023-12-31T23:59:60.5"), "2024-01-01T00:00:00Z"),
        (8, json!("Mon, 01 Jan 2024 12:00:00 GMT"), "2024-01-01T12:00:00Z"),
    ] {
        server.webhook(&app, &Call::new(call).ring(0).with("timestamp", at.clone())).await;
        let shown = eventually("the call is there", async || {
            let list =
                server.get("/api/calls").query(&[("status", "ringing")]).by(&app).answer().await.list();
            list.into_iter().find(|it| it["call_id"] == call)
        })
        .await;
        assert_eq!(shown["ringing_at"], expected, "{at}");
    }
}

async fn a_time_that_cannot_be_read_fails_the_webhook(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ended = Call::new(1).ended(60);
    for (payload, field) in [
        (ended.clone().with("timestamp", "soon"), "timestamp"),
        (ended.clone().with("ended_at", "2024-13-01T00:00:00Z"), "ended_at"),
        (ended.clone().with("started_at", true), "started_at"),
        (Call::new(1).state("hangup", 5).with("date_connected", "never"), "date_connected"),
        (Call::new(1).state("hangup", 5).with("event_timestamp", -1), "event_timestamp"),
    ] {
        let taken = server.webhook(&app, &payload).await;
        assert_eq!(taken.status.as_deref(), Some("failed"), "{payload}");
        let path = format!("/internal/webhook-events/{}", taken.event_id);
        let entry = server.get(&path).by_admin().answer().await.ok();
        assert!(entry["reason"].as_str().is_some_and(|reason| reason.starts_with(field)), "{entry:#}");
    }
    server.get("/api/calls/1").by(&app).answer().await.refuses(404, "CALL_NOT_FOUND");
}

async fn a_key_without_a_value_counts_as_absent(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let sms = |id: i64| {
        json!({"id": id, "event_timestamp": NOON * 1000, "direction": "inbound", "from_number": "+14155551234",
            "to_number": ["+14155555678"], "text": "Hi", "call_id": null, "state": null, "event_type": "", "event_id": ""})
    };
    server.webhooks(&app, [&sms(1), &sms(2)]).await;
    let ring = Call::new(3).ring(0).with("event_id", 0).with("call", Value::Null).with("timestamp", 0);
    server.webhook(&app, &ring).await;
    let emitted = server.wait_for_events(&app, 3).await;
    assert_eq!(kinds(&emitted), ["message.received", "message.received", "call.ring"]);
}

async fn a_fax_is_kept_and_not_emitted(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let fax = json!({"id": 9, "direction": "inbound", "from_number": "+14155551234", "to_number": "+14155555678",
        "fax_url": "https://dialpad.com/fax/9", "status": "received", "event_timestamp": NOON * 1000});
    let taken = server.webhook(&app, &fax).await;
    assert_eq!(taken.status.as_deref(), Some("failed"));
    server.webhook(&app, &Call::new(1).ring(0)).await;
    assert_eq!(kinds(&server.wait_for_events(&app, 1).await), ["call.ring"]);
}
