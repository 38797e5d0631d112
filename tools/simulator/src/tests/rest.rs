use super::*;

#[tokio::test]
async fn webhooks_can_be_created_read_changed_and_deleted() {
    let fixture = Fixture::start().await;
    let body = json!({"hook_url": "http://crm.example/webhooks/1", "secret": "s3cret"});
    let made = fixture.create("/api/v2/webhooks", body).await;
    let path = format!("/api/v2/webhooks/{}", made["id"].as_str().expect("int64 as a string"));
    assert_eq!(made["signature"], json!({"algo": "HS256", "type": "jwt", "secret": "s3cret"}));
    assert_eq!(success_json(fixture.get(&path).bearer_auth("static-key")).await, made);

    let patch =
        fixture.client.patch(fixture.url(&path)).bearer_auth("static-key").json(&json!({"secret": ""}));
    assert_eq!(success_json(patch).await.get("signature"), None);
    success_json(fixture.client.delete(fixture.url(&path)).bearer_auth("static-key")).await;
    assert_eq!(status_and_json(fixture.get(&path).bearer_auth("static-key")).await.0, 404);
    let bad =
        fixture.post("/api/v2/webhooks").bearer_auth("static-key").json(&json!({"hook_url": "crm.example"}));
    assert_eq!(status_and_json(bad).await.0, 400);
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn subscriptions_can_be_changed_and_are_deleted_with_their_webhook() {
    let fixture = Fixture::start().await;
    let hook = fixture.create("/api/v2/webhooks", json!({"hook_url": "http://crm.example"})).await;
    let body = json!({"endpoint_id": hook["id"], "call_states": ["ringing", "hangup"]});
    let calls = fixture.create("/api/v2/subscriptions/call", body).await;
    assert_eq!((&calls["enabled"], &calls["webhook"]["id"]), (&json!(true), &hook["id"]));
    let body = json!({"endpoint_id": hook["id"], "direction": "inbound"});
    let texts = fixture.create("/api/v2/subscriptions/sms", body).await;

    let path = format!("/api/v2/subscriptions/call/{}", calls["id"].as_str().expect("a string"));
    let patch =
        fixture.client.patch(fixture.url(&path)).bearer_auth("static-key").json(&json!({"enabled": false}));
    let patched = success_json(patch).await;
    assert_eq!((&patched["enabled"], &patched["call_states"]), (&json!(false), &calls["call_states"]));
    let wrong_kind = format!("/api/v2/subscriptions/call/{}", texts["id"].as_str().expect("a string"));
    assert_eq!(status_and_json(fixture.get(&wrong_kind).bearer_auth("static-key")).await.0, 404);
    let listed = success_json(fixture.get("/api/v2/subscriptions/sms").bearer_auth("static-key")).await;
    assert_eq!(listed, json!({"items": [texts]}));

    let hook_path = format!("/api/v2/webhooks/{}", hook["id"].as_str().expect("a string"));
    success_json(fixture.client.delete(fixture.url(&hook_path)).bearer_auth("static-key")).await;
    let listed = success_json(fixture.get("/api/v2/subscriptions/call").bearer_auth("static-key")).await;
    assert_eq!(listed, json!({}), "an empty list is left out");
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn invalid_subscriptions_are_rejected() {
    let fixture = Fixture::start().await;
    let hook = fixture.create("/api/v2/webhooks", json!({"hook_url": "http://crm.example"})).await;
    let cases = [
        ("call", json!({"endpoint_id": 1})),
        ("call", json!({"call_states": ["ringing"]})),
        ("call", json!({"endpoint_id": hook["id"], "call_states": ["answered"]})),
        ("call", json!({"endpoint_id": hook["id"], "target_type": "user"})),
        ("sms", json!({"endpoint_id": hook["id"]})),
        ("sms", json!({"endpoint_id": hook["id"], "direction": "both"})),
    ];
    for (kind, body) in cases {
        let request =
            fixture.post(&format!("/api/v2/subscriptions/{kind}")).bearer_auth("static-key").json(&body);
        assert_eq!(status_and_json(request).await.0, 400, "{kind} {body}");
    }
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let fixture = Fixture::start().await;
    for number in 0..21 {
        fixture.create("/api/v2/webhooks", json!({"hook_url": format!("http://crm.example/{number}")})).await;
    }
    let page = |query: Vec<(&'static str, String)>| {
        success_json(fixture.get("/api/v2/webhooks").query(&query).bearer_auth("static-key"))
    };
    let first = page(Vec::new()).await;
    let second = page(vec![("cursor", first["cursor"].as_str().expect("more").to_owned())]).await;
    assert_eq!(first["items"].as_array().map(Vec::len), Some(20));
    assert_eq!(second["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(second.get("cursor"), None);
    fixture.simulator.stop().await;
}

#[tokio::test]
async fn a_company_may_have_ten_subscriptions_to_everything() {
    let fixture = Fixture::start().await;
    let hook = fixture.create("/api/v2/webhooks", json!({"hook_url": "http://crm.example"})).await;
    for _ in 0..10 {
        fixture.create("/api/v2/subscriptions/call", json!({"endpoint_id": hook["id"]})).await;
    }
    let more = |body: Value| {
        status_and_json(fixture.post("/api/v2/subscriptions/call").bearer_auth("static-key").json(&body))
    };
    assert_eq!(more(json!({"endpoint_id": hook["id"]})).await.0, 400);
    let of_user = json!({"endpoint_id": hook["id"], "target_type": "user", "target_id": 5});
    assert_eq!(more(of_user).await.0, 200);
    fixture.simulator.stop().await;
}
