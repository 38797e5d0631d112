//! What the server says of itself. That every answer is as documented, every test sees to (`support::documents`).

use std::collections::BTreeSet;

use cti_server::http::{error::ErrorCode, openapi::openapi_document};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Answer, App, Ask, Call, Shows, World, problems_of};

on_both_databases![
    the_documents_are_for_everybody_and_are_not_sent_twice,
    the_page_takes_nothing_from_elsewhere,
    an_answer_that_is_not_as_documented_is_noticed,
    who_may_not_ask_is_refused_as_documented_and_only_then,
    an_unknown_parameter_is_refused_as_documented_and_only_then,
    plain_http_is_refused_as_documented_and_only_then,
];

async fn the_documents_are_for_everybody_and_are_not_sent_twice(world: World) {
    let server = world.start().await;
    for (path, media) in [
        ("/openapi.json", "application/json"),
        ("/openapi-3.0.json", "application/json"),
        ("/asyncapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/page.css", "text/css; charset=utf-8"),
        ("/docs/page.js", "text/javascript; charset=utf-8"),
    ] {
        let first = server.get(path).answer().await;
        assert_eq!((first.status, first.header("content-type")), (200, Some(media)), "{path}");
        let tag = first.header("etag").expect("an ETag").to_owned();
        assert!(first.header("cache-control").is_some_and(|it| it.contains("max-age")), "{first}");
        for known in [tag.as_str(), "*", &format!("\"other\", {tag}")] {
            let again = server.get(path).header("if-none-match", known).answer().await;
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{known}: {again}");
            assert_eq!(again.header("etag"), Some(&*tag));
        }
        let other = server.get(path).header("if-none-match", "\"other\"").answer().await;
        assert_eq!(other.body, first.body);
    }
    let version = env!("CARGO_PKG_VERSION");
    let openapi = server.get("/openapi.json").answer().await.ok();
    openapi.shows(json!({"openapi": "3.1.0"}))["info"].shows(json!({"version": version}));
    let older = server.get("/openapi-3.0.json").answer().await.ok();
    older.shows(json!({"openapi": "3.0.3"}))["info"].shows(json!({"version": version}));
    let asyncapi = server.get("/asyncapi.json").answer().await.ok();
    asyncapi.shows(json!({"asyncapi": "3.0.0"}))["info"].shows(json!({"version": version}));
}

async fn the_page_takes_nothing_from_elsewhere(world: World) {
    let server = world.start().await;
    let page = server.get("/docs").answer().await;
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for path in ["/docs", "/docs/page.css", "/docs/page.js"] {
        let text = server.get(path).answer().await.body;
        for elsewhere in ["src=\"http", "href=\"http", "url(", "@import", "innerHTML", "eval(", " style=\""] {
            assert!(!text.contains(elsewhere), "{path} has {elsewhere}");
        }
    }
    assert!(page.body.contains("<noscript>") && page.body.contains("/openapi.json"), "{}", page.body);
}

async fn an_answer_that_is_not_as_documented_is_noticed(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    let feed = server.feed_until(&app, "call.ended").await;
    let call = server.call(&app, 1).await;

    let answer = server.get("/api/calls/1").by(&app).answer().await;
    let problems = |path: &str, status: u16, body: Value| {
        let (asked, headers) = (answer.asked.clone(), answer.headers.clone());
        let answer = Answer { asked, status, headers, body: body.to_string() };
        problems_of(&Method::GET, path, &answer)
    };
    let with = |name: &str, value: Value| {
        let mut call = call.clone();
        call[name] = value;
        call
    };
    assert!(problems("/api/calls/1", 200, call.clone()).is_empty());
    assert!(problems("/api/calls", 200, json!([call])).is_empty());
    assert!(problems("/api/events", 200, json!(feed)).is_empty());
    let mut without = call.clone();
    without.as_object_mut().expect("a call").remove("outcome");
    let mut odd = feed.clone();
    odd[0]["type"] = "call.rings".into();
    for (path, status, body) in [
        ("/api/calls/1", 201, call.clone()),
        ("/api/calls/1", 200, without),
        ("/api/calls/1", 200, with("colour", json!("red"))),
        ("/api/calls/1", 200, with("status", json!("over"))),
        ("/api/calls/1", 200, with("id", json!("no UUID"))),
        ("/api/calls/1", 200, with("created_at", json!("yesterday"))),
        ("/api/calls", 200, call.clone()),
        ("/api/events", 200, json!(odd)),
        ("/api/calls/1", 404, json!({"error": "x", "code": "CALL_NOT_FOUND"})),
        ("/api/calls/1", 404, json!({"error": "x", "code": "APP_NOT_FOUND", "request_id": "1"})),
    ] {
        assert!(
            !problems(path, status, body.clone()).is_empty(),
            "{status} on {path} is not noticed: {body}"
        );
    }
}

