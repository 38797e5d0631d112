//! What did not come by itself is found: calls that were missed, and calls that never end.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::{
    App, Ask, Call, Metrics, NOON, Reply, ReplyGate, ScriptedDialpad, ScriptedRequest, Shows, TestServer,
    World, eventually, kinds, of_call,
};

on_both_databases![
    a_silence_is_looked_into,
    a_kill_in_the_middle_of_a_list_loses_nothing,
    a_page_that_repeats_its_cursor_is_the_last,
    a_list_that_can_not_be_had_is_given_up_and_said,
    what_dialpad_can_not_say_now_is_asked_again,
    a_call_that_is_over_at_dialpad_ends,
    a_call_that_nobody_knows_of_is_taken_for_over,
    the_real_end_of_a_call_that_was_taken_for_over_adds_to_it,
    a_call_that_was_taken_for_over_and_goes_on_is_live_again,
    a_call_of_an_app_without_a_connection_is_taken_for_over,
    a_call_that_goes_on_is_left_alone,
    a_call_that_can_not_be_asked_about_is_taken_for_over,
];

const CALL: i64 = 6_000_000_000_000_001;

/// Unix milliseconds, so many before now.
fn ago(milliseconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    u64::try_from(now).expect("not that far in the future") - milliseconds
}

/// A call as Dialpad lists it, which ended so many milliseconds ago.
fn concluded(id: i64, milliseconds_ago: u64) -> Value {
    let (began, ended) = (ago(milliseconds_ago + 60_000), ago(milliseconds_ago));
    json!({
        "call_id": id.to_string(), "direction": "inbound", "state": "hangup", "external_number": "+14155551234",
        "internal_number": "+14155555678", "target": {"id": "555", "type": "user", "name": "Ada"},
        "date_started": began.to_string(), "date_rang": (began + 1000).to_string(),
        "date_connected": (began + 4000).to_string(), "date_ended": ended.to_string(),
        "total_duration": 60_000.25, "duration": 56_000.25,
    })
}

/// A Dialpad of which one call can be asked, with these replies in this order, the last one for ever.
async fn saying(replies: Vec<Reply>) -> ScriptedDialpad {
    let mut replies = replies.into_iter();
    let mut last = Reply::json(500, json!({}));
    ScriptedDialpad::start(move |asked: &ScriptedRequest| {
        if asked.what == format!("GET call/{CALL}") {
            last = replies.next().unwrap_or_else(|| last.clone());
            return last.clone();
        }
        Reply::json(200, json!({}))
    })
    .await
}

/// Looks after calls every second.
fn impatient(world: World) -> World {
    world.with("REPAIR_AFTER", "1s").with("CALLS_RINGING_AT_MOST", "1s").with("CALLS_LIVE_AT_MOST", "1s")
}

async fn ended(server: &TestServer, app: &App) -> Value {
    let over = |feed: &[Value]| kinds(&of_call(feed, CALL)).contains(&"call.ended");
    let feed = server.feed_when(app, "the call is over", over).await;
    let mut ends = of_call(&feed, CALL);
    ends.retain(|event| event["type"] == "call.ended");
    assert_eq!(ends.len(), 1, "{ends:#?}");
    ends.remove(0)
}

fn count(metrics: &Metrics, name: &str) -> f64 {
    metrics.sum(name, &[])
}

