//! A CRM places calls through Dialpad, and never two for one request.

use futures_util::future::join_all;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::{
    Answer, App, Ask, Call, Dialpad, Reply, ReplyGate, ScriptedDialpad, ScriptedRequest, Shows, TestServer,
    With, World, eventually, kinds, of_call,
};

on_both_databases![
    a_placed_call_is_shown_at_once_and_follows_its_webhooks,
    a_webhook_that_beats_the_reply_changes_nothing,
    a_call_at_dialpad_lives_on_by_its_webhooks,
    what_the_client_gives_goes_along_as_it_is,
    one_key_places_one_call,
    a_key_stands_for_one_request,
    a_request_that_is_under_way_is_waited_for_a_little,
    a_client_that_hangs_up_does_not_stop_the_call,
    a_call_in_doubt_is_looked_for_and_never_placed_again,
    a_call_in_doubt_that_was_heard_of_is_found,
    a_key_of_a_killed_server_places_no_second_call,
    what_dialpad_refuses_is_refused,
    an_app_that_is_not_connected_places_no_calls,
    an_order_must_be_understood,
];

const CALL: i64 = 6_000_000_000_000_001;
const NUMBER: &str = "+14155551234";

/// A Dialpad that places this one call.
async fn obliging() -> ScriptedDialpad {
    ScriptedDialpad::start(|_| placed()).await
}

fn placed() -> Reply {
    Reply::json(200, json!({"call_id": CALL.to_string()}))
}

fn order(server: &TestServer, app: &App) -> RequestBuilder {
    let order = json!({"dialpad_user_id": 555, "phone_number": NUMBER});
    server.post("/api/calls").by(app).json(&order)
}

async fn order_with_key(server: &TestServer, app: &App, key: &str) -> Answer {
    order(server, app).header("Idempotency-Key", key).answer().await
}

#[track_caller]
fn created(answer: &Answer) -> Value {
    assert_eq!(answer.status, 201, "{answer}");
    answer.json()
}

/// The call as Dialpad tells of it.
fn call() -> Call {
    Call::new(CALL).outbound().between("+14155555678", NUMBER)
}

async fn a_placed_call_is_shown_at_once_and_follows_its_webhooks(world: World) {
    let dialpad = obliging().await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let order = json!({"dialpad_user_id": "555", "phone_number": "+1 (415) 555-1234"});
    let shown = created(&server.post("/api/calls").by(&app).json(&order).answer().await);
    shown.shows(json!({
        "dialpad_call_id": CALL, "call_id": CALL, "status": "ringing", "direction": "outbound",
        "to_number": NUMBER, "dialpad_user_id": 555, "outcome": null, "answered_at": null,
    }));
    assert_eq!(server.call(&app, shown["id"].as_str().expect("an id")).await, shown);
    let asked = dialpad.requests("POST call");
    asked[0].body.shows(json!({"user_id": 555, "phone_number": NUMBER}));

    let states = [
        call().state("calling", 0),
        call().answered_state("connected", 3),
        call().answered_state("hangup", 63),
    ];
    server.webhooks(&app, &states).await;
    let feed = server.feed_until(&app, "call.ended").await;
    let emitted: Vec<_> = kinds(&feed).into_iter().filter(|kind| *kind != "call.updated").collect();
    assert_eq!(emitted, ["call.ring", "call.started", "call.ended"]);
    server.call(&app, CALL).await.shows(json!({
        "id": shown["id"], "status": "ended", "outcome": "answered", "from_number": "+14155555678",
    }));
}

