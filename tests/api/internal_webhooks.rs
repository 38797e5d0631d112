//! `/internal/webhooks`: what administrators see of the webhooks at Dialpad, and do with them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{App, Ask, Dialpad, Shows, TestServer, World, eventually, jws};

on_both_databases![
    a_webhook_is_made_once,
    a_webhook_is_shown_without_its_secret,
    webhooks_are_listed_in_pages,
    a_webhook_goes_by_our_name_and_by_dialpads,
    what_is_not_there_can_not_be_asked_for,
    dialpads_trouble_is_said_so,
    a_removed_webhook_stays_away_until_it_is_asked_for,
    a_removal_that_dialpad_did_not_hear_of_is_none,
    what_nobody_may_speak_for_is_forgotten_here_and_not_rotated,
    a_rotation_refuses_no_webhook,
    a_rotation_that_dialpad_did_not_hear_of_is_finished_later,
    an_app_of_the_static_key_gets_a_webhook_when_asked,
];

// Servers that share a database: on SQLite a second one is refused.
on_postgres![a_rotation_at_one_server_is_known_to_the_other];

async fn office(world: World, dialpad: &Dialpad) -> (TestServer, App) {
    let server = world.with_dialpad(dialpad).with("SUBSCRIPTION_CHECK_INTERVAL", "1s").start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    dialpad.wait_for_registration(&app).await;
    server.webhook_when(&app, "active").await;
    (server, app)
}

fn create(app: &App) -> String {
    format!("/internal/webhooks/create?app_id={}", app.id)
}

fn ring(call: i64) -> Value {
    json!({"state": "ringing", "call_id": call, "direction": "inbound", "event_timestamp": 1_704_067_200_000_i64 + call})
}

async fn emitted(server: &TestServer, app: &App, secret: &str, call: i64) -> u16 {
    let path = format!("/webhooks/{}", app.id);
    server.post(&path).body(jws(secret, &ring(call))).answer().await.status
}

async fn a_webhook_is_made_once(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let made = server.post(&create(&app)).by_admin().answer().await;
    assert_eq!(made.status, 201, "{made}");
    let again = server.post(&create(&app)).by_admin().answer().await.ok();
    assert_eq!(again["webhook_id"], made.json()["webhook_id"]);

    let standing = dialpad.wait_for_registration(&app).await;
    dialpad.change("/subscriptions/call", &standing.calls, json!({"enabled": false})).await;
    server.post(&create(&app)).by_admin().answer().await.ok();
    dialpad.wait_for_registration(&app).await;
    dialpad.remove("/subscriptions/call", &standing.calls).await;
    let made = server.post(&create(&app)).by_admin().answer().await;
    assert_eq!(made.status, 201, "{made}");
}

async fn a_webhook_is_shown_without_its_secret(world: World) {
    let dialpad = Dialpad::start().await;
    let (server, app) = office(world, &dialpad).await;
    let standing = dialpad.wait_for_registration(&app).await;
    let number = |item: &Value| item["id"].as_str().and_then(|id| id.parse::<i64>().ok());
    let answer = server.get("/internal/webhooks").by_admin().answer().await;
    assert!(!answer.body.contains(standing.secret()), "the secret is shown");
    let webhook = &answer.list()[0];
    webhook.shows(json!({
        "app_id": app.id,
        "hook_url": format!("{}/webhooks/{}", server.base_url, app.id),
        "dialpad_webhook_id": number(&standing.webhook),
        "subscriptions": [
            {"type": "call", "dialpad_subscription_id": number(&standing.calls)},
            {"type": "sms", "dialpad_subscription_id": number(&standing.messages)},
        ],
        "state": "active",
    }));
    assert!(webhook["webhook_id"].is_string() && webhook["created_at"].is_string(), "{webhook:#}");
    let as_text = server.get("/internal/webhooks?ids=string").by_admin().answer().await.list();
    assert_eq!(as_text[0]["dialpad_webhook_id"], standing.webhook["id"]);
    assert!(!server.process.log().contains(standing.secret()), "the secret is in the log");
}