async fn a_silence_is_looked_into(world: World) {
    // One call that nobody emitted of, and another one of which the webhooks emitted.
    let dialpad = ScriptedDialpad::start(|asked: &ScriptedRequest| match &*asked.what {
        "GET call" => Reply::json(200, json!({"items": [concluded(CALL, 1500), concluded(7, 1500)]})),
        _ => Reply::json(404, json!({})),
    })
    .await;
    let world = world.with_scripted(&dialpad).with("REPAIR_AFTER", "1s").with("WEBHOOK_SILENCE", "1s");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let silent = server.create_app("Silent from the beginning").await;
    server.webhooks(&app, &Call::new(7).life()).await;
    let event = ended(&server, &app).await;
    event.shows(json!({
        "source": "repaired", "outcome": "answered", "duration_seconds": 60, "from_number": "+14155551234",
        "dialpad_user_id": 555,
    }));
    assert!(event.get("inferred").is_none(), "{event:#}");
    server.call(&app, CALL).await.shows(json!({"status": "ended", "outcome": "answered"}));
    // Calls that are missed are looked for again and again, and emitted once.
    dialpad.wait_for_requests("GET call", 3).await;
    let feed = server.feed(&app).await;
    assert_eq!(kinds(&of_call(&feed, CALL)), ["call.ended"]);
    assert_eq!(of_call(&feed, 7).len(), 5);
    assert!(of_call(&feed, 7).iter().all(|event| event.get("source").is_none()));
    assert!(server.feed(&silent).await.is_empty());
    assert_eq!(count(&server.metrics().await, "cti_calls_repaired_total"), 1.0);
}

async fn a_kill_in_the_middle_of_a_list_loses_nothing(world: World) {
    let gate = ReplyGate::default();
    let held = gate.clone();
    let dialpad = ScriptedDialpad::start(move |asked: &ScriptedRequest| match &*asked.what {
        "GET call" if asked.query.contains("cursor=page-2") => {
            Reply::json(200, json!({"items": [concluded(CALL, 1500)]})).held_by(&held)
        }
        "GET call" => Reply::json(200, json!({"items": [concluded(CALL + 1, 1500)], "cursor": "page-2"})),
        _ => Reply::json(404, json!({})),
    })
    .await;
    let world = world.with_scripted(&dialpad).with("REPAIR_AFTER", "1s");
    let mut server = world.start().await;
    server.wait_for_heartbeat().await;
    let app = server.create_app("CRM").await;
    server.process.kill();
    server = world.start().await;
    let first = dialpad.wait_for_requests("GET call", 2).await;
    assert!(first[0].query.contains("started_after=") && first[0].query.contains("started_before="));
    assert!(first[1].query.starts_with(first[0].query.as_str()), "another list: {first:#?}");
    server.process.kill();
    let server = world.start().await;
    // The time between the two starts is a gap of its own, and its list is from the beginning. The one that was begun
    // goes on behind its first page, but not before the turn of the killed server is over.
    gate.open();
    let feed = server
        .feed_when(&app, "both calls are emitted", |feed| {
            [CALL, CALL + 1].iter().all(|call| !of_call(feed, *call).is_empty())
        })
        .await;
    for call in [CALL, CALL + 1] {
        assert_eq!(kinds(&of_call(&feed, call)), ["call.ended"]);
    }
}

async fn a_page_that_repeats_its_cursor_is_the_last(world: World) {
    let dialpad = ScriptedDialpad::start(|asked: &ScriptedRequest| match &*asked.what {
        "GET call" => Reply::json(200, json!({"items": [concluded(CALL, 1500)], "cursor": "X"})),
        _ => Reply::json(404, json!({})),
    })
    .await;
    let world = world.with_scripted(&dialpad).with("REPAIR_AFTER", "1s");
    let mut server = world.start().await;
    server.wait_for_heartbeat().await;
    let app = server.create_app("CRM").await;
    server.process.kill();
    server = world.start().await;
    ended(&server, &app).await.shows(json!({"source": "repaired"}));
    eventually("the gap is recovered", async || {
        (world.count("SELECT COUNT(*) FROM gaps").await == 0).then_some(())
    })
    .await;
    let (again, first): (Vec<_>, Vec<_>) =
        dialpad.requests("GET call").into_iter().partition(|asked| asked.query.contains("cursor=X"));
    assert_eq!(again.len(), first.len(), "one page more for each list: {again:#?}");
}

