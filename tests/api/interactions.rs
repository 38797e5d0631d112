//! Legs of one human call are joined: what a CRM sees of a call that went through a queue.

use serde_json::{Value, json};

use crate::support::{App, Ask, Call, Dialpad, NOON, Shows, TestServer, With, World, kinds, of_call};

on_both_databases![
    a_call_through_a_queue_is_one_interaction,
    whichever_leg_comes_first_the_interaction_is_the_same,
    a_blind_transfer_continues_the_interaction,
    a_call_by_itself_is_an_interaction_too,
    an_interaction_of_another_app_is_not_there,
    an_operator_whose_leg_was_never_emitted_is_asked_for,
];

const MAIN_LINE: i64 = 6_000_000_000_000_001;
const QUEUE: i64 = 6_000_000_000_000_002;
const LOSER: i64 = 6_000_000_000_000_003;
const WINNER: i64 = 6_000_000_000_000_004;

fn group(id: i64, kind: &str, state: &str, at: i64) -> Value {
    Call::new(id).state(state, at).with("target", json!({"type": kind, "id": 5_000 + id % 10}))
}

fn queue(state: &str, at: i64) -> Value {
    group(QUEUE, "call_center", state, at).with("master_call_id", MAIN_LINE)
}

fn agent(id: i64, state: &str, at: i64) -> Value {
    Call::new(id).of_user(700 + id % 10).state(state, at).with("entry_point_call_id", QUEUE)
}

fn connected(state: Value, at: i64) -> Value {
    state.with("date_connected", (NOON + at) * 1000)
}

fn ended(state: Value, at: i64) -> Value {
    state.with("date_ended", (NOON + at) * 1000)
}

/// A caller reaches a queue through the main line; two agents ring, one answers. No leg names the operator: the agent's
/// own leg says that it took the call.
fn story() -> Vec<Value> {
    vec![
        group(MAIN_LINE, "office", "preanswer", 0),
        queue("queued", 5),
        agent(LOSER, "ringing", 10),
        agent(WINNER, "ringing", 10),
        connected(agent(WINNER, "connected", 20), 20),
        ended(agent(LOSER, "missed", 21), 21),
        ended(connected(agent(WINNER, "hangup", 80), 20), 80),
        ended(queue("hangup", 80), 80),
        ended(group(MAIN_LINE, "office", "hangup", 81), 81),
    ]
}

async fn interaction(server: &TestServer, app: &App, id: impl std::fmt::Display) -> Value {
    server.get(&format!("/api/interactions/{id}")).by(app).answer().await.ok()
}

async fn a_call_through_a_queue_is_one_interaction(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &story()).await;
    let emitted = server.feed_once_processed(&app, 1).await;
    let id = &emitted[0]["interaction_id"];
    assert!(emitted.iter().all(|event| event["interaction_id"] == *id), "{emitted:#?}");
    for (leg, expected) in [
        (MAIN_LINE, vec!["call.ring", "call.started", "call.ended"]),
        (QUEUE, vec!["call.ring", "call.started", "call.ended"]),
        (LOSER, vec!["call.ring", "call.ended"]),
        (WINNER, vec!["call.ring", "call.started", "call.ended"]),
    ] {
        assert_eq!(kinds(&of_call(&emitted, leg)), expected, "leg {leg}");
    }
    of_call(&emitted, LOSER)[1].shows(json!({"outcome": "missed", "answered_elsewhere": true}));

    let whole = interaction(&server, &app, id.as_str().expect("an id")).await;
    whole.shows(json!({
        "interaction_id": id, "status": "ended", "outcome": "answered", "direction": "inbound",
        "external_number": "+14155551234", "answered_by": 704, "started_at": "2024-01-01T12:00:20Z",
        "ended_at": "2024-01-01T12:01:21Z", "duration_seconds": 81,
    }));
    let calls = whole["calls"].as_array().expect("its legs");
    let legs: Vec<_> =
        calls.iter().map(|call| (&call["dialpad_call_id"], &call["leg"], &call["outcome"])).collect();
    assert_eq!(
        legs,
        [
            (&json!(MAIN_LINE), &json!("group"), &json!("answered")),
            (&json!(QUEUE), &json!("group"), &json!("answered")),
            (&json!(LOSER), &json!("user"), &json!("missed")),
            (&json!(WINNER), &json!("user"), &json!("answered")),
        ]
    );
    assert!(calls.iter().all(|call| call["interaction_id"] == *id));
    assert_eq!(calls[2]["answered_elsewhere"], true);
    assert_eq!(interaction(&server, &app, WINNER).await, whole, "any leg leads to it");
    assert_eq!(interaction(&server, &app, calls[1]["id"].as_str().expect("an id")).await, whole);
}

