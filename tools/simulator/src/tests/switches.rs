use super::*;

#[tokio::test]
async fn switches_are_read_set_back_and_refused_by_name() {
    let trial = Trial::start().await;
    let first = answered(trial.get("/simulator/switches")).await;
    trial.switch(json!({"enforce_scopes": true, "placed_call_pace": 0.5})).await;
    let put = trial.client.put(trial.url("/simulator/switches"));
    let (status, body) = replied(put.json(&json!({"enforced_scopes": true}))).await;
    assert!(status == 400 && body["error"].as_str().is_some_and(|error| error.contains("enforced_scopes")));
    assert_eq!(answered(trial.get("/simulator/switches")).await["placed_call_pace"], 0.5);
    answered(trial.client.put(trial.url("/simulator/switches")).json(&json!({}))).await;
    assert_eq!(answered(trial.get("/simulator/switches")).await, first);
    trial.simulator.stop().await;
}

#[tokio::test]
async fn the_next_answers_are_wrong_and_then_the_truth_comes_back() {
    let trial = Trial::start().await;
    let next = json!([
        {"to": "api", "answer": "too_many_requests", "retry_after": "7"},
        {"to": "api", "answer": "html", "only": "GET /api/v2/company"},
        {"to": "api", "answer": "server_error"},
        {"to": "api", "answer": "reset"},
    ]);
    trial.switch(json!({"next_answers": next})).await;
    let me = || trial.get("/api/v2/users/me").bearer_auth("static-key").send();
    let first = me().await.expect("an answer");
    assert_eq!(
        (first.status().as_u16(), &first.headers()["retry-after"]),
        (429, &"7".parse().expect("a value"))
    );
    assert_eq!(me().await.expect("an answer").status(), 500);
    let cut = me().await.expect_err("no answer");
    assert!(!cut.is_timeout() && !cut.is_connect(), "{cut:?}");
    assert_eq!(me().await.expect("an answer").status(), 200);
    let page = trial.get("/api/v2/company").bearer_auth("static-key").send().await.expect("an answer");
    assert!(page.text().await.expect("a body").starts_with("<!doctype html>"));
    assert_eq!(answered(trial.get("/simulator/switches")).await["next_answers"], json!([]));
    trial.simulator.stop().await;
}

#[tokio::test]
async fn an_answer_can_be_lost_after_its_request_took_effect() {
    let trial = Trial::start().await;
    let next = json!([{"to": "api", "answer": "reset", "takes_effect": true}]);
    trial.switch(json!({"next_answers": next})).await;
    let hook = trial.post("/api/v2/webhooks").bearer_auth("static-key");
    assert!(hook.json(&json!({"hook_url": "http://crm.example"})).send().await.is_err());
    assert_eq!(trial.read("/api/v2/webhooks").await["items"].as_array().map(Vec::len), Some(1));
    trial.simulator.stop().await;
}

#[tokio::test]
async fn the_book_of_requests_counts_by_outcome_and_shows_what_is_under_way() {
    let trial = Trial::start().await;
    let tokens = trial.connect("offline_access").await;
    assert_eq!(trial.refresh(&json!("wrong")).await.0, 400);
    trial.switch(json!({"token_answer_delay_ms": 60_000})).await;
    let book = || answered(trial.get("/simulator/requests?route=/oauth2/token"));
    let late = tokio::select! {
        _ = trial.refresh(&tokens["refresh_token"]) => panic!("answered"),
        late = until("the refresh took effect", async || {
            let last = book().await["requests"][2].clone();
            last["handled_at"].is_i64().then_some(last)
        }) => late,
    };
    assert_eq!((&late["answered_at"], &late["note"]), (&json!(null), &json!("refresh_token")));
    trial.switch(json!({"token_answer_delay_ms": 0})).await;
    assert_eq!(trial.refresh(&tokens["refresh_token"]).await.0, 400, "it was spent");
    let book = book().await;
    let counts: Vec<Value> = book["totals"]
        .as_array()
        .expect("totals")
        .iter()
        .map(|total| json!([total["note"], total["status"], total["count"]]))
        .collect();
    assert_eq!(
        json!(counts),
        json!([["refresh_token", null, 1], ["authorization_code", 200, 1], ["refresh_token", 400, 2]])
    );
    assert!(!book.to_string().contains("sim_"), "no token is written down");
    trial.simulator.stop().await;
}

