//! Text messages: emitted once in whatever order their webhooks come, and listed like calls.

use serde_json::{Value, json};

use crate::support::{App, Ask, NOON, Shows, TestServer, With, World, kinds};

on_both_databases![
    a_message_is_found_by_either_of_its_ids,
    a_status_that_overtakes_its_message_tells_it_once,
    a_retry_of_an_older_status_comes_to_nothing,
    a_message_to_several_numbers_is_found_by_each,
    a_picture_comes_with_its_address,
    messages_are_filtered_like_calls,
    changes_come_oldest_first,
    pages_of_messages_follow_each_other,
    what_a_list_of_messages_does_not_know_is_refused,
    another_apps_message_is_not_there,
];

const MESSAGE: i64 = 6_095_823_680_520_192;

/// A message in Dialpad's own words, which are the whole message each time.
fn text(id: i64, status: &str, at: i64) -> Value {
    json!({
        "id": id, "created_date": NOON * 1000, "event_timestamp": (NOON + at) * 1000, "direction": "outbound",
        "is_internal": false, "from_number": "+14155555678", "to_number": ["+14155551234"], "text": "Hello",
        "text_content": "Hello", "message_status": status, "message_delivery_result": null, "mms": false,
        "mms_url": null, "sender_id": null, "target": {"type": "user", "id": 555}, "contact": {"name": "Grace"},
    })
}

async fn message(server: &TestServer, app: &App, id: impl std::fmt::Display) -> Value {
    server.get(&format!("/api/messages/{id}")).by(app).answer().await.ok()
}

async fn found(server: &TestServer, app: &App, query: &[(&str, &str)]) -> Vec<i64> {
    let list = server.get("/api/messages").query(query).by(app).answer().await.list();
    list.iter().map(|message| message["dialpad_message_id"].as_i64().expect("an id")).collect()
}

async fn a_message_is_found_by_either_of_its_ids(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &text(MESSAGE, "pending", 1)).await;
    let emitted = server.wait_for_events(&app, 1).await;
    let shown = message(&server, &app, MESSAGE).await;
    shown.shows(json!({
        "app_id": app.id, "dialpad_message_id": MESSAGE, "direction": "outbound", "from_number": "+14155555678",
        "to_number": "+14155551234", "to_numbers": ["+14155551234"], "text": "Hello", "message_status": "pending",
        "dialpad_user_id": 555, "crm_user_id": null, "mms_url": null, "sent_at": "2024-01-01T12:00:00Z",
    }));
    let ours = shown["id"].as_str().expect("a message has our id");
    assert_eq!((&shown["message_id"], &emitted[0]["message_id"]), (&json!(ours), &json!(ours)));
    assert_eq!(message(&server, &app, ours).await, shown);
    let as_text = server.get(&format!("/api/messages/{ours}?ids=string")).by(&app).answer().await.ok();
    as_text.shows(json!({"dialpad_message_id": MESSAGE.to_string(), "dialpad_user_id": "555"}));
    let unknown = ["1", "018cc4e5-2270-7f07-a3c9-d2e5b6f7a8c9", "%00", "nonsense"];
    for id in unknown {
        let answer = server.get(&format!("/api/messages/{id}")).by(&app).answer().await;
        answer.refuses(404, "MESSAGE_NOT_FOUND");
    }
}

async fn a_status_that_overtakes_its_message_tells_it_once(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let received = json!({
        "event_type": "message.received", "message_id": "sms_1", "from_number": "+1", "to_number": "+2",
        "text": "Can we talk at 3?", "timestamp": NOON,
    });
    let status = json!({
        "event_type": "message.status", "message_id": "sms_1", "message_status": "delivered", "timestamp": NOON + 3,
    });
    server.webhooks(&app, [&status, &received, &received.clone().with("iat", 5)]).await;
    let emitted = server.feed_once_processed(&app, 1).await;
    assert_eq!(kinds(&emitted), ["message.updated", "message.received"]);
    emitted[1].shows(json!({
        "text": "Can we talk at 3?", "message_status": "delivered", "dialpad_message_id": "sms_1",
        "direction": "inbound", "message_id": emitted[0]["message_id"], "to_numbers": ["+2"],
    }));
    message(&server, &app, "sms_1")
        .await
        .shows(json!({"direction": "inbound", "message_status": "delivered"}));
}

async fn a_retry_of_an_older_status_comes_to_nothing(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    // The last one says the same instant as the one before it and would undo it.
    let reports = [text(MESSAGE, "delivered", 9), text(MESSAGE, "pending", 0), text(MESSAGE, "sent", 9)];
    server.webhooks(&app, &reports).await;
    let emitted = server.feed_once_processed(&app, 1).await;
    assert_eq!(kinds(&emitted), ["message.sent"]);
    emitted[0].shows(json!({"message_status": "delivered", "text": "Hello"}));
    message(&server, &app, MESSAGE).await.shows(json!({"message_status": "delivered"}));
}

async fn a_message_to_several_numbers_is_found_by_each(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let several = text(1, "sent", 0).with("to_number", json!(["+14155550001", "+14155550002"]));
    server.webhooks(&app, [&several, &text(2, "sent", 0)]).await;
    let emitted = server.wait_for_events(&app, 2).await;
    emitted[0].shows(json!({
        "to_number": "+14155550001,+14155550002", "to_numbers": ["+14155550001", "+14155550002"],
    }));
    for number in ["+14155550001", "+14155550002", "+14155550001,+14155550002"] {
        assert_eq!(found(&server, &app, &[("to", number)]).await, [1], "to={number}");
    }
    for number in ["+1415555000", "4155550003", "%", "+1415555000_", ""] {
        assert!(found(&server, &app, &[("to", number)]).await.is_empty(), "to={number}");
    }
}