async fn whichever_leg_comes_first_the_interaction_is_the_same(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut backwards = story();
    backwards.reverse();
    server.webhooks(&app, &backwards).await;
    let emitted = server.feed_once_processed(&app, 1).await;
    let whole = interaction(&server, &app, QUEUE).await;
    whole.shows(json!({"outcome": "answered", "answered_by": 704, "started_at": "2024-01-01T12:00:20Z"}));
    assert_eq!(whole["calls"].as_array().map(Vec::len), Some(4), "{whole:#}");
    for event in &emitted {
        let id = event["interaction_id"].as_str().expect("an id");
        assert_eq!(
            interaction(&server, &app, id).await["interaction_id"],
            whole["interaction_id"],
            "{event:#}"
        );
    }
}

async fn a_blind_transfer_continues_the_interaction(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let (first, second) = (Call::new(1).of_user(701), Call::new(2).of_user(702));
    let sent_on =
        |state: Value| state.with("transferred_from", json!({"type": "user", "id": 701, "name": "Ada"}));
    let later = |state: &str, at: i64| sent_on(second.state(state, at));
    server
        .webhooks(
            &app,
            &[
                first.state("ringing", 0),
                connected(first.state("connected", 3), 3),
                later("ringing", 30),
                ended(connected(first.state("hangup", 31), 3), 31).with("is_transferred", true),
                connected(later("connected", 35), 35),
                ended(connected(later("hangup", 90), 35), 90),
            ],
        )
        .await;
    server.feed_once_processed(&app, 9).await;
    let whole = interaction(&server, &app, 1).await;
    whole.shows(json!({"answered_by": 701, "outcome": "answered", "duration_seconds": 90}));
    let calls = whole["calls"].as_array().expect("its legs");
    let ids: Vec<_> = calls.iter().map(|call| call["call_id"].clone()).collect();
    assert_eq!(ids, [1, 2], "{whole:#}");
    assert!(calls.iter().all(|call| call["answered_elsewhere"] == false));
}

async fn a_call_by_itself_is_an_interaction_too(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(1);
    server.webhooks(&app, &[call.ring(0), call.started(3)]).await;
    let emitted = server.wait_for_events(&app, 2).await;
    let whole = interaction(&server, &app, 1).await;
    whole.shows(json!({
        "interaction_id": emitted[0]["interaction_id"], "status": "active", "outcome": null, "answered_by": 555,
        "ended_at": null, "duration_seconds": null,
    }));
    server.call(&app, 1).await.shows(json!({"interaction_id": emitted[0]["interaction_id"], "leg": null}));
}

async fn an_interaction_of_another_app_is_not_there(world: World) {
    let server = world.start().await;
    let (ours, theirs) = (server.create_app("ours").await, server.create_app("theirs").await);
    server.webhook(&ours, &Call::new(1).ring(0)).await;
    server.wait_for_events(&ours, 1).await;
    for id in ["1", "01890000-0000-7000-8000-000000000000", "nonsense"] {
        let answer = server.get(&format!("/api/interactions/{id}")).by(&theirs).answer().await;
        answer.refuses(404, "INTERACTION_NOT_FOUND");
    }
}

async fn an_operator_whose_leg_was_never_emitted_is_asked_for(world: World) {
    let dialpad = Dialpad::start().await;
    let server = world.with_dialpad(&dialpad).with("AUTO_SUBSCRIBE", "false").start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    // A leg that Dialpad knows of and the server does not: its webhooks are signed by a stranger.
    let elsewhere = json!({"url": format!("{}/webhooks", server.base_url), "secret": "a stranger's"});
    let played = dialpad.play(&json!({"flow": "answered", "pace": 0, "target": elsewhere})).await;
    let operator = played[0]["call_id"].as_i64().expect("a call has an id");
    let taken =
        connected(group(QUEUE, "call_center", "connected", 20), 20).with("operator_call_id", operator);
    server.webhook(&app, &taken).await;
    server
        .feed_when(&app, "the operator's leg is emitted", |feed| {
            kinds(&of_call(feed, operator)).contains(&"call.ended")
        })
        .await;
    let whole = interaction(&server, &app, QUEUE).await;
    let leg = server.call(&app, operator).await;
    assert_eq!(leg["interaction_id"], whole["interaction_id"]);
    assert!(leg["dialpad_user_id"].is_number(), "{leg:#}");
    assert_eq!(whole["answered_by"], leg["dialpad_user_id"], "{whole:#}");
}
