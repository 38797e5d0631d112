//! What is insisted on in production.

use reqwest::RequestBuilder;

use crate::support::{Ask, TestServer, World};

on_both_databases![https_is_insisted_on, secure_answers_say_so];

async fn production(world: World) -> TestServer {
    world.with("CTI_ENV", "production").with("PUBLIC_URL", "https://cti.example.com").start().await
}

fn over_plain_http(request: RequestBuilder) -> RequestBuilder {
    request.header("x-forwarded-proto", "http").header("host", "cti.example.com")
}

async fn https_is_insisted_on(world: World) {
    let server = production(world).await;
    let app = server.create_app("CRM").await;
    let answer = over_plain_http(server.get("/api/calls?limit=5")).by(&app).answer().await;
    assert!([301, 302, 307, 308].contains(&answer.status), "{answer}");
    assert_eq!(answer.header("location"), Some("https://cti.example.com/api/calls?limit=5"), "{answer}");
    over_plain_http(server.post("/webhooks")).body("{}").answer().await.refuses(403, "HTTPS_REQUIRED");
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        let answer = over_plain_http(server.get(path)).answer().await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    let behind_tls = server.get("/api/calls").header("x-forwarded-proto", "https").by(&app);
    behind_tls.answer().await.ok();
}

async fn secure_answers_say_so(world: World) {
    let server = production(world).await;
    let answer = server.get("/").header("x-forwarded-proto", "https").answer().await;
    assert!(answer.header("strict-transport-security").is_some(), "{answer}");
}
