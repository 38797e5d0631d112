//! A signed webhook on its whole way: an app is created, its key is used and replaced, a call arrives and is delivered, and
//! the app is deleted again.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cti_client::{Item, Subscription};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::Sha256;
use tokio::time::timeout;

use super::{
    check::Check,
    probe::{Server, outcome},
};
use crate::config::Config;

/// The workflow promises a call's record within this time.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);
/// No company of Dialpad has this call.
const CALL: i64 = 1;

pub(super) async fn check(config: &Config, server: &Server, secret: &str) -> Vec<Check> {
    let body = json!({"name": "cti-server doctor (a test, deleted at once)"});
    let created = server.administer(Method::POST, "/internal/apps", secret, Some(body)).await;
    let app = created.as_ref().map(|answer| answer.json()).unwrap_or_default();
    let (Some(id), Some(key)) = (app["app_id"].as_str(), app["api_key"].as_str()) else {
        let how = format!("POST /internal/apps {}", outcome(&created));
        return vec![Check::fail("test_webhook", how, "look into the server's log")];
    };
    let mut checks = vec![deliver(config, server, id, key).await];
    checks.push(record(server, key).await);
    checks.push(rotation(server, secret, id, key).await);
    let deleted = server.administer(Method::DELETE, &format!("/internal/apps/{id}"), secret, None).await;
    checks.push(Check::advise(
        "test_app_deleted",
        deleted.as_ref().is_ok_and(|answer| answer.status.is_success()),
        format!("DELETE /internal/apps/{id} {}", outcome(&deleted)),
        "delete the app by hand",
    ));
    checks
}

/// Follows the app over a WebSocket, posts a webhook, and waits for its event.
async fn deliver(config: &Config, server: &Server, app: &str, key: &str) -> Check {
    let name = "test_webhook";
    let fix = "look into the server's log; a proxy in front must let WebSockets through and pass the body unchanged";
    let Some(webhook_secret) = config.webhook_secrets.first() else {
        return Check::fail(name, "there is no webhook secret", "set DIALPAD_WEBHOOK_SECRET");
    };
    let subscribed =
        Subscription::new(server.base().as_str(), key.to_owned()).map_err(|error| error.to_string());
    let feed = subscribed.and_then(|feed| feed.after(0).open().map_err(|error| error.to_string()));
    let mut feed = match feed {
        Ok(feed) => feed,
        Err(error) => return Check::fail(name, error, fix),
    };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let body = json!({
        "event_type": "call.ring", "event_id": format!("doctor-{app}"), "call_id": CALL, "direction": "inbound",
        "from_number": "+14155550100", "to_number": "+14155550101", "timestamp": seconds,
    })
    .to_string();
    let mac = Hmac::<Sha256>::new_from_slice(webhook_secret.expose_secret().as_bytes());
    let mac = mac.expect("HMAC takes keys of any length").chain_update(&body);
    let signature = hex::encode(mac.finalize().into_bytes());
    let headers = [(config.signature_header.as_str(), signature.as_str())];
    let began = Instant::now();
    let answer = server.send(Method::POST, &format!("/webhooks/{app}"), &headers, Some(body)).await;
    let answered_in = began.elapsed();
    if !answer
        .as_ref()
        .is_ok_and(|answer| answer.status == StatusCode::OK && answer.json()["success"] == true)
    {
        feed.close().await;
        return Check::fail(name, format!("POST /webhooks/{app} {}", outcome(&answer)), fix);
    }
    let event = async {
        while let Some(item) = feed.next().await {
            match item {
                Ok(Item::Event(event)) if event.kind == "call.ring" => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("the feed ended".to_owned())
    };
    let arrived = timeout(EVENT_TIMEOUT, event).await;
    let took = began.elapsed();
    feed.close().await;
    match arrived {
        Ok(Ok(())) => Check::ok(
            name,
            format!(
                "a signed webhook was acknowledged in {} ms, its event was on the WebSocket after {} ms",
                answered_in.as_millis(),
                took.as_millis()
            ),
        ),
        Ok(Err(error)) => Check::fail(name, format!("the webhook was acknowledged, but /ws: {error}"), fix),
        Err(_) => {
            let seconds = EVENT_TIMEOUT.as_secs();
            let how = format!("the webhook was acknowledged, but no event was on /ws within {seconds} s");
            Check::fail(name, how, fix)
        }
    }
}

/// Looks for the call over REST.
async fn record(server: &Server, key: &str) -> Check {
    let answer = server.send(Method::GET, "/api/calls", &[("x-api-key", key)], None).await;
    let calls = answer.as_ref().map(|answer| answer.json()).unwrap_or_default();
    let calls = calls.as_array().cloned().unwrap_or_default();
    Check::require(
        "test_call",
        calls.iter().any(|call| call["dialpad_call_id"] == json!(CALL)),
        format!("GET /api/calls {}, with {} calls", outcome(&answer), calls.len()),
        "look into the server's log: the call was not stored",
    )
}

/// Replaces the key, and uses both.
async fn rotation(server: &Server, secret: &str, app: &str, old: &str) -> Check {
    let path = format!("/internal/apps/{app}/api-key");
    let rotated = server.administer(Method::POST, &path, secret, None).await;
    let new = rotated.as_ref().map(|answer| answer.json()).unwrap_or_default();
    let new = new["api_key"].as_str().unwrap_or_default();
    let with = async |key: &str| {
        let answer = server.send(Method::GET, "/status", &[("x-api-key", key)], None).await;
        answer.map_or(0, |answer| answer.status.as_u16())
    };
    let (of_new, of_old) = (with(new).await, with(old).await);
    Check::require(
        "key_rotation",
        of_new == 200 && matches!(of_old, 401 | 403),
        format!("after POST {path} the new key was answered {of_new}, the old one {of_old}"),
        "nothing in front of the server may keep answers of /status",
    )
}