/// One way to ask, as the document has it.
struct Way {
    method: Method,
    path: String,
    /// The names of what may show who asks.
    schemes: BTreeSet<String>,
    codes: BTreeSet<&'static str>,
}

fn ways() -> Vec<Way> {
    let document = json!(openapi_document());
    let mut ways = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let responses: Vec<&Value> =
                operation["responses"].as_object().expect("responses").values().collect();
            let says = |code: &str| {
                let line = format!("`{code}`: ");
                responses.iter().any(|it| it["description"].as_str().is_some_and(|text| text.contains(&line)))
            };
            let security = operation["security"].as_array().expect("who may ask");
            let schemes = security.iter().flat_map(|it| it.as_object().expect("schemes").keys().cloned());
            ways.push(Way {
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                schemes: schemes.collect(),
                codes: ErrorCode::ALL.iter().map(|code| code.as_str()).filter(|code| says(code)).collect(),
            });
        }
    }
    assert!(ways.len() > 50);
    ways
}

impl Way {
    /// The address, of something of this app that does not exist.
    fn address(&self, app: &App) -> String {
        let part = |part: &str| match part {
            "{app_id}" => app.id.clone(),
            part if part.starts_with('{') => "4711".to_owned(),
            part => part.to_owned(),
        };
        self.path.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    /// The request is sent with all credentials.
    fn allowed(&self, request: RequestBuilder, app: &App) -> RequestBuilder {
        if self.schemes.contains("internal_secret") { request.by_admin() } else { request.by(app) }
    }

    /// The answer has this code where the document says so, and nowhere else.
    #[track_caller]
    fn holds(&self, code: &str, answer: &Answer) {
        let is_given = serde_json::from_str::<Value>(&answer.body).is_ok_and(|body| body["code"] == code);
        assert_eq!(is_given, self.codes.contains(code), "{code}: {answer}");
    }
}

async fn who_may_not_ask_is_refused_as_documented_and_only_then(world: World) {
    let world = world.with("METRICS_TOKEN", "of the monitor").with("AUTH_FAILURES_PER_MINUTE", "0");
    let server = world.start().await;
    let (app, asleep) = (server.create_app("CRM").await, server.create_app("Asleep").await);
    let switch_off = server.request(Method::PATCH, &format!("/internal/apps/{}", asleep.id)).by_admin();
    switch_off.json(&json!({"is_active": false})).answer().await.ok();
    // Of `HEAD` no code is emitted; and what is open to everybody has nobody to refuse.
    for way in ways().iter().filter(|way| way.method != Method::HEAD && !way.schemes.is_empty()) {
        let ask = || server.request(way.method.clone(), &way.address(&app));
        let nobody = ask().answer().await;
        way.holds("MISSING_API_KEY", &nobody);
        way.holds("MISSING_BEARER", &nobody);
        let stranger = ask().bearer_auth("wrong").answer().await;
        way.holds("INVALID_API_KEY", &stranger);
        way.holds("FORBIDDEN", &stranger);
        way.holds("APP_INACTIVE", &ask().by(&asleep).answer().await);
        way.holds("INVALID_SIGNATURE", &nobody);
    }
}

async fn an_unknown_parameter_is_refused_as_documented_and_only_then(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    // To the callback, Dialpad may bring parameters of its own.
    for way in ways().iter().filter(|way| !way.path.ends_with("/callback") && way.method != Method::HEAD) {
        let address = format!("{}?colour=red", way.address(&app));
        let request = server.request(way.method.clone(), &address);
        way.holds("INVALID_REQUEST", &way.allowed(request, &app).answer().await);
    }
}

async fn plain_http_is_refused_as_documented_and_only_then(world: World) {
    let world = world.with("CTI_ENV", "production").with("PUBLIC_URL", "https://cti.example.com");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for way in ways() {
        let address = format!("http://{}{}", server.address(), way.address(&app));
        let request = server.browser().request(way.method.clone(), address);
        let answer = request.header("x-forwarded-proto", "http").answer().await;
        assert_eq!(answer.status == 403, way.codes.contains("HTTPS_REQUIRED"), "{answer}");
    }
}