async fn a_webhook_that_beats_the_reply_changes_nothing(world: World) {
    let gate = ReplyGate::default();
    let held = gate.clone();
    let dialpad = ScriptedDialpad::start(move |_| placed().held_by(&held)).await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let ordering = order(&server, &app).answer();
    let faster = async {
        dialpad.wait_for_requests("POST call", 1).await;
        server.webhook(&app, &call().state("calling", 0)).await;
        server.feed_until(&app, "call.ring").await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(ordering, faster);
    created(&answer).shows(json!({"dialpad_call_id": CALL, "status": "ringing", "direction": "outbound"}));
    let feed = server.feed_once_processed(&app, 9).await;
    let rings = kinds(&of_call(&feed, CALL)).iter().filter(|kind| **kind == "call.ring").count();
    assert_eq!(rings, 1, "{feed:#?}");
}

async fn a_call_at_dialpad_lives_on_by_its_webhooks(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    dialpad.play(&json!({"flow": "missed", "pace": 0, "wait_for_subscriber": true})).await;
    for webhook_first in [false, true] {
        dialpad.switch(&json!({"placed_call_pace": 0, "webhook_before_reply": webhook_first})).await;
        let order = json!({"dialpad_user_id": Dialpad::USER, "phone_number": NUMBER});
        let answer = server.post("/api/calls").by(&app).json(&order).answer().await;
        let call = created(&answer)["dialpad_call_id"].as_i64().expect("Dialpad's id");
        let feed = server
            .feed_when(&app, "the call is over", |feed| kinds(&of_call(feed, call)).contains(&"call.ended"))
            .await;
        let mut emitted = of_call(&feed, call);
        emitted.retain(|event| event["type"] != "call.updated");
        assert_eq!(kinds(&emitted), ["call.ring", "call.started", "call.ended"], "{emitted:#?}");
        emitted[2].shows(json!({"direction": "outbound", "to_number": NUMBER, "outcome": "answered"}));
    }
}

async fn what_the_client_gives_goes_along_as_it_is(world: World) {
    let dialpad = obliging().await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let custom_data = r#"{"deal": 7, "note": "Grüße"} "#;
    let order = json!({"dialpad_user_id": 555, "phone_number": NUMBER, "custom_data": custom_data});
    let answer = server.post("/api/calls?ids=string").by(&app).json(&order).answer().await;
    created(&answer).shows(json!({"dialpad_call_id": CALL.to_string(), "dialpad_user_id": "555"}));
    assert_eq!(dialpad.requests("POST call")[0].body["custom_data"], custom_data);
}

async fn one_key_places_one_call(world: World) {
    let dialpad = obliging().await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let answers = join_all((0..20).map(|_| order_with_key(&server, &app, "click-1"))).await;
    for answer in &answers {
        assert_eq!(created(answer), answers[0].json());
    }
    let replayed = answers.iter().filter(|it| it.header("idempotent-replayed") == Some("true")).count();
    assert_eq!((replayed, dialpad.requests("POST call").len()), (answers.len() - 1, 1));

    // The key is the app's own, and another key is another call.
    let other = server.create_app("Other").await;
    created(&order_with_key(&server, &other, "click-1").await);
    created(&order_with_key(&server, &app, "click-2").await);
    created(&order(&server, &app).answer().await);
    assert_eq!(dialpad.requests("POST call").len(), 4);
}

async fn a_key_stands_for_one_request(world: World) {
    let dialpad = obliging().await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    created(&order_with_key(&server, &app, "click").await);
    let with_key =
        |order: Value| server.post("/api/calls").by(&app).header("Idempotency-Key", "click").json(&order);
    let another = json!({"dialpad_user_id": 555, "phone_number": "+14155559999"});
    with_key(another).answer().await.refuses(422, "IDEMPOTENCY_KEY_REUSED");
    // The same order in other words is the same order.
    let same = json!({"phone_number": "+1 415 555 1234", "custom_data": null, "dialpad_user_id": "555"});
    created(&with_key(same).answer().await);
    for bad in ["", "two words", &"k".repeat(256)] {
        order_with_key(&server, &app, bad).await.refuses_naming("Idempotency-Key");
    }
    assert_eq!(dialpad.requests("POST call").len(), 1);
}

async fn a_request_that_is_under_way_is_waited_for_a_little(world: World) {
    let gate = ReplyGate::default();
    let held = gate.clone();
    let dialpad = ScriptedDialpad::start(move |_| placed().held_by(&held)).await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let second = async {
        dialpad.wait_for_requests("POST call", 1).await;
        let answer = order_with_key(&server, &app, "click").await;
        gate.open();
        answer
    };
    let (first, second) = tokio::join!(order_with_key(&server, &app, "click"), second);
    second.refuses(409, "IDEMPOTENCY_KEY_IN_USE");
    assert_eq!(second.header("retry-after"), Some("1"));
    let again = order_with_key(&server, &app, "click").await;
    assert_eq!(created(&again), created(&first));
    assert_eq!(dialpad.requests("POST call").len(), 1);
}

async fn a_client_that_hangs_up_does_not_stop_the_call(world: World) {
    let gate = ReplyGate::default();
    let held = gate.clone();
    let dialpad = ScriptedDialpad::start(move |_| placed().held_by(&held)).await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    tokio::select! {
        answer = order_with_key(&server, &app, "click") => panic!("answered before Dialpad was: {answer}"),
        _ = dialpad.wait_for_requests("POST call", 1) => {}
    }
    gate.open();
    let feed = server.feed_until(&app, "call.ring").await;
    assert_eq!(feed[0]["dialpad_call_id"], CALL);
    created(&order_with_key(&server, &app, "click").await).shows(json!({"dialpad_call_id": CALL}));
    assert_eq!(dialpad.requests("POST call").len(), 1);
}

async fn a_call_in_doubt_is_looked_for_and_never_placed_again(world: World) {
    let (mut mark, mut looked) = (Value::Null, 0);
    let dialpad = ScriptedDialpad::start(move |asked: &ScriptedRequest| match &*asked.what {
        "POST call" => {
            mark = asked.body["custom_data"].clone();
            Reply::json(500, json!({"error": {"code": 500}}))
        }
        // The call is over, and in the list, when it is looked for the second time.
        "GET call" => {
            looked += 1;
            let found = json!({"call_id": CALL.to_string(), "custom_data": mark, "external_number": NUMBER});
            let foreign = json!({"call_id": "7", "external_number": NUMBER});
            let items = if looked < 2 { json!([foreign]) } else { json!([foreign, found]) };
            Reply::json(200, json!({"items": items}))
        }
        _ => Reply::json(404, json!({})),
    })
    .await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    for _ in 0..2 {
        let answer = order_with_key(&server, &app, "click").await;
        answer.refuses(503, "OUTCOME_UNKNOWN");
        assert!(answer.header("retry-after").is_some(), "{answer}");
    }
    let found = created(&order_with_key(&server, &app, "click").await);
    found.shows(json!({"dialpad_call_id": CALL, "to_number": NUMBER}));
    let again = order_with_key(&server, &app, "click").await;
    assert_eq!((created(&again), again.header("idempotent-replayed")), (found, Some("true")));
    assert_eq!(dialpad.requests("POST call").len(), 1);
}

async fn a_call_in_doubt_that_was_heard_of_is_found(world: World) {
    let gate = ReplyGate::default();
    let held = gate.clone();
    let dialpad = ScriptedDialpad::start(move |_| Reply::none().held_by(&held)).await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let tells = async {
        let asked = dialpad.wait_for_requests("POST call", 1).await;
        let calling = call().state("calling", 0).with("custom_data", asked[0].body["custom_data"].clone());
        server.webhook(&app, &calling).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(order(&server, &app).answer(), tells);
    created(&answer).shows(json!({"dialpad_call_id": CALL, "status": "ringing"}));
    let feed = server.feed_once_processed(&app, 9).await;
    assert_eq!(kinds(&feed).iter().filter(|kind| **kind == "call.ring").count(), 1, "{feed:#?}");
}

async fn a_key_of_a_killed_server_places_no_second_call(world: World) {
    let dialpad = ScriptedDialpad::start(move |_| placed().held_by(&ReplyGate::default())).await;
    let world = world.with_scripted(&dialpad);
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    tokio::select! {
        answer = order_with_key(&server, &app, "click") => panic!("answered before Dialpad was: {answer}"),
        _ = dialpad.wait_for_requests("POST call", 1) => {}
    }
    server.process.kill();
    let server = world.start().await;
    order_with_key(&server, &app, "click").await.refuses(409, "IDEMPOTENCY_KEY_IN_USE");
    assert_eq!(dialpad.requests("POST call").len(), 1);
}

async fn what_dialpad_refuses_is_refused(world: World) {
    let mut replies = vec![
        Reply::json(429, json!({})).header("retry-after", "1"),
        Reply::json(404, json!({"error": {"code": 404}})),
    ];
    let dialpad = ScriptedDialpad::start(move |_| replies.pop().unwrap_or_else(placed)).await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let refused = order_with_key(&server, &app, "refused").await;
    let error = refused.refuses(502, "DIALPAD_REFUSED");
    assert_eq!(error["details"], json!({"dialpad_status": 404}));
    let again = order_with_key(&server, &app, "refused").await;
    assert_eq!((again.json(), again.header("idempotent-replayed")), (error, Some("true")));
    assert_eq!(dialpad.requests("POST call").len(), 1);

    let limited = order_with_key(&server, &app, "limited").await;
    limited.refuses(429, "DIALPAD_RATE_LIMITED");
    assert_eq!(limited.header("retry-after"), Some("1"));
    // Nothing was done, so the key is free as soon as Dialpad takes orders again.
    eventually("the call is placed", async || {
        let answer = order_with_key(&server, &app, "limited").await;
        (answer.status == 201).then_some(())
    })
    .await;
}

async fn an_app_that_is_not_connected_places_no_calls(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    for _ in 0..2 {
        order_with_key(&server, &app, "click").await.refuses(409, "NOT_CONNECTED");
    }
    server.post("/api/calls").json(&json!({})).answer().await.refuses(401, "MISSING_API_KEY");
    drop(server);

    // Nobody listens on this port.
    let world = world.with("DIALPAD_SANDBOX_BASE_URL", "http://127.0.0.1:9").with("DIALPAD_API_KEY", "k");
    let server = world.start().await;
    for _ in 0..2 {
        let answer = order_with_key(&server, &app, "click").await;
        answer.refuses(503, "DIALPAD_UNAVAILABLE");
        assert!(answer.header("retry-after").is_some(), "{answer}");
    }
}

async fn an_order_must_be_understood(world: World) {
    let dialpad = obliging().await;
    let server = world.with_scripted(&dialpad).start().await;
    let app = server.create_app("CRM").await;
    let good = json!({"dialpad_user_id": 555, "phone_number": NUMBER});
    for (bad, named) in [
        (good.clone().without("dialpad_user_id"), "dialpad_user_id"),
        (good.clone().with("dialpad_user_id", "Ada"), "dialpad_user_id"),
        (good.clone().without("phone_number"), "phone_number"),
        (good.clone().with("phone_number", "555-1234"), "phone_number"),
        (good.clone().with("custom_data", json!({"deal": 7})), "custom_data"),
        (good.clone().with("custom_data", "x".repeat(2001)), "custom_data"),
        (good.clone().with("colour", "red"), "colour"),
    ] {
        let answer = server.post("/api/calls").by(&app).json(&bad).answer().await;
        answer.refuses_naming(named);
    }
    server.post("/api/calls?colour=red").by(&app).json(&good).answer().await.refuses_naming("colour");
    assert!(dialpad.requests("POST call").is_empty());
}
