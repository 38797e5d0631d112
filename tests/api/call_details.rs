//! What payloads say of a call and a message besides what happened: names, custom data, all parts of a recording.

use serde_json::{Value, json};

use crate::support::{
    App, Ask, Call, MediaResponse, MediaStub, NOON, Shows, TestServer, With, World, eventually, kinds,
};

on_both_databases![
    a_call_shows_whom_it_is_with_and_whom_it_is_for,
    custom_data_is_shown_as_it_came,
    every_part_of_a_recording_is_listed,
    every_part_of_a_recording_can_be_played,
    a_message_shows_all_pictures_and_the_result_of_its_delivery,
];

async fn ended(server: &TestServer, app: &App, call: i64) -> Value {
    eventually("the call is over", async || {
        let answer = server.get(&format!("/api/calls/{call}")).by(app).answer().await;
        (answer.status == 200).then(|| answer.ok()).filter(|call| call["status"] == "ended")
    })
    .await
}

async fn a_call_shows_whom_it_is_with_and_whom_it_is_for(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let queue = json!({"type": "call_center", "id": 4_700_000_000_000_007_i64, "name": "Support"});
    let hangup = Call::new(1).state("hangup", 9).with("target", queue).with("is_internal", "FALSE");
    server.webhook(&app, &hangup.with("callback_requested", true)).await;
    let details = json!({"contact_name": "Grace", "target_id": 4_700_000_000_000_007_i64, "target_name": "Support",
        "is_internal": false, "callback_requested": true, "custom_data": null});
    ended(&server, &app, 1).await.shows(details.clone());
    let emitted = server.wait_for_events(&app, 1).await;
    emitted[0].shows(details);
    let as_text = server.get("/api/calls/1?ids=string").by(&app).answer().await.ok();
    as_text.shows(json!({"target_id": "4700000000000007"}));
    let internal = json!({"type": "user", "id": 5, "name": "Bob"});
    server.webhook(&app, &Call::new(2).state("hangup", 9).with("contact", internal)).await;
    ended(&server, &app, 2)
        .await
        .shows(json!({"contact_name": "Bob", "is_internal": true, "callback_requested": null}));
    let named =
        Call::new(3).ended(9).with("contact_name", "Ada").with("target", json!({"id": 7, "name": "Sales"}));
    server.webhook(&app, &named).await;
    ended(&server, &app, 3)
        .await
        .shows(json!({"contact_name": "Ada", "target_id": 7, "target_name": "Sales"}));
}

async fn custom_data_is_shown_as_it_came(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (call, data) in [
        (1, json!("order 7 \u{1f600} \"x\"")),
        (2, json!({"lead": 9_007_199_254_740_993_i64, "id": 5, "dialpad_user_id": 6, "tags": ["a", null]})),
        (3, json!([1.5, "a\u{0}b"])),
        (4, json!(false)),
        (5, json!("{\"json\":\"in text\"}")),
    ] {
        server.webhook(&app, &Call::new(call).state("hangup", 9).with("custom_data", data.clone())).await;
        assert_eq!(ended(&server, &app, call).await["custom_data"], data);
        let as_text = server.get(&format!("/api/calls/{call}?ids=string")).by(&app).answer().await.ok();
        assert_eq!(as_text["custom_data"], data, "what is the CRM's is not rewritten");
        let events =
            server.get(&format!("/api/calls/{call}/events?ids=string")).by(&app).answer().await.list();
        assert_eq!(events[0]["custom_data"], data);
    }
    server.webhook(&app, &Call::new(1).state("recording", 20).with("custom_data", "")).await;
    assert_eq!(
        server.call(&app, 1).await["custom_data"],
        json!("order 7 \u{1f600} \"x\""),
        "nothing removes it"
    );
}

fn part(id: i64, url: &str, at: i64) -> Value {
    json!({"id": id, "url": url, "recording_type": "callrecording", "duration": 9_500.4,
        "start_time": (NOON + at) * 1000})
}

