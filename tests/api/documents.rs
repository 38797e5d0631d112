//! What the server says of itself. That every answer is as documented, every test sees to (`support::documents`).

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Ask, Call, World, problems_of};

on_both_databases![
    the_openapi_document_is_for_everybody_and_is_not_sent_twice,
    an_answer_that_is_not_as_documented_is_noticed,
];

async fn the_openapi_document_is_for_everybody_and_is_not_sent_twice(world: World) {
    let server = world.start().await;
    let first = server.get("/openapi.json").answer().await;
    let document = first.ok();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let tag = first.header("etag").expect("an ETag").to_owned();
    assert!(first.header("cache-control").is_some_and(|it| it.contains("max-age")), "{first}");

    for known in [tag.as_str(), "*", &format!("\"other\", {tag}")] {
        let again = server.get("/openapi.json").header("if-none-match", known).answer().await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{known}: {again}");
        assert_eq!(again.header("etag"), Some(&*tag));
    }
    let other = server.get("/openapi.json").header("if-none-match", "\"other\"").answer().await;
    assert_eq!(other.body, first.body);
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
