//! Pages of other origins (CORS): who may read what, asked with the requests that browsers send.

use serde_json::json;

use crate::support::{Answer, Ask, Call, World};

on_both_databases![
    a_page_of_a_listed_origin_may_use_the_api,
    a_preflight_is_answered_for_every_method_of_the_address,
    without_the_setting_nothing_is_shared,
    a_star_lets_every_page_in,
    only_the_api_is_shared,
];

const CRM: &str = "https://crm.example";
const SHOWN: &str = "access-control-allow-origin";

/// The parts of a comma-separated header, in lower case and sorted.
fn parts(answer: &Answer, name: &str) -> Vec<String> {
    let text = answer.header(name).unwrap_or_default().to_ascii_lowercase();
    let mut parts: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
    parts.sort();
    parts
}

fn assert_shared(answer: &Answer, origin: &str) {
    assert_eq!(answer.header(SHOWN), Some(origin), "{answer}");
    assert_eq!(answer.header("access-control-allow-credentials"), None, "{answer}");
    let exposed = parts(answer, "access-control-expose-headers");
    assert_eq!(exposed, ["link", "retry-after", "x-cursor", "x-epoch"], "{answer}");
}

fn listed(world: World) -> World {
    world.with("CORS_ORIGINS", "http://localhost:5173, https://CRM.example/")
}

async fn a_page_of_a_listed_origin_may_use_the_api(world: World) {
    let server = listed(world).start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    for path in ["/api/calls", "/api/events", "/api/calls/active", "/api/consumers"] {
        let answer = server.get(path).by(&app).header("origin", CRM).answer().await;
        assert_eq!(answer.status, 200, "{answer}");
        assert_shared(&answer, CRM);
        assert_eq!(parts(&answer, "vary"), ["origin"], "{answer}");
    }
    // A page must be able to read why it was refused.
    let no_key = server.get("/api/calls").header("origin", CRM).answer().await;
    no_key.refuses(401, "MISSING_API_KEY");
    assert_shared(&no_key, CRM);
    let bad =
        server.get("/api/calls?limit=x").by(&app).header("origin", "http://localhost:5173").answer().await;
    bad.refuses(400, "INVALID_REQUEST");
    assert_shared(&bad, "http://localhost:5173");
    let none = server.get("/api/nothing").by(&app).header("origin", CRM).answer().await;
    assert_shared(&none, CRM);

    let stream = format!("/api/events/stream?api_key={}", app.key);
    let stream = server.get(&stream).header("origin", CRM).send().await.expect("an answer");
    assert_eq!((stream.status().as_u16(), stream.headers()[SHOWN].as_bytes()), (200, CRM.as_bytes()));
    assert_eq!(stream.headers()["content-type"], "text/event-stream");

    for other in ["https://crm.example.evil", "http://crm.example", "https://crm.example:8443", "null"] {
        let answer = server.get("/api/calls").by(&app).header("origin", other).answer().await;
        assert_eq!((answer.status, answer.header(SHOWN)), (200, None), "{other}: {answer}");
        assert_eq!(parts(&answer, "vary"), ["origin"], "a cache must not give it to the CRM: {answer}");
    }
}

async fn a_preflight_is_answered_for_every_method_of_the_address(world: World) {
    let server = listed(world).start().await;
    let asked = |path: &str, origin: &'static str| {
        server
            .request(reqwest::Method::OPTIONS, path)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,idempotency-key,x-api-key")
    };
    for (path, methods) in [
        ("/api/calls", &["get", "head", "post"][..]),
        ("/api/consumers/desk", &["delete", "get", "head"]),
        ("/api/calls/7/recording", &["get", "head"]),
        ("/api/events/stream?after=3", &["get"]),
    ] {
        let answer = asked(path, CRM).answer().await;
        assert_eq!((answer.status, &*answer.body), (204, ""), "{answer}");
        assert_shared(&answer, CRM);
        assert_eq!(parts(&answer, "access-control-allow-methods"), methods, "{answer}");
        assert_eq!(
            parts(&answer, "access-control-allow-headers"),
            ["authorization", "content-type", "idempotency-key", "last-event-id", "x-api-key"]
        );
        assert!(answer.header("access-control-max-age").is_some(), "{answer}");
    }
    let other = asked("/api/calls", "https://other.example").answer().await;
    other.refuses(405, "METHOD_NOT_ALLOWED");
    assert_eq!(other.header(SHOWN), None, "{other}");
    // OPTIONS that is no preflight is a method like any other.
    let plain = server.request(reqwest::Method::OPTIONS, "/api/calls").header("origin", CRM).answer().await;
    plain.refuses(405, "METHOD_NOT_ALLOWED");
}

async fn without_the_setting_nothing_is_shared(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let answer = server.get("/api/calls").by(&app).header("origin", CRM).answer().await;
    assert_eq!((answer.ok(), answer.header(SHOWN), answer.header("vary")), (json!([]), None, None));
    let preflight = server.request(reqwest::Method::OPTIONS, "/api/calls").header("origin", CRM);
    let preflight = preflight.header("access-control-request-method", "GET").answer().await;
    preflight.refuses(405, "METHOD_NOT_ALLOWED");
}

async fn a_star_lets_every_page_in(world: World) {
    let server = world.with("CORS_ORIGINS", "*").start().await;
    let app = server.create_app("CRM").await;
    for origin in [CRM, "null", "http://localhost:3000"] {
        let answer = server.get("/api/calls").by(&app).header("origin", origin).answer().await;
        answer.ok();
        assert_shared(&answer, "*");
    }
}

async fn only_the_api_is_shared(world: World) {
    let server = world.with("CORS_ORIGINS", "*").start().await;
    let app = server.create_app("CRM").await;
    let apps = server.get("/internal/apps").by_admin().header("origin", CRM).answer().await;
    apps.ok();
    let status = server.get("/status").by(&app).header("origin", CRM).answer().await;
    let health = server.get("/health").header("origin", CRM).answer().await;
    for answer in [apps, status, health] {
        assert_eq!(answer.header(SHOWN), None, "{answer}");
    }
    for path in ["/internal/apps", "/console", "/authorize", "/webhooks"] {
        let preflight = server.request(reqwest::Method::OPTIONS, path).header("origin", CRM);
        let preflight = preflight.header("access-control-request-method", "GET").answer().await;
        assert_eq!(preflight.header(SHOWN), None, "{preflight}");
        assert!([404, 405].contains(&preflight.status), "{preflight}");
    }
}
