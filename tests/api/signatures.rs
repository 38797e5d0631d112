//! Who may post a webhook.

use base64::prelude::{
    BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD, Engine,
};
use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::support::{
    Ack, App, Ask, Call, TestServer, WEBHOOK_SECRET, With, World, hmac, hmac_hex, jws, jws_with, kinds,
    lengthened,
};

on_both_databases![
    every_spelling_of_an_hmac_is_accepted,
    a_jws_is_accepted_whatever_its_content_type,
    what_is_not_authentic_is_refused_and_leaves_no_trace,
    only_hs256_signs_a_jws,
    both_webhook_secrets_are_valid_while_one_is_rotated_out,
    the_signature_header_can_be_renamed,
    an_unknown_app_looks_like_a_bad_signature,
    a_webhook_may_have_256_kib_and_no_byte_more,
    a_compressed_body_is_refused,
];

const LARGEST: usize = 256 << 10;

fn path_of(app: &App) -> String {
    format!("/webhooks/{}", app.id)
}

async fn every_spelling_of_an_hmac_is_accepted(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let spellings: [fn(&[u8]) -> String; 8] = [
        |mac| hex::encode(mac),
        |mac| hex::encode_upper(mac),
        |mac| format!("sha256={}", hex::encode(mac)),
        |mac| format!("sha256={}", BASE64_STANDARD.encode(mac)),
        |mac| BASE64_STANDARD.encode(mac),
        |mac| BASE64_STANDARD_NO_PAD.encode(mac),
        |mac| BASE64_URL_SAFE.encode(mac),
        |mac| BASE64_URL_SAFE_NO_PAD.encode(mac),
    ];
    for (call_id, spell) in (1..).zip(spellings) {
        let body = Call::new(call_id).ring(0).to_string();
        let signature = spell(&hmac(WEBHOOK_SECRET, body.as_bytes()));
        let request = server.post(&path_of(&app)).header("x-dialpad-signature", signature).body(body);
        Ack::of(&request.answer().await);
    }
    let emitted = server.wait_for_events(&app, spellings.len()).await;
    assert_eq!(kinds(&emitted), ["call.ring"; 8]);
}

async fn a_jws_is_accepted_whatever_its_content_type(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let media_types = ["application/jwt", "application/json", "text/plain", ""];
    for (call_id, media_type) in (1..).zip(media_types) {
        let body = jws(WEBHOOK_SECRET, &Call::new(call_id).state("ringing", 0));
        let request = server.post(&path_of(&app)).header("content-type", media_type).body(body);
        assert!(!Ack::of(&request.answer().await).duplicate);
    }
    server.wait_for_events(&app, media_types.len()).await;
}

async fn what_is_not_authentic_is_refused_and_leaves_no_trace(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let payload = Call::new(1).ring(0);
    let body = payload.to_string();
    let attempts = [
        None,
        Some(String::new()),
        Some("nonsense".to_owned()),
        Some(hmac_hex("another secret", body.as_bytes())),
        Some(hmac_hex(WEBHOOK_SECRET, b"another body")),
        Some(hmac_hex(WEBHOOK_SECRET, body.as_bytes())[..32].to_owned()),
    ];
    for path in ["/webhooks".to_owned(), "/webhooks/dialpad".to_owned(), path_of(&app)] {
        for signature in &attempts {
            let mut request = server.post(&path).body(body.clone());
            if let Some(signature) = signature {
                request = request.header("x-dialpad-signature", signature);
            }
            request.answer().await.refuses(401, "INVALID_SIGNATURE");
        }
        let forged = server.post(&path).body(jws("another secret", &payload));
        forged.answer().await.refuses(401, "INVALID_SIGNATURE");
    }
    assert!(!server.webhook(&app, &payload).await.duplicate, "a refused webhook was kept");
    server.wait_for_events(&app, 1).await;
}

