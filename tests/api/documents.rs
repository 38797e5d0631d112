//! What the server says of itself. That every answer is as documented, every test sees to (`support::documents`).

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Ask, Call, Shows, World, problems_of};

on_both_databases![
    the_documents_are_for_everybody_and_are_not_sent_twice,
    the_page_takes_nothing_from_elsewhere,
    an_answer_that_is_not_as_documented_is_noticed,
];

async fn the_documents_are_for_everybody_and_are_not_sent_twice(world: World) {
    let server = world.start().await;
    for (path, media) in [
        ("/openapi.json", "application/json"),
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