async fn webhooks_are_listed_in_pages(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).start().await;
    let mut apps = BTreeSet::new();
    for name in ["a", "b", "c"] {
        let app = server.create_app(name).await;
        server.connect(&app).await;
        dialpad.wait_for_registration(&app).await;
        apps.insert(app.id);
    }
    let mut path = "/internal/webhooks?limit=2".to_owned();
    let (mut seen, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = server.get(&path).by_admin().answer().await;
        let items = page.list();
        sizes.push(items.len());
        seen.extend(items.iter().map(|it| it["app_id"].as_str().unwrap_or_default().to_owned()));
        match page.next_page() {
            Some(next) => path = next,
            None => break,
        }
    }
    assert_eq!(sizes, [2, 1]);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), apps);
    for wrong in ["limit=0", "limit=501", "cursor=x", "app_id=x", "nonsense=1"] {
        let name = wrong.split('=').next().unwrap_or_default();
        let path = format!("/internal/webhooks?{wrong}");
        server.get(&path).by_admin().answer().await.refuses_naming(name);
    }
}

async fn a_webhook_goes_by_our_name_and_by_dialpads(world: World) {
    let dialpad = Dialpad::start().await;
    let (server, app) = office(world, &dialpad).await;
    let webhook = server.webhook_of(&app).await.expect("a webhook");
    for name in
        [webhook["webhook_id"].as_str().unwrap_or_default(), &webhook["dialpad_webhook_id"].to_string()]
    {
        let one = server.get(&format!("/internal/webhooks/{name}")).by_admin().answer().await.ok();
        assert_eq!(one["webhook_id"], webhook["webhook_id"]);
    }
}

async fn what_is_not_there_can_not_be_asked_for(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let nobody = "01890000-0000-7000-8000-000000000000";
    server.post("/internal/webhooks/create").by_admin().answer().await.refuses(400, "INVALID_REQUEST");
    let of_nobody = format!("/internal/webhooks/create?app_id={nobody}");
    server.post(&of_nobody).by_admin().answer().await.refuses(404, "APP_NOT_FOUND");
    server.post(&create(&app)).by_admin().answer().await.refuses(409, "NOT_CONNECTED");
    assert!(server.webhook_of(&app).await.is_none());
    let list = format!("/internal/webhooks?app_id={nobody}");
    server.get(&list).by_admin().answer().await.refuses(404, "APP_NOT_FOUND");
    for name in [nobody, "42", "nonsense"] {
        let path = format!("/internal/webhooks/{name}");
        server.get(&path).by_admin().answer().await.refuses(404, "WEBHOOK_NOT_FOUND");
        let request = server.request(reqwest::Method::DELETE, &path);
        request.by_admin().answer().await.refuses(404, "WEBHOOK_NOT_FOUND");
        let rotate = server.post(&format!("{path}/rotate-secret"));
        rotate.by_admin().answer().await.refuses(404, "WEBHOOK_NOT_FOUND");
    }
    server.get("/internal/webhooks").answer().await.refuses(401, "MISSING_BEARER");
    server.post(&create(&app)).bearer_auth("wrong").answer().await.refuses(403, "FORBIDDEN");
}

async fn dialpads_trouble_is_said_so(world: World) {
    let mut dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let forbidden = json!([{"to": "api", "only": "POST /api/v2/webhooks", "answer": "forbidden"}]);
    dialpad.switch(&json!({"next_answers": forbidden})).await;
    server.post(&create(&app)).by_admin().answer().await.refuses(502, "DIALPAD_REFUSED");
    let webhook = server.webhook_of(&app).await.expect("it is wanted all the same");
    webhook.shows(json!({"state": "degraded", "dialpad_webhook_id": null}));
    assert!(webhook["problems"].to_string().contains("403"), "{webhook:#}");
    dialpad.process.kill();
    let away = server.post(&create(&app)).by_admin().answer().await;
    away.refuses(503, "DIALPAD_UNAVAILABLE");
    assert!(away.header("retry-after").is_some(), "{away}");
}