async fn every_part_of_a_recording_is_listed(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (first, second) = ("https://dialpad.com/r/1", "https://dialpad.com/r/2");
    let copy = "https://dialpad.com/blob/adminrecording/3.mp3";
    let hangup = Call::new(1).answered_state("hangup", 60).with("date_ended", (NOON + 60) * 1000);
    server.webhook(&app, &hangup.with("recording_url", json!([first]))).await;
    let details = json!([part(12, second, 30), part(11, first, 3)]);
    let recorded = Call::new(1).answered_state("recording", 90).with("recording_details", details);
    server.webhook(&app, &recorded.with("recording_url", json!([first, second]))).await;
    let admin =
        Call::new(1).answered_state("admin_recording", 95).with("admin_recording_urls", json!([copy]));
    server.webhook(&app, &admin).await;
    let emitted = server.wait_for_events(&app, 3).await;
    assert_eq!(kinds(&emitted), ["call.ended", "call.updated", "call.updated"]);
    let detailed = |id: i64, url: &str, at: &str| json!({"id": id, "url": url, "type": "callrecording", "duration_seconds": 10, "started_at": at});
    let expected = json!([
        detailed(11, first, "2024-01-01T12:00:03Z"),
        detailed(12, second, "2024-01-01T12:00:30Z"),
        {"id": null, "url": copy, "type": "admincallrecording", "duration_seconds": null, "started_at": null},
    ]);
    assert_eq!(server.call(&app, 1).await["recordings"], expected);
    emitted[2].shows(json!({"changed": ["recordings"], "recordings": expected, "recording_url": first}));
    let as_text = server.get("/api/events?ids=string").by(&app).answer().await.list();
    assert_eq!(as_text[2]["recordings"][0]["id"], "11");
    server.webhook(&app, &Call::new(2).ring(0)).await;
    server.wait_for_events(&app, 4).await;
    assert_eq!(server.call(&app, 2).await["recordings"], json!([]));
}

async fn every_part_of_a_recording_can_be_played(world: World) {
    let media = MediaStub::start(|heard| match heard.target.as_str() {
        "/r/one" => MediaResponse::audio("audio/mpeg", &b"ID3\x04one"[..]),
        "/r/two" => MediaResponse::audio("audio/mpeg", &b"ID3\x04two"[..]),
        _ => MediaResponse::new(404),
    })
    .await;
    let server = world.with_media_stub(&media).start().await;
    let app = server.create_app("CRM").await;
    let url = |name: &str| format!("{}/r/{name}", media.base_url);
    let recorded = Call::new(1).ended(60).with("started_at", "2024-01-01T12:00:03Z");
    server.webhook(&app, &recorded.with("recording_url", json!([url("one"), url("two")]))).await;
    ended(&server, &app, 1).await;
    for (query, audio) in [("", "ID3\x04one"), ("?part=1", "ID3\x04one"), ("?part=2", "ID3\x04two")] {
        let answer = server.get(&format!("/api/calls/1/recording{query}")).by(&app).answer().await;
        assert_eq!((answer.status, &*answer.body), (200, audio), "{query}");
    }
    for query in ["?part=3", "?part=9223372036854775807"] {
        let answer = server.get(&format!("/api/calls/1/recording{query}")).by(&app).answer().await;
        answer.refuses(404, "RECORDING_NOT_FOUND");
    }
    for query in ["?part=0", "?part=-1", "?part=x", "?part=1.5", "?part="] {
        let answer = server.get(&format!("/api/calls/1/recording{query}")).by(&app).answer().await;
        answer.refuses_naming("part");
    }
}

async fn a_message_shows_all_pictures_and_the_result_of_its_delivery(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let sms = json!({"id": 5, "created_date": NOON * 1000, "event_timestamp": NOON * 1000, "direction": "outbound",
        "from_number": "+14155555678", "to_number": ["+14155551234"], "mms": true, "mms_url": ["u1", "u2"],
        "message_status": "pending", "message_delivery_result": null});
    server.webhook(&app, &sms).await;
    let late = sms.clone().with("event_timestamp", (NOON + 5) * 1000).with("message_status", "failed");
    server.webhook(&app, &late.with("message_delivery_result", "no_route")).await;
    let emitted = server.wait_for_events(&app, 2).await;
    let pictures = json!({"mms_url": "u1", "media_urls": ["u1", "u2"], "message_delivery_result": null});
    emitted[0].shows(pictures);
    emitted[1].shows(json!({"type": "message.updated", "message_delivery_result": "no_route"}));
    let message = server.get("/api/messages/5").by(&app).answer().await.ok();
    message.shows(json!({"media_urls": ["u1", "u2"], "message_delivery_result": "no_route"}));
    server.webhook(&app, &json!({"event_type": "message.received", "message_id": 6, "text": "Hi"})).await;
    server.wait_for_events(&app, 3).await;
    let plain = server.get("/api/messages/6").by(&app).answer().await.ok();
    plain.shows(json!({"media_urls": [], "mms_url": null, "message_delivery_result": null}));
}