async fn only_hs256_signs_a_jws(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let claims = Call::new(1).ring(0);
    let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!("{}.{}", part(json!({"alg": "none", "typ": "JWT"})), part(claims.clone()));
    for body in [
        jws_with(Algorithm::HS384, WEBHOOK_SECRET, &claims),
        jws_with(Algorithm::HS512, WEBHOOK_SECRET, &claims),
        format!("{unsigned}."),
        unsigned,
    ] {
        server.post(&path_of(&app)).body(body).answer().await.refuses(401, "INVALID_SIGNATURE");
    }
}

async fn both_webhook_secrets_are_valid_while_one_is_rotated_out(world: World) {
    let server = world.with("DIALPAD_WEBHOOK_SECRET", "the-next-secret,the-last-secret").start().await;
    let app = server.create_app("CRM").await;
    for (call_id, secret) in (1..).zip(["the-next-secret", "the-last-secret"]) {
        let body = Call::new(call_id).ring(0).to_string();
        let signature = hmac_hex(secret, body.as_bytes());
        let signed = server.post(&path_of(&app)).header("x-dialpad-signature", signature).body(body);
        Ack::of(&signed.answer().await);
        let sealed = server.post(&path_of(&app)).body(jws(secret, &Call::new(call_id).started(3)));
        Ack::of(&sealed.answer().await);
    }
    server.wait_for_events(&app, 4).await;
}

async fn the_signature_header_can_be_renamed(world: World) {
    let server = world.with("DIALPAD_WEBHOOK_SIGNATURE_HEADER", "x-hub-signature-256").start().await;
    let app = server.create_app("CRM").await;
    let body = Call::new(1).ring(0).to_string();
    let signature = hmac_hex(WEBHOOK_SECRET, body.as_bytes());
    let post = |header: &str| server.post(&path_of(&app)).header(header, &signature).body(body.clone());
    post("x-dialpad-signature").answer().await.refuses(401, "INVALID_SIGNATURE");
    Ack::of(&post("x-hub-signature-256").answer().await);
}

async fn an_unknown_app_looks_like_a_bad_signature(world: World) {
    let server = world.start().await;
    let body = Call::new(1).ring(0).to_string();
    for app in ["01890000-0000-7000-8000-000000000000", "nonsense"] {
        let answer = server.post_webhook(&format!("/webhooks/{app}"), &body).await;
        answer.refuses(401, "INVALID_SIGNATURE");
    }
}

async fn a_webhook_may_have_256_kib_and_no_byte_more(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let largest = lengthened(Call::new(1).ring(0), LARGEST);
    assert!(!Ack::of(&server.post_webhook(&path_of(&app), &largest).await).duplicate);
    server.wait_for_events(&app, 1).await;

    let too_large = lengthened(Call::new(2).ring(0), LARGEST + 1);
    server.post_webhook(&path_of(&app), &too_large).await.fails_with(413);
    let signature = hmac_hex(WEBHOOK_SECRET, too_large.as_bytes());
    let parts: Vec<Result<Vec<u8>, std::io::Error>> =
        too_large.as_bytes().chunks(64 << 10).map(|part| Ok(part.to_vec())).collect();
    let of_unknown_length = reqwest::Body::wrap_stream(futures_util::stream::iter(parts));
    let request =
        server.post(&path_of(&app)).header("x-dialpad-signature", signature).body(of_unknown_length);
    request.answer().await.fails_with(413);
}

async fn a_compressed_body_is_refused(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    refuses_encoding(&server, &app, "gzip").await;
    refuses_encoding(&server, &app, "br").await;
    server.webhook(&app, &Call::new(1).ring(0).with("encoding", "none")).await;
    server.wait_for_events(&app, 1).await;
}

async fn refuses_encoding(server: &TestServer, app: &App, encoding: &str) {
    let body = Call::new(2).ring(0).to_string();
    let signature = hmac_hex(WEBHOOK_SECRET, body.as_bytes());
    let request = server.post(&path_of(app)).header("x-dialpad-signature", signature);
    request.header("content-encoding", encoding).body(body).answer().await.fails_with(415);
}