async fn a_removed_webhook_stays_away_until_it_is_asked_for(world: World) {
    let dialpad = Dialpad::start().await;
    let (server, app) = office(world, &dialpad).await;
    let other = server.create_app("another CRM").await;
    server.connect(&other).await;
    dialpad.wait_for_registration(&other).await;
    let before = dialpad.wait_for_registration(&app).await;
    let webhook = server.webhook_of(&app).await.expect("a webhook");
    let path = format!("/internal/webhooks/{}", webhook["webhook_id"].as_str().unwrap_or_default());
    let removed = server.request(reqwest::Method::DELETE, &path).by_admin().answer().await;
    assert_eq!((removed.status, removed.body.as_str()), (204, ""));
    server
        .request(reqwest::Method::DELETE, &path)
        .by_admin()
        .answer()
        .await
        .refuses(404, "WEBHOOK_NOT_FOUND");
    assert!(server.webhook_of(&app).await.is_none());

    let looks = server.webhook_checks().await;
    eventually("the other app was looked after twice", async || {
        (server.webhook_checks().await >= looks + 2.0).then_some(())
    })
    .await;
    assert_eq!(dialpad.registry("/webhooks").await.len(), 1);
    assert_eq!(dialpad.registry("/subscriptions/call").await.len(), 1);
    assert_eq!(emitted(&server, &app, before.secret(), 1).await, 200, "what was under way is still taken");

    let made = server.post(&create(&app)).by_admin().answer().await;
    assert_eq!(made.status, 201, "{made}");
    assert_ne!(made.json()["webhook_id"], webhook["webhook_id"]);
    let after = dialpad.wait_for_registration(&app).await;
    assert_ne!(after.secret(), before.secret());
    assert_eq!(emitted(&server, &app, before.secret(), 2).await, 200);
    assert_eq!(emitted(&server, &app, after.secret(), 3).await, 200);
}

async fn a_removal_that_dialpad_did_not_hear_of_is_none(world: World) {
    let mut dialpad = Dialpad::start().await;
    let (server, app) = office(world, &dialpad).await;
    let webhook = server.webhook_of(&app).await.expect("a webhook");
    dialpad.process.kill();
    let path = format!("/internal/webhooks/{}", webhook["webhook_id"].as_str().unwrap_or_default());
    let away = server.request(reqwest::Method::DELETE, &path).by_admin().answer().await;
    away.refuses(503, "DIALPAD_UNAVAILABLE");
    assert!(server.webhook_of(&app).await.is_some());
}

async fn what_nobody_may_speak_for_is_forgotten_here_and_not_rotated(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad);
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    dialpad.wait_for_registration(&app).await;
    let webhook = server.webhook_when(&app, "active").await;
    let path = format!("/internal/webhooks/{}", webhook["webhook_id"].as_str().unwrap_or_default());
    world.execute("UPDATE dialpad_connections SET status = 'expired'").await;
    let refused = eventually("the end of the connection is known", async || {
        let rotated = server.post(&format!("{path}/rotate-secret")).by_admin().answer().await;
        (rotated.status != 200).then_some(rotated)
    })
    .await;
    refused.refuses(401, "TOKENS_EXPIRED");
    let removed = server.request(reqwest::Method::DELETE, &path).by_admin().answer().await;
    assert_eq!(removed.status, 204, "{removed}");
    assert!(server.webhook_of(&app).await.is_none());
}

async fn a_rotation_refuses_no_webhook(world: World) {
    let dialpad = Dialpad::start().await;
    let (server, app) = office(world, &dialpad).await;
    let webhook = server.webhook_of(&app).await.expect("a webhook");
    let name = webhook["webhook_id"].as_str().unwrap_or_default();
    let rotate = format!("/internal/webhooks/{name}/rotate-secret");
    let calls = json!({"flow": "answered", "calls": 200, "rate": 25, "pace": 0});
    let rotating = async {
        let mut secrets = vec![dialpad.wait_for_registration(&app).await.secret().to_owned()];
        for _ in 0..4 {
            let rotated = server.post(&rotate).by_admin().answer().await;
            rotated.ok().shows(json!({"webhook_id": name, "state": "active"}));
            let secret = dialpad.wait_for_registration(&app).await.secret().to_owned();
            assert!(!rotated.body.contains(&secret) && !secrets.contains(&secret), "{rotated}");
            secrets.push(secret);
            let so_far = server.metrics().await.sum("cti_webhooks_total", &[]);
            eventually("more webhooks came", async || {
                (server.metrics().await.sum("cti_webhooks_total", &[]) >= so_far + 60.0).then_some(())
            })
            .await;
        }
        secrets
    };
    let (deliveries, secrets) = tokio::join!(dialpad.play(&calls), rotating);
    assert!(deliveries.len() > 100, "{}", deliveries.len());
    let refused: Vec<_> = deliveries.iter().filter(|it| it["status"] != 200 || it["attempts"] != 1).collect();
    assert!(refused.is_empty(), "{refused:#?}");

    for (secret, call) in secrets.iter().zip(1..) {
        assert_eq!(emitted(&server, &app, secret, call).await, 200, "an old secret is taken for a day");
    }
    assert_eq!(emitted(&server, &app, "another secret", 99).await, 401);
    let log = server.process.log();
    assert!(secrets.iter().all(|secret| !log.contains(secret)), "a secret is in the log");
}