#[tokio::test]
async fn token_answers_may_be_odd() {
    let trial = Trial::start().await;
    trial.switch(json!({"token_lifetime_seconds": 90})).await;
    let tokens = trial.connect("offline_access").await;
    assert_eq!(tokens["expires_in"], 90);
    let mut refresh_token = tokens["refresh_token"].clone();
    for odd in [json!("90"), json!(0), json!(-5)] {
        trial.switch(json!({"expires_in": odd})).await;
        let (_, answer) = trial.refresh(&refresh_token).await;
        assert_eq!(answer["expires_in"], odd);
        refresh_token = answer["refresh_token"].clone();
    }
    trial.switch(json!({"expires_in": "absent", "keep_refresh_tokens": true})).await;
    for _ in 0..2 {
        let (status, answer) = trial.refresh(&refresh_token).await;
        assert!(status == 200 && answer.get("expires_in").is_none() && answer.get("refresh_token").is_none());
    }
    trial.simulator.stop().await;
}

#[tokio::test]
async fn reuse_and_revocation_end_connections() {
    let trial = Trial::start().await;
    trial.switch(json!({"refresh_reuse_revokes": true})).await;
    let first = trial.connect("offline_access").await;
    let (_, second) = trial.refresh(&first["refresh_token"]).await;
    let me = async |tokens: &Value| {
        let token = tokens["access_token"].as_str().expect("a token");
        replied(trial.get("/api/v2/users/me").bearer_auth(token)).await.0
    };
    assert_eq!((me(&first).await, me(&second).await), (200, 200));
    assert_eq!(trial.refresh(&first["refresh_token"]).await.0, 400);
    assert_eq!((me(&second).await, trial.refresh(&second["refresh_token"]).await.0), (401, 400));

    let other = trial.connect("offline_access").await;
    let revoke = |kind: &str| trial.post(&format!("/simulator/tokens/revoke{kind}")).send();
    assert_eq!(revoke("?only=access").await.expect("an answer").status(), 204);
    assert_eq!(me(&other).await, 401);
    let (_, again) = trial.refresh(&other["refresh_token"]).await;
    revoke("").await.expect("an answer");
    assert_eq!((me(&again).await, trial.refresh(&again["refresh_token"]).await.0), (401, 400));
    trial.simulator.stop().await;
}

#[tokio::test]
async fn companies_see_their_own_things_only() {
    let trial = Trial::start().await;
    trial.create("/api/v2/webhooks", json!({"hook_url": "http://crm.example"})).await;
    trial.play(json!({"flow": "missed"})).await;
    trial.switch(json!({"company_id": 99, "withheld_scopes": ["calls:list"], "enforce_scopes": true})).await;
    let other = trial.token("calls:list recordings_export").await;
    let read = |path: &str| replied(trial.get(path).bearer_auth(&other));
    assert_eq!(read("/api/v2/users/me").await.1["company_id"], "99");
    assert_eq!(read("/api/v2/webhooks").await, (200, json!({})));
    assert_eq!(read("/api/v2/call").await.0, 403);
    let theirs = trial.read("/api/v2/call").await;
    let id = theirs["items"][0]["call_id"].as_str().expect("a call");
    assert_eq!(read(&format!("/api/v2/call/{id}")).await.0, 404);
    trial.simulator.stop().await;
}

#[tokio::test]
async fn the_controls_reach_everything_without_a_token_and_leave_no_trace() {
    let trial = Trial::start().await;
    let hook = trial.create("/api/v2/webhooks", json!({"hook_url": "http://crm.example"})).await;
    trial.create("/api/v2/subscriptions/call", json!({"endpoint_id": hook["id"]})).await;
    let next = json!([{"to": "api", "answer": "server_error", "times": null}]);
    trial.switch(json!({"next_answers": next})).await;
    let path = format!("/simulator/api/v2/webhooks/{}", hook["id"].as_str().expect("a string"));
    answered(trial.client.delete(trial.url(&path))).await;
    assert_eq!(answered(trial.get("/simulator/api/v2/subscriptions/call")).await, json!({}));
    let book = answered(trial.get("/simulator/requests")).await;
    assert_eq!(book["requests"].as_array().map(Vec::len), Some(2));
    trial.simulator.stop().await;
}

#[tokio::test]
async fn the_limits_of_the_real_platform_can_be_enforced() {
    let trial = Trial::start().await;
    trial.switch(json!({"enforce_rate_limits": true})).await;
    let ask = || trial.get("/api/v2/call/7").bearer_auth("static-key").send();
    for _ in 0..10 {
        assert_eq!(ask().await.expect("an answer").status(), 404);
    }
    let refused = ask().await.expect("an answer");
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().expect("ASCII").parse().expect("seconds");
    assert!((50..=60).contains(&wait), "{wait}");
    trial.simulator.stop().await;
}
