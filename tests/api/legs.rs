//! One human call as several legs: a group's menu and queue, and the person who takes the call.

use serde_json::{Value, json};

use crate::support::{App, Call, NOON, Shows, TestServer, With, World, kinds, of_call};

on_both_databases![
    a_menu_is_not_an_answer,
    a_caller_who_leaves_the_queue_abandons_the_call,
    each_leg_is_a_call_of_its_own,
];

const GROUP_LEG: i64 = 6_000_000_000_000_001;
const AGENT_LEG: i64 = 6_000_000_000_000_002;

/// A snapshot of the leg at the call centre.
fn group(state: &str, at: i64) -> Value {
    let target = json!({"type": "call_center", "id": 5_000, "name": "Sales"});
    Call::new(GROUP_LEG).state(state, at).with("target", target)
}

/// A snapshot of the leg at the agent whom the call centre rings.
fn agent(state: &str, at: i64) -> Value {
    Call::new(AGENT_LEG).of_user(777).state(state, at).with("entry_point_call_id", GROUP_LEG)
}

fn connected_at(snapshot: Value, at: i64) -> Value {
    snapshot.with("date_connected", (NOON + at) * 1000)
}

async fn tell(server: &TestServer, app: &App, states: impl IntoIterator<Item = Value>) {
    for state in states {
        server.webhook(app, &state).await;
    }
}

async fn a_menu_is_not_an_answer(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    tell(&server, &app, [group("preanswer", 0), connected_at(group("connected", 2), 2), group("queued", 5)])
        .await;
    server.feed_once_processed(&app, 1).await;
    server
        .call(&app, GROUP_LEG)
        .await
        .shows(json!({"status": "ringing", "answered_at": null, "outcome": null}));

    let taken = connected_at(group("connected", 20), 20).with("operator_call_id", AGENT_LEG);
    tell(&server, &app, [taken]).await;
    let emitted = of_call(&server.feed_until(&app, "call.started").await, GROUP_LEG);
    assert_eq!(
        kinds(&emitted).iter().filter(|kind| **kind == "call.ring").count(),
        1,
        "{:?}",
        kinds(&emitted)
    );
    server.call(&app, GROUP_LEG).await.shows(json!({"status": "active"}));
}

async fn a_caller_who_leaves_the_queue_abandons_the_call(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let ended = |state: Value, at: i64| state.with("date_ended", (NOON + at) * 1000);
    tell(&server, &app, [group("queued", 0), ended(group("hangup", 40), 40)]).await;
    let emitted = server.wait_for_events(&app, 2).await;
    assert_eq!(kinds(&emitted), ["call.ring", "call.ended"]);
    emitted[1].shows(json!({"outcome": "abandoned", "duration_seconds": 40, "talk_seconds": 0}));

    let lone = Call::new(1).state("hangup", 9).with("target", json!({"type": "office", "id": 1}));
    tell(&server, &app, [ended(lone, 9)]).await;
    server.wait_for_events(&app, 3).await[2].shows(json!({"type": "call.ended", "outcome": "abandoned"}));
}

async fn each_leg_is_a_call_of_its_own(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let over = |leg: Value| leg.with("date_ended", (NOON + 90) * 1000).with("talk_time", 70_000);
    tell(&server, &app, [group("queued", 0), agent("ringing", 15), connected_at(agent("connected", 20), 20)])
        .await;
    let taken = connected_at(group("connected", 20), 20).with("operator_call_id", AGENT_LEG);
    tell(&server, &app, [taken.clone(), over(connected_at(agent("hangup", 90), 20))]).await;
    tell(&server, &app, [over(taken.with("state", "hangup").with("event_timestamp", (NOON + 90) * 1000))])
        .await;
    let emitted = server.feed_once_processed(&app, 1).await;
    for (leg, user) in [(GROUP_LEG, json!(null)), (AGENT_LEG, json!(777))] {
        let mut of_leg = of_call(&emitted, leg);
        of_leg.retain(|event| event["type"] != "call.updated");
        assert_eq!(kinds(&of_leg), ["call.ring", "call.started", "call.ended"], "leg {leg}");
        of_leg[2].shows(json!({"outcome": "answered", "talk_seconds": 70, "dialpad_user_id": user}));
    }
}
