//! No app sees anything of another one: a walk over every address of the interface's document.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{App, Ask, Call, NOON, TestServer, With, World};

on_both_databases![an_app_sees_nothing_of_another_one_at_any_address];

/// What only the data of the one app has.
const MARKS: [&str; 4] = ["4155550199", "a text for one app", "vm_of_one_app", "consumer-of-one-app"];
const CALL: i64 = 6_000_000_000_000_001;
const MESSAGE: i64 = 6_000_000_000_000_002;
/// They never end.
const STREAMS: [&str; 1] = ["/api/events/stream"];

async fn fill(server: &TestServer, app: &App) {
    for step in Call::new(CALL).life() {
        server.webhook(app, &step.with("from_number", "+14155550199")).await;
    }
    let voicemail = json!({
        "event_type": "call.voicemail", "call_id": CALL + 10, "voicemail_id": "vm_of_one_app", "timestamp": NOON,
        "from_number": "+14155550199", "to_number": "+14155555678", "transcript": "a text for one app",
    });
    let message = json!({
        "event_type": "message.received", "message_id": MESSAGE, "direction": "inbound", "timestamp": NOON,
        "from_number": "+14155550199", "to_number": "+14155555678", "text": "a text for one app",
    });
    server.webhooks(app, [&voicemail, &message]).await;
    server.get("/api/events?consumer=consumer-of-one-app").by(app).answer().await.ok();
}

/// Collects what names something: every value of a field that ends with `id` or is a name.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        Value::Object(fields) => {
            for (field, value) in fields {
                match value {
                    Value::String(text) if field.ends_with("id") || field == "name" => {
                        found.insert(text.clone());
                    }
                    Value::Number(number) if field.ends_with("id") => {
                        found.insert(number.to_string());
                    }
                    inner => names(inner, found),
                }
            }
        }
        _ => {}
    }
}

async fn an_app_sees_nothing_of_another_one_at_any_address(world: World) {
    let server = world.start().await;
    let (ours, theirs) = (server.create_app("ours").await, server.create_app("theirs").await);
    fill(&server, &ours).await;

    let document = server.get("/openapi.json").answer().await.ok();
    let paths = document["paths"].as_object().expect("paths");
    let of_apps =
        paths.iter().filter(|(path, _)| path.starts_with("/api/") && !STREAMS.contains(&path.as_str()));
    let (items, lists): (Vec<_>, Vec<_>) = of_apps.partition(|(path, _)| path.contains('{'));
    assert!(items.len() >= 9 && lists.len() >= 6, "the document has all addresses: {items:?} {lists:?}");

    let mut known = BTreeSet::new();
    for (path, _) in lists.iter().filter(|(_, methods)| methods.get("get").is_some()) {
        let own = server.get(path).by(&ours).answer().await;
        names(&own.json(), &mut known);
        let foreign = server.get(path).by(&theirs).answer().await;
        assert_eq!(foreign.status, 200, "{path}: {}", foreign.body);
        for mark in MARKS {
            assert!(!foreign.body.contains(mark), "{path} shows {mark}: {}", foreign.body);
        }
    }
    for named in
        [CALL.to_string(), MESSAGE.to_string(), "vm_of_one_app".to_owned(), "consumer-of-one-app".to_owned()]
    {
        assert!(known.contains(&named), "{named} is in no list: {known:?}");
    }
    for (path, methods) in items {
        for method in methods.as_object().expect("methods").keys().filter(|key| key.as_str() != "parameters")
        {
            let method: Method = method.to_ascii_uppercase().parse().expect("a method");
            for name in &known {
                let address = path.split('/').map(|part| if part.starts_with('{') { name } else { part });
                let address = address.collect::<Vec<&str>>().join("/");
                let request = server.request(method.clone(), &address).by(&theirs).json(&json!({"seq": 0}));
                let answer = request.answer().await;
                assert_eq!(answer.status, 404, "{method} {address}: {}", answer.body);
                let other_marks = MARKS.iter().filter(|mark| !name.contains(**mark));
                for mark in other_marks {
                    assert!(!answer.body.contains(mark), "{method} {address} shows {mark}: {}", answer.body);
                }
            }
        }
    }
    // Nothing was changed either: all of it is still there.
    let calls = server.get("/api/calls").by(&ours).answer().await.list();
    assert!(calls.iter().any(|call| call["dialpad_call_id"] == CALL), "{calls:?}");
    assert_eq!(server.get("/api/consumers").by(&ours).answer().await.list().len(), 1);
}