async fn a_list_that_can_not_be_had_is_given_up_and_said(world: World) {
    let dialpad = ScriptedDialpad::start(|_: &ScriptedRequest| Reply::json(403, json!({}))).await;
    let world = world.with_scripted(&dialpad).with("REPAIR_AFTER", "1s");
    let mut server = world.start().await;
    server.wait_for_heartbeat().await;
    let app = server.create_app("CRM").await;
    server.process.kill();
    server = world.start().await;
    let unrecovered_gaps = eventually("the gap is given up", async || {
        let status = server.get("/status").by(&app).answer().await.ok();
        status["unrecovered_gaps"].as_array().filter(|gaps| !gaps.is_empty()).cloned()
    })
    .await;
    assert_eq!(unrecovered_gaps.len(), 1, "{unrecovered_gaps:#?}");
    assert!(
        unrecovered_gaps[0]["since"].as_str() < unrecovered_gaps[0]["until"].as_str(),
        "{unrecovered_gaps:#?}"
    );
    assert!(
        unrecovered_gaps[0]["reason"].as_str().is_some_and(|why| why.contains("calls:list")),
        "{unrecovered_gaps:#?}"
    );
    assert_eq!(dialpad.requests("GET call").len(), 1);
    assert_eq!(count(&server.metrics().await, "cti_gaps_given_up_total"), 1.0);
}

async fn what_dialpad_can_not_say_now_is_asked_again(world: World) {
    let mut asked = 0;
    let dialpad = ScriptedDialpad::start(move |_: &ScriptedRequest| {
        asked += 1;
        match asked {
            1 => Reply::json(429, json!({})).header("retry-after", "1"),
            2 => Reply::none(),
            _ => Reply::json(200, json!({"items": [concluded(CALL, 1500)]})),
        }
    })
    .await;
    let world = world.with_scripted(&dialpad).with("REPAIR_AFTER", "1s");
    let mut server = world.start().await;
    server.wait_for_heartbeat().await;
    let app = server.create_app("CRM").await;
    server.process.kill();
    server = world.start().await;
    ended(&server, &app).await.shows(json!({"source": "repaired"}));
}

async fn a_call_that_is_over_at_dialpad_ends(world: World) {
    let dialpad = saying(vec![Reply::json(200, concluded(CALL, 0))]).await;
    let server = impatient(world.with_scripted(&dialpad)).start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(CALL).ring(0)).await;
    ended(&server, &app).await.shows(json!({"source": "repaired", "outcome": "answered"}));
    let metrics = server.metrics().await;
    assert_eq!(count(&metrics, "cti_calls_repaired_total"), 1.0);
    assert_eq!(count(&metrics, "cti_calls_inferred_total"), 0.0);
}

async fn a_call_that_nobody_knows_of_is_taken_for_over(world: World) {
    let dialpad = saying(vec![Reply::json(404, json!({}))]).await;
    let server = impatient(world.with_scripted(&dialpad)).start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &[Call::new(CALL).ring(0), Call::new(CALL).started(3)]).await;
    let event = ended(&server, &app).await;
    event.shows(json!({"inferred": true, "outcome": "answered", "status": "ended"}));
    assert!(event.get("source").is_none(), "{event:#}");
    assert_eq!(count(&server.metrics().await, "cti_calls_inferred_total"), 1.0);
    assert_eq!(dialpad.requests(&format!("GET call/{CALL}")).len(), 1);
}

async fn the_real_end_of_a_call_that_was_taken_for_over_adds_to_it(world: World) {
    let dialpad = saying(vec![Reply::json(404, json!({}))]).await;
    let server = impatient(world.with_scripted(&dialpad)).start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(CALL);
    server.webhooks(&app, &[call.ring(0), call.started(3)]).await;
    ended(&server, &app).await.shows(json!({"inferred": true}));
    server.webhook(&app, &call.ended(180)).await;
    let feed = server.feed_until(&app, "call.updated").await;
    assert_eq!(kinds(&feed), ["call.ring", "call.started", "call.ended", "call.updated"]);
    feed[3].shows(json!({"ended_at": "2024-01-01T12:03:00Z", "duration_seconds": 180}));
    assert!(feed[3].get("inferred").is_none(), "{:#}", feed[3]);
    assert_eq!(feed[3]["timestamp"], NOON + 180);
}

