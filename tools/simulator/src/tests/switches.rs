use super::*;

#[tokio::test]
async fn switches_can_be_read_reset_and_unknown_ones_are_rejected() {
    let fixture = Fixture::start().await;
    let first = success_json(fixture.get("/simulator/switches")).await;
    fixture.switch(json!({"enforce_scopes": true, "placed_call_pace": 0.5})).await;
    let put = fixture.client.put(fixture.url("/simulator/switches"));
    let (status, body) = status_and_json(put.json(&json!({"enforced_scopes": true}))).await;
    assert!(status == 400 && body["error"].as_str().is_some_and(|error| error.contains("enforced_scopes")));
    assert_eq!(success_json(fixture.get("/simulator/switches")).await["placed_call_pace"], 0.5);
    success_json(fixture.client.put(fixture.url("/simulator/switches")).json(&json!({}))).await;
    assert_eq!(success_json(fixture.get("/simulator/switches")).await, first);
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn the_next_answers_are_faulty_and_later_ones_are_not() {
    let fixture = Fixture::start().await;
    let next = json!([
        {"to": "api", "answer": "too_many_requests", "retry_after": "7"},
        {"to": "api", "answer": "html", "only": "GET /api/v2/company"},
        {"to": "api", "answer": "server_error"},
        {"to": "api", "answer": "reset"},
    ]);
    fixture.switch(json!({"next_answers": next})).await;
    let me = || fixture.get("/api/v2/users/me").bearer_auth("static-key").send();
    let first = me().await.expect("an answer");
    assert_eq!(
        (first.status().as_u16(), &first.headers()["retry-after"]),
        (429, &"7".parse().expect("a value"))
    );
    assert_eq!(me().await.expect("an answer").status(), 500);
    let cut = me().await.expect_err("no answer");
    assert!(!cut.is_timeout() && !cut.is_connect(), "{cut:?}");
    assert_eq!(me().await.expect("an answer").status(), 200);
    let page = fixture.get("/api/v2/company").bearer_auth("static-key").send().await.expect("an answer");
    assert!(page.text().await.expect("a body").starts_with("<!doctype html>"));
    assert_eq!(success_json(fixture.get("/simulator/switches")).await["next_answers"], json!([]));
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn an_answer_can_be_lost_after_its_request_took_effect() {
    let fixture = Fixture::start().await;
    let next = json!([{"to": "api", "answer": "reset", "takes_effect": true}]);
    fixture.switch(json!({"next_answers": next})).await;
    let hook = fixture.post("/api/v2/webhooks").bearer_auth("static-key");
    assert!(hook.json(&json!({"hook_url": "http://crm.example"})).send().await.is_err());
    assert_eq!(fixture.read("/api/v2/webhooks").await["items"].as_array().map(Vec::len), Some(1));
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn the_request_log_counts_by_outcome_and_shows_pending_requests() {
    let fixture = Fixture::start().await;
    let tokens = fixture.connect("offline_access").await;
    assert_eq!(fixture.refresh(&json!("wrong")).await.0, 400);
    fixture.switch(json!({"token_answer_delay_ms": 60_000})).await;
    let log = || success_json(fixture.get("/simulator/requests?route=/oauth2/token"));
    let late = tokio::select! {
        _ = fixture.refresh(&tokens["refresh_token"]) => panic!("answered"),
        late = eventually("the refresh took effect", async || {
            let last = log().await["requests"][2].clone();
            last["handled_at"].is_i64().then_some(last)
        }) => late,
    };
    assert_eq!((&late["answered_at"], &late["note"]), (&json!(null), &json!("refresh_token")));
    fixture.switch(json!({"token_answer_delay_ms": 0})).await;
    assert_eq!(fixture.refresh(&tokens["refresh_token"]).await.0, 400, "it was used before");
    let log = log().await;
    let counts: Vec<Value> = log["totals"]
        .as_array()
        .expect("totals")
        .iter()
        .map(|total| json!([total["note"], total["status"], total["count"]]))
        .collect();
    assert_eq!(
        json!(counts),
        json!([["refresh_token", null, 1], ["authorization_code", 200, 1], ["refresh_token", 400, 2]])
    );
    assert!(!log.to_string().contains("sim_"), "no token is logged");
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn token_answers_can_be_unusual() {
    let fixture = Fixture::start().await;
    fixture.switch(json!({"token_lifetime_seconds": 90})).await;
    let tokens = fixture.connect("offline_access").await;
    assert_eq!(tokens["expires_in"], 90);
    let mut refresh_token = tokens["refresh_token"].clone();
    for odd in [json!("90"), json!(0), json!(-5)] {
        fixture.switch(json!({"expires_in": odd})).await;
        let (_, answer) = fixture.refresh(&refresh_token).await;
        assert_eq!(answer["expires_in"], odd);
        refresh_token = answer["refresh_token"].clone();
    }
    fixture.switch(json!({"expires_in": "absent", "keep_refresh_tokens": true})).await;
    for _ in 0..2 {
        let (status, answer) = fixture.refresh(&refresh_token).await;
        assert!(status == 200 && answer.get("expires_in").is_none() && answer.get("refresh_token").is_none());
    }
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn reuse_and_revocation_end_connections() {
    let fixture = Fixture::start().await;
    fixture.switch(json!({"refresh_reuse_revokes": true})).await;
    let first = fixture.connect("offline_access").await;
    let (_, second) = fixture.refresh(&first["refresh_token"]).await;
    let me = async |tokens: &Value| {
        let token = tokens["access_token"].as_str().expect("a token");
        status_and_json(fixture.get("/api/v2/users/me").bearer_auth(token)).await.0
    };
    assert_eq!((me(&first).await, me(&second).await), (200, 200));
    assert_eq!(fixture.refresh(&first["refresh_token"]).await.0, 400);
    assert_eq!((me(&second).await, fixture.refresh(&second["refresh_token"]).await.0), (401, 400));

    let other = fixture.connect("offline_access").await;
    let revoke = |kind: &str| fixture.post(&format!("/simulator/tokens/revoke{kind}")).send();
    assert_eq!(revoke("?only=access").await.expect("an answer").status(), 204);
    assert_eq!(me(&other).await, 401);
    let (_, again) = fixture.refresh(&other["refresh_token"]).await;
    revoke("").await.expect("an answer");
    assert_eq!((me(&again).await, fixture.refresh(&again["refresh_token"]).await.0), (401, 400));
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn companies_access_only_their_own_things() {
    let fixture = Fixture::start().await;
    fixture.create("/api/v2/webhooks", json!({"hook_url": "http://crm.example"})).await;
    fixture.play(json!({"flow": "missed"})).await;
    fixture
        .switch(json!({"company_id": 99, "withheld_scopes": ["calls:list"], "enforce_scopes": true}))
        .await;
    let other = fixture.token("calls:list recordings_export").await;
    let read = |path: &str| status_and_json(fixture.get(path).bearer_auth(&other));
    assert_eq!(read("/api/v2/users/me").await.1["company_id"], "99");
    assert_eq!(read("/api/v2/webhooks").await, (200, json!({})));
    assert_eq!(read("/api/v2/call").await.0, 403);
    let theirs = fixture.read("/api/v2/call").await;
    let id = theirs["items"][0]["call_id"].as_str().expect("a call");
    assert_eq!(read(&format!("/api/v2/call/{id}")).await.0, 404);
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn the_controls_need_no_token_and_are_not_logged() {
    let fixture = Fixture::start().await;
    let hook = fixture.create("/api/v2/webhooks", json!({"hook_url": "http://crm.example"})).await;
    fixture.create("/api/v2/subscriptions/call", json!({"endpoint_id": hook["id"]})).await;
    let next = json!([{"to": "api", "answer": "server_error", "times": null}]);
    fixture.switch(json!({"next_answers": next})).await;
    let path = format!("/simulator/api/v2/webhooks/{}", hook["id"].as_str().expect("a string"));
    success_json(fixture.client.delete(fixture.url(&path))).await;
    assert_eq!(success_json(fixture.get("/simulator/api/v2/subscriptions/call")).await, json!({}));
    let log = success_json(fixture.get("/simulator/requests")).await;
    assert_eq!(log["requests"].as_array().map(Vec::len), Some(2));
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn the_limits_of_the_real_platform_can_be_enforced() {
    let fixture = Fixture::start().await;
    fixture.switch(json!({"enforce_rate_limits": true})).await;
    let ask = || fixture.get("/api/v2/call/7").bearer_auth("static-key").send();
    for _ in 0..10 {
        assert_eq!(ask().await.expect("an answer").status(), 404);
    }
    let rejected = ask().await.expect("an answer");
    assert_eq!(rejected.status(), 429);
    let wait: u64 = rejected.headers()["retry-after"].to_str().expect("ASCII").parse().expect("seconds");
    assert!((50..=60).contains(&wait), "{wait}");
    fixture.simulator.stop().await;
}
