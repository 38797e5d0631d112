//! What is stricter in production, and what outlives its retention.

use chrono::DateTime;
use cti_actors::clock::{Clock, SystemClock};
use serde_json::json;

use crate::support::{Ask, Call, NOON, Shows, World, eventually};

on_both_databases![plain_http_is_sent_to_https_in_production, a_cursor_older_than_the_retention_has_expired];

async fn plain_http_is_sent_to_https_in_production(world: World) {
    let world = world.with("CTI_ENV", "production").with("PUBLIC_URL", "https://cti.example.com");
    let server = world.start().await;
    let plain = |request: reqwest::RequestBuilder| request.header("x-forwarded-proto", "http");

    let moved = server.browser().get(format!("http://{}/status?ids=string", server.address()));
    let moved = plain(moved).send().await.expect("an answer");
    assert_eq!(moved.status(), 308);
    assert_eq!(moved.headers()["location"], "https://cti.example.com/status?ids=string");

    let looked_at = server.browser().head(format!("http://{}/status", server.address()));
    assert_eq!(plain(looked_at).send().await.expect("an answer").status(), 308);
    let refused = plain(server.post("/webhooks")).answer().await;
    refused.refuses(403, "HTTPS_REQUIRED");
    for watched in ["/health", "/health/live", "/metrics"] {
        assert_eq!(plain(server.get(watched)).answer().await.status, 200, "{watched}");
    }

    let secure = server.get("/").header("x-forwarded-proto", "https").send().await.expect("an answer");
    assert_eq!(secure.status(), 200);
    assert!(secure.headers().contains_key("strict-transport-security"));
}

async fn a_cursor_older_than_the_retention_has_expired(world: World) {
    let world = world.with("RETENTION_EVENTS", "1s").with("RETENTION_INTERVAL", "1s");
    let server = world.start().await;
    let began_at = SystemClock.now();
    let app = server.create_app("a CRM").await;
    let call = Call::new(1);
    server.webhooks(&app, [&call.ring(NOON), &call.started(NOON + 3)]).await;
    let expired = eventually("the events are removed", async || {
        let expired = server.get("/api/events?after=1").header("x-api-key", &app.key).answer().await;
        (expired.status == 410).then(|| expired.refuses(410, "CURSOR_EXPIRED"))
    })
    .await;
    let at = |field: &str| {
        let text = expired["details"][field].as_str().unwrap_or_else(|| panic!("no {field}: {expired}"));
        DateTime::parse_from_rfc3339(text).expect("a time")
    };
    let (from_at, until_at) = (at("from_at"), at("until_at"));
    assert!(began_at <= from_at && from_at <= until_at && until_at <= SystemClock.now(), "{expired}");

    let mut socket = server.open_socket("/ws?after=1", &[("x-api-key", &app.key)]).await;
    socket.expect("connected").await;
    let details = &expired["details"];
    let times = json!({"from_at": details["from_at"], "until_at": details["until_at"]});
    socket.expect("gap").await.shows(times);
    let all = server.get("/api/events?after=0").header("x-api-key", &app.key).answer().await;
    assert_eq!(all.ok(), json!([]), "the beginning is always a place to begin at");
}
