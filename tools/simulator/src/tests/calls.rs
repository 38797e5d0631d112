use super::*;

const USER: &str = "5100000000000000";

/// Plays one call and returns it.
async fn played(fixture: &Fixture, flow: &str) -> Value {
    fixture.play(json!({"flow": flow})).await;
    let history = fixture.read("/api/v2/call").await;
    let id = history["items"][0]["call_id"].as_str().expect("int64 as a string");
    fixture.read(&format!("/api/v2/call/{id}")).await
}

#[tokio::test]
async fn a_call_has_integers_as_strings_and_no_unset_fields() {
    let fixture = Fixture::start().await;
    let call = played(&fixture, "answered").await;
    assert_eq!((&call["state"], &call["direction"]), (&json!("hangup"), &json!("inbound")));
    for int64 in ["date_started", "date_connected", "date_ended", "event_timestamp"] {
        assert!(call[int64].as_str().is_some_and(|text| text.parse::<i64>().is_ok()), "{int64}: {call}");
    }
    assert!(
        call["duration"].is_f64() && call["target"]["id"].is_string() && call["contact"]["id"].is_string()
    );
    let details = &call["recording_details"][0];
    assert_eq!((&details["recording_type"], &call["was_recorded"]), (&json!("callrecording"), &json!(true)));
    assert_eq!(call["call_recording_share_links"], json!([details["url"]]));
    for unset in ["master_call_id", "labels", "entry_point_target", "voicemail_share_link", "talk_time"] {
        assert!(call.get(unset).is_none(), "{unset}: {call}");
    }
    let id = call["call_id"].as_str().expect("a string");
    let transcript = fixture.read(&format!("/api/v2/transcripts/{id}")).await;
    assert!(transcript["lines"].as_array().is_some_and(|lines| lines.len() > 3), "{transcript}");
    for unknown in ["/api/v2/call/7", "/api/v2/transcripts/7"] {
        let (status, body) = status_and_json(fixture.get(unknown).bearer_auth("static-key")).await;
        assert_eq!((status, &body["error"]["errors"][0]["reason"]), (404, &json!("notFound")));
    }
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn a_voicemail_has_its_link_and_its_transcript_and_a_missed_call_no_lines() {
    let fixture = Fixture::start().await;
    let call = played(&fixture, "voicemail").await;
    assert_eq!(call["voicemail_share_link"], call["recording_details"][0]["url"]);
    assert!(call["transcription_text"].is_string() && call.get("date_connected").is_none());
    let id = call["call_id"].as_str().expect("a string");
    assert_eq!(fixture.read(&format!("/api/v2/transcripts/{id}")).await, json!({"call_id": id}));
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn the_history_lists_ended_calls_newest_first_in_pages() {
    let fixture = Fixture::start().await;
    fixture.play(json!({"flow": "missed", "calls": 25, "rate": 1000})).await;
    let first = fixture.read("/api/v2/call").await;
    let cursor = first["cursor"].as_str().expect("a second page");
    let second = fixture.read(&format!("/api/v2/call?cursor={cursor}")).await;
    assert!(second.get("cursor").is_none());
    let started = |page: &Value| {
        let calls = page["items"].as_array().expect("items").iter();
        calls.map(|call| call["date_started"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    let all = [started(&first), started(&second)].concat();
    assert!(all.len() == 25 && all.is_sorted_by(|newer, older| newer >= older));

    let between = format!("/api/v2/call?started_after={}&started_before={}", all[24], all[0]);
    let found = fixture.read(&between).await["items"].as_array().expect("items").len();
    assert_eq!(found, all.iter().filter(|at| **at != all[0] && **at != all[24]).count().min(20));
    let user = first["items"][0]["target"]["id"].as_str().expect("text");
    let theirs = fixture.read(&format!("/api/v2/call?target_type=user&target_id={user}")).await;
    let theirs = theirs["items"].as_array().expect("items").clone();
    assert!(theirs.iter().all(|call| call["target"]["id"] == user));
    assert_eq!(fixture.read("/api/v2/call?target_type=user&target_id=1").await, json!({}));
    assert_eq!(status_and_json(fixture.get("/api/v2/call?cursor=x").bearer_auth("static-key")).await.0, 400);
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn a_placed_call_can_be_read_and_hung_up_and_keeps_its_custom_data() {
    let fixture = Fixture::start().await;
    let order = json!({"user_id": USER, "phone_number": "+14155551234", "custom_data": "ours-1"});
    let placed = fixture.create("/api/v2/call", order).await;
    let path = format!("/api/v2/call/{}", placed["call_id"].as_str().expect("int64 as a string"));
    let state = async |wanted: &str| {
        eventually(wanted, async || {
            let (status, call) = status_and_json(fixture.get(&path).bearer_auth("static-key")).await;
            (status == 200 && call["state"] == wanted).then_some(call)
        })
        .await
    };
    let live = state("calling").await;
    assert_eq!((&live["custom_data"], &live["external_number"]), (&json!("ours-1"), &json!("+14155551234")));
    assert_eq!((&live["target"]["id"], &live["direction"]), (&json!(USER), &json!("outbound")));
    assert_eq!(fixture.read("/api/v2/call").await, json!({}), "a live call is not in the history");

    let hang_up =
        || fixture.client.put(fixture.url(&format!("{path}/actions/hangup"))).bearer_auth("static-key");
    let reply = hang_up().send().await.expect("an answer");
    assert_eq!((reply.status().as_u16(), reply.text().await.expect("a body")), (200, "{}".to_owned()));
    assert!(state("hangup").await.get("date_connected").is_none());
    assert_eq!(status_and_json(hang_up()).await.0, 400);
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn placed_calls_are_checked_and_can_be_fast() {
    let fixture = Fixture::start().await;
    fixture.switch(json!({"placed_call_pace": 0})).await;
    for (path, order, status) in [
        ("/api/v2/call", json!({"user_id": 5, "phone_number": "+14155551234"}), 404),
        ("/api/v2/call", json!({"user_id": USER, "phone_number": "5551234"}), 400),
        ("/api/v2/call", json!({"phone_number": "+14155551234"}), 400),
        ("/api/v2/users/me/initiate_call", json!({"phone_number": "+14155551234"}), 200),
        ("/api/v2/users/5/initiate_call", json!({"phone_number": "+14155551234"}), 404),
    ] {
        let (replied, body) =
            status_and_json(fixture.post(path).bearer_auth("static-key").json(&order)).await;
        assert_eq!(replied, status, "{path} {order}: {body}");
        assert_eq!(body["device"]["id"].is_string(), status == 200);
    }
    let call = eventually("the call has ended", async || {
        fixture.read("/api/v2/call").await["items"].get(0).cloned()
    })
    .await;
    assert!(call["date_connected"].is_string(), "{call}");
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn scopes_are_required_once_they_are_enforced() {
    let fixture = Fixture::start().await;
    let (without_scope, with_scope) =
        (fixture.token("offline_access").await, fixture.token("calls:list").await);
    let list = |token: &str| status_and_json(fixture.get("/api/v2/call").bearer_auth(token));
    assert_eq!(list(&without_scope).await.0, 200);
    fixture.switch(json!({"enforce_scopes": true})).await;
    let (status, body) = list(&without_scope).await;
    assert_eq!((status, &body["error"]["errors"][0]["reason"]), (403, &json!("insufficientPermissions")));
    assert_eq!(list(&with_scope).await.0, 200);
    assert_eq!(list("static-key").await.0, 200);
    let texts =
        fixture.post("/api/v2/subscriptions/sms").bearer_auth(&with_scope).json(&json!({"direction": "all"}));
    assert_eq!(status_and_json(texts).await.0, 403);
    assert_eq!(status_and_json(fixture.get("/api/v2/users/me").bearer_auth(&without_scope)).await.0, 200);
    fixture.simulator.stop().await;
}