async fn a_picture_comes_with_its_address(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let url = "https://dialpad.com/mms/1";
    let picture = text(MESSAGE, "sent", 0).with("mms", true).with("mms_url", url).without("text_content");
    server.webhook(&app, &picture.with("text", url)).await;
    server.wait_for_events(&app, 1).await[0]
        .shows(json!({"type": "message.sent", "mms_url": url, "text": url}));
    message(&server, &app, MESSAGE).await.shows(json!({"mms_url": url}));
}

/// Three messages: two to a customer, one of them by another user, and one that the customer wrote.
async fn correspondence(server: &TestServer) -> App {
    let app = server.create_app("CRM").await;
    let ours = text(1, "sent", 0);
    let colleagues = text(2, "sent", 10).with("sender_id", 777);
    let theirs = text(3, "pending", 20)
        .with("direction", "inbound")
        .with("from_number", "+14155551234")
        .with("to_number", json!(["+14155555678"]));
    for (count, webhook) in (1..).zip([&ours, &colleagues, &theirs]) {
        server.webhook(&app, webhook).await;
        server.wait_for_events(&app, count).await;
    }
    app
}

async fn messages_are_filtered_like_calls(world: World) {
    let server = world.start().await;
    let app = correspondence(&server).await;
    let cases: [(&str, &str, &[i64]); 9] = [
        ("direction", "inbound", &[3]),
        ("direction", "outbound", &[2, 1]),
        ("from", "+14155551234", &[3]),
        ("to", "+14155551234", &[2, 1]),
        ("dialpad_user_id", "777", &[2]),
        ("limit", "2", &[3, 2]),
        ("until", "946684800", &[]),
        ("until", "4102444800", &[3, 2, 1]),
        ("since", "4102444800", &[]),
    ];
    for (name, value, expected) in cases {
        assert_eq!(found(&server, &app, &[(name, value)]).await, expected, "{name}={value}");
    }
    assert_eq!(found(&server, &app, &[]).await, [3, 2, 1], "the newest first");
}

async fn changes_come_oldest_first(world: World) {
    let server = world.start().await;
    let app = correspondence(&server).await;
    assert_eq!(found(&server, &app, &[("since", "0")]).await, [1, 2, 3]);
    server.webhook(&app, &text(1, "delivered", 30)).await;
    server.wait_for_events(&app, 4).await;
    assert_eq!(found(&server, &app, &[("since", "0")]).await, [2, 3, 1]);
    let changed = message(&server, &app, 1).await["updated_at"].as_str().expect("a change").to_owned();
    assert_eq!(found(&server, &app, &[("since", &changed)]).await, [1], "since is inclusive");
    assert_eq!(found(&server, &app, &[("since", "0"), ("until", &changed)]).await, [2, 3], "until is not");

    // A report that brings nothing new is no change.
    server.webhook(&app, &text(2, "pending", 5)).await;
    server.feed_once_processed(&app, 1).await;
    assert_eq!(found(&server, &app, &[("since", "0")]).await, [2, 3, 1]);
}

async fn pages_of_messages_follow_each_other(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let texts: Vec<Value> = (1..=7).map(|id| text(id, "sent", 0)).collect();
    server.webhooks(&app, &texts).await;
    server.wait_for_events(&app, 7).await;
    for (first, expected) in [
        ("/api/messages?limit=3", [7, 6, 5, 4, 3, 2, 1]),
        ("/api/messages?since=0&limit=3", [1, 2, 3, 4, 5, 6, 7]),
    ] {
        let (mut seen, mut path) = (Vec::new(), Some(first.to_owned()));
        while let Some(next) = path {
            let answer = server.get(&next).by(&app).answer().await;
            let page = answer.list();
            assert!(!page.is_empty() && page.len() <= 3, "{page:#?}");
            seen.extend(page.iter().filter_map(|message| message["dialpad_message_id"].as_i64()));
            path = answer.next_page();
        }
        assert_eq!(seen, expected, "{first}");
    }
}

async fn what_a_list_of_messages_does_not_know_is_refused(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for (name, value) in
        [("status", "sent"), ("direction", "up"), ("since", "soon"), ("limit", "501"), ("cursor", "nonsense")]
    {
        server.get("/api/messages").query(&[(name, value)]).by(&app).answer().await.refuses_naming(name);
    }
    server.get("/api/messages/1?limit=1").by(&app).answer().await.refuses_naming("limit");
    server.get("/api/messages").answer().await.refuses(401, "MISSING_API_KEY");
}

async fn another_apps_message_is_not_there(world: World) {
    let server = world.start().await;
    let (ours, theirs) = (server.create_app("ours").await, server.create_app("theirs").await);
    server.webhook(&ours, &text(MESSAGE, "sent", 0)).await;
    server.wait_for_events(&ours, 1).await;
    let id = message(&server, &ours, MESSAGE).await["id"].as_str().expect("an id").to_owned();
    for name in [id, MESSAGE.to_string()] {
        let answer = server.get(&format!("/api/messages/{name}")).by(&theirs).answer().await;
        answer.refuses(404, "MESSAGE_NOT_FOUND");
    }
    assert!(found(&server, &theirs, &[]).await.is_empty());
}