async fn a_rotation_at_one_server_is_known_to_the_other(world: World) {
    let dialpad = Dialpad::start().await;
    let world = world.with_dialpad(&dialpad);
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    server.webhook_when(&app, "active").await;
    let other = world.with("PUBLIC_URL", &server.base_url).start().await;
    let name = server.webhook_of(&app).await.expect("a webhook")["webhook_id"].clone();
    let rotate = format!("/internal/webhooks/{}/rotate-secret", name.as_str().unwrap_or_default());
    for round in 0..3 {
        let before = dialpad.wait_for_registration(&app).await;
        assert_eq!(emitted(&server, &app, before.secret(), 3 * round).await, 200, "and it is remembered");
        other.post(&rotate).by_admin().answer().await.ok();
        let after = dialpad.wait_for_registration(&app).await;
        assert_eq!(emitted(&server, &app, after.secret(), 3 * round + 1).await, 200);
        assert_eq!(emitted(&server, &app, before.secret(), 3 * round + 2).await, 200);
    }
}

async fn a_rotation_that_dialpad_did_not_hear_of_is_finished_later(world: World) {
    let dialpad = Dialpad::start().await;
    let (server, app) = office(world, &dialpad).await;
    let before = dialpad.wait_for_registration(&app).await;
    let webhook = server.webhook_of(&app).await.expect("a webhook");
    let failing =
        json!([{"to": "api", "only": "PATCH /api/v2/webhooks/{id}", "answer": "server_error", "times": 3}]);
    dialpad.switch(&json!({"next_answers": failing})).await;
    let name = webhook["webhook_id"].as_str().unwrap_or_default();
    let rotate = format!("/internal/webhooks/{name}/rotate-secret");
    server.post(&rotate).by_admin().answer().await.refuses(503, "DIALPAD_UNAVAILABLE");
    assert_eq!(emitted(&server, &app, before.secret(), 1).await, 200);
    let after = eventually("Dialpad signs with the new secret", async || {
        dialpad.registration(&app).await.filter(|standing| standing.secret() != before.secret())
    })
    .await;
    assert_eq!(emitted(&server, &app, after.secret(), 2).await, 200);
    assert_eq!(emitted(&server, &app, before.secret(), 3).await, 200);
    assert!(
        !server.process.log().contains("calls may have been missed and will be recovered"),
        "both secrets were good"
    );
}

async fn an_app_of_the_static_key_gets_a_webhook_when_asked(world: World) {
    let dialpad = Dialpad::start().await;
    let key = dialpad.some_token().await;
    let world = world.with_dialpad(&dialpad).with("DIALPAD_API_KEY", &key);
    let server = world.with("SUBSCRIPTION_CHECK_INTERVAL", "1s").start().await;
    let app = server.create_app("CRM").await;
    let made = server.post(&create(&app)).by_admin().answer().await;
    assert_eq!(made.status, 201, "{made}");
    let standing = dialpad.wait_for_registration(&app).await;
    dialpad.remove("/webhooks", &standing.webhook).await;
    dialpad.wait_for_registration(&app).await;
    server.create_app("another CRM").await;
    assert_eq!(dialpad.registry("/webhooks").await.len(), 1);
}
