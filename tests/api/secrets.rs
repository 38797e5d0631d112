//! What must never be written into a log, however talkative it is.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    ADMIN_SECRET, App, Ask, CLIENT_SECRET, Call, Dialpad, TestServer, WEBHOOK_SECRET, World, eventually,
    hmac_hex,
};

on_both_databases![no_secret_key_token_or_code_is_ever_logged];

async fn no_secret_key_token_or_code_is_ever_logged(world: World) {
    let dialpad = Dialpad::start().await;
    let world =
        world.with_dialpad(&dialpad).with("RUST_LOG", "trace").with("METRICS_TOKEN", "the-metrics-token");
    let token_key = world.setting("TOKEN_ENCRYPTION_KEY").to_owned();
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let sent = server.authorize(&app).await;
    let callback = server.approve(&sent).await;
    server.finish_authorization(&callback, sent.cookie()).await.ok();
    let order = json!({"flow": "answered", "pace": 0, "wait_for_subscriber": true});
    let delivered = dialpad.play(&order).await;
    let call = delivered[0]["call_id"].as_i64().expect("a call was emitted of");
    let hook_secrets = ask_dialpad_for_everything(&dialpad, &server, &app, call).await;

    // Tokens are renewed, in vain and with success.
    let failing = json!({"next_answers": [{"to": "token", "answer": "html"}]});
    dialpad.switch(&failing).await;
    dialpad.revoke_tokens(Some("access")).await;
    let order = json!({"dialpad_user_id": Dialpad::USER, "phone_number": "+14155551234"});
    server.post("/api/calls").by(&app).json(&order).answer().await.fails_with(503);
    server.feed_until(&app, "connection.recovered").await;

    let mut by_query = server.open_socket(&format!("/ws?api_key={}", app.key), &[]).await;
    by_query.expect("connected").await;
    let mut by_message = server.open_socket("/ws", &[]).await;
    by_message.send_subscribe(&app.key).await;
    by_message.expect("connected").await;
    for header in ["x-api-key", "x-app-api-key"] {
        server.get("/api/calls").header(header, &app.key).answer().await.ok();
    }
    server.get("/api/calls").bearer_auth(&app.key).answer().await.ok();
    server.get("/metrics").bearer_auth("the-metrics-token").answer().await;
    server.handshake("/ws?api_key=raw_a-key-that-was-mistyped").answer().await.fails_with(401);
    server.post("/internal/apps").bearer_auth("a-bearer-that-was-mistyped").answer().await.fails_with(403);
    let body = Call::new(1).ring(0).to_string();
    let signature = hmac_hex(WEBHOOK_SECRET, body.as_bytes());
    server.post_webhook("/webhooks", &body).await.ok();
    let next = server.rotate_key(&app, None).await;
    assert_eq!(by_query.close_code().await, Some(4403));

    let in_address = |address: &str, name: &str| {
        let url = reqwest::Url::parse(address).expect("an address");
        url.query_pairs().find(|(key, _)| key == name).expect("it is there").1.into_owned()
    };
    let code = in_address(&callback, "code");
    let state = in_address(&callback, "state");
    let cookie = sent.cookie().split_once('=').expect("a cookie has a value").1.to_owned();
    let log = server.process.log();
    assert!(log.contains("/callback"), "this log says nothing:\n{log}");
    for secret in &hook_secrets {
        assert!(secret.len() >= 32 && !log.contains(secret.as_str()), "the secret of a webhook was logged");
    }
    for (what, secret) in [
        ("the admin secret", ADMIN_SECRET),
        ("the webhook secret", WEBHOOK_SECRET),
        ("the token key", &token_key),
        ("the OAuth client's secret", CLIENT_SECRET),
        ("the metrics token", "the-metrics-token"),
        ("an API key", &app.key),
        ("a new API key", &next.key),
        ("a mistyped API key", "a-key-that-was-mistyped"),
        ("a mistyped bearer", "a-bearer-that-was-mistyped"),
        ("an OAuth code", &code),
        ("an OAuth state", &state),
        ("the browser's cookie", &cookie),
        ("a signature", &signature),
        ("a token", "sim_access"),
        ("a refresh token", "sim_refresh"),
        ("a code", "sim_code"),
        ("the signature of a recording's link", "signature="),
    ] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(secret)).take(3).collect();
        assert!(lines.is_empty(), "{what} was logged:\n{}", lines.join("\n"));
    }
}

/// Everything that goes to Dialpad with a token: a recording, a call that is placed, a token that is renewed because it
/// was revoked, a webhook's secret that is rotated. Gives the secrets of the app's webhook, the old one and the new.
pub(super) async fn ask_dialpad_for_everything(
    dialpad: &Dialpad,
    server: &TestServer,
    app: &App,
    call: i64,
) -> Vec<String> {
    let mut secrets = vec![hook_secret(dialpad).await];
    server.feed_until(app, "call.ended").await;
    eventually("the recording can be heard", async || {
        let answer = server.get(&format!("/api/calls/{call}/recording")).by(app).send().await;
        answer.is_ok_and(|answer| answer.status() == 200).then_some(())
    })
    .await;
    dialpad.revoke_tokens(Some("access")).await;
    let order = json!({"dialpad_user_id": Dialpad::USER, "phone_number": "+14155551234"});
    let placed = server.post("/api/calls").by(app).json(&order).answer().await;
    assert_eq!(placed.status, 201, "{placed}");
    dialpad.switch(&json!({"next_answers": [{"to": "token", "answer": "html"}]})).await;
    dialpad.revoke_tokens(Some("access")).await;
    server.post("/api/calls").by(app).json(&order).answer().await.fails_with(503);

    dialpad.switch(&json!({"next_answers": []})).await;
    let hooks = server.get(&format!("/internal/webhooks?app_id={}", app.id)).by_admin().answer().await.list();
    let rotate =
        format!("/internal/webhooks/{}/rotate-secret", hooks[0]["webhook_id"].as_str().expect("an id"));
    eventually("the secret is rotated", async || {
        let answer = server.post(&rotate).by_admin().answer().await;
        (answer.status == 200).then_some(())
    })
    .await;
    secrets.push(hook_secret(dialpad).await);
    assert_ne!(secrets[0], secrets[1]);
    secrets
}

/// The secret of the only webhook at Dialpad, which it shows to a caller who may see the webhook.
async fn hook_secret(dialpad: &Dialpad) -> String {
    let hooks = dialpad.api(Method::GET, "/webhooks").answer().await.ok();
    let secret = hooks["items"][0]["signature"]["secret"].as_str().map(str::to_owned);
    secret.unwrap_or_else(|| panic!("no secret: {hooks:#}"))
}