async fn a_call_that_was_taken_for_over_and_goes_on_is_live_again(world: World) {
    // Asked again, Dialpad knows the call: its end is not presumed a second time.
    let live = json!({"call_id": CALL.to_string(), "state": "connected"});
    let dialpad = saying(vec![Reply::json(404, json!({})), Reply::json(200, live)]).await;
    let server = impatient(world.with_scripted(&dialpad)).start().await;
    let app = server.create_app("CRM").await;
    let call = Call::new(CALL);
    server.webhooks(&app, &[call.ring(0), call.started(3)]).await;
    ended(&server, &app).await.shows(json!({"inferred": true}));
    server.webhook(&app, &call.held(20)).await;
    let feed = server.feed_until(&app, "call.held").await;
    assert_eq!(kinds(&of_call(&feed, CALL))[2..], ["call.ended", "call.updated", "call.held"]);
    let withdrawn = &of_call(&feed, CALL)[3];
    withdrawn.shows(json!({"status": "held", "outcome": null, "ended_at": null}));
    assert_eq!(withdrawn["changed"][0], "status");
    assert!(withdrawn.get("inferred").is_none(), "{withdrawn:#}");
    server.call(&app, CALL).await.shows(json!({"status": "held", "ended_at": null}));
    let active = server.get("/api/calls/active").by(&app).answer().await.ok();
    assert_eq!(active.as_array().map(Vec::len), Some(1), "{active:#}");

    server.webhook(&app, &call.ended(180)).await;
    let feed = server.feed_when(&app, "the real end", |feed| {
        kinds(&of_call(feed, CALL)).iter().filter(|kind| **kind == "call.ended").count() == 2
    });
    let last = of_call(&feed.await, CALL).pop().expect("an event");
    last.shows(json!({"type": "call.ended", "ended_at": "2024-01-01T12:03:00Z", "outcome": "answered"}));
    assert!(last.get("inferred").is_none(), "{last:#}");
}

async fn a_call_of_an_app_without_a_connection_is_taken_for_over(world: World) {
    let server = impatient(world).start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(CALL).ring(0)).await;
    ended(&server, &app).await.shows(json!({"inferred": true, "outcome": "missed"}));
    // What was known to be over stays as it is.
    assert_eq!(server.call(&app, CALL).await["status"], "ended");
}

async fn a_call_that_goes_on_is_left_alone(world: World) {
    let live =
        json!({"call_id": CALL.to_string(), "state": "connected", "date_connected": ago(9000).to_string()});
    let replies =
        vec![Reply::json(200, live.clone()), Reply::json(200, live), Reply::json(200, concluded(CALL, 0))];
    let dialpad = saying(replies).await;
    let server = impatient(world.with_scripted(&dialpad)).start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(CALL).ring(0)).await;
    let question = format!("GET call/{CALL}");
    dialpad.wait_for_requests(&question, 2).await;
    assert_eq!(kinds(&server.feed(&app).await), ["call.ring"]);
    ended(&server, &app).await.shows(json!({"source": "repaired"}));
    assert_eq!(dialpad.requests(&question).len(), 3);
}

async fn a_call_that_can_not_be_asked_about_is_taken_for_over(world: World) {
    let dialpad = saying(vec![Reply::json(403, json!({}))]).await;
    let server = impatient(world.with_scripted(&dialpad)).start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(CALL).ring(0)).await;
    ended(&server, &app).await.shows(json!({"inferred": true}));
    assert_eq!(dialpad.requests(&format!("GET call/{CALL}")).len(), 3);
}
