//! Calls end at Dialpad while the server is down.

use serde_json::{Value, json};

use crate::support::{Call, Dialpad, TestServer, World, assert_contiguous, eventually, kinds, of_call};

on_both_databases![
    calls_that_ended_while_the_server_was_down_are_delivered_once_as_repaired,
    a_call_in_progress_when_the_server_died_is_completed,
];

fn connected(world: World, dialpad: &Dialpad) -> World {
    world.with_dialpad(dialpad).with("REPAIR_AFTER", "1s")
}

/// Returns the ids of the calls of a run.
fn calls(deliveries: &[Value]) -> Vec<i64> {
    let mut calls: Vec<i64> = deliveries.iter().filter_map(|delivery| delivery["call_id"].as_i64()).collect();
    calls.sort_unstable();
    calls.dedup();
    calls
}

fn ends(feed: &[Value], call: i64) -> Vec<Value> {
    of_call(feed, call).into_iter().filter(|event| event["type"] == "call.ended").collect()
}

async fn calls_that_ended_while_the_server_was_down_are_delivered_once_as_repaired(world: World) {
    let dialpad = Dialpad::start().await;
    let world = connected(world, &dialpad);
    let mut server = world.start().await;
    server.wait_for_heartbeat().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let flow_request =
        |flow: &str| json!({"flow": flow, "calls": 4, "rate": 50, "pace": 0, "wait_for_subscriber": true});
    let seen = calls(&dialpad.play(&flow_request("answered")).await);
    let before = server
        .feed_when(&app, "all calls have ended", |feed| seen.iter().all(|call| ends(feed, *call).len() == 1))
        .await;
    server.process.kill();

    let mut missed = Vec::new();
    let mut left_messages = Vec::new();
    for flow in ["answered", "missed", "voicemail", "outbound"] {
        let run = calls(&dialpad.play(&flow_request(flow)).await);
        if flow == "voicemail" {
            left_messages.clone_from(&run);
        }
        missed.extend(run);
    }
    // Twice: events delivered once are not delivered again after the next start.
    for (start, marker) in [(0, 1), (1, 2)] {
        server = world.start().await;
        wait_until_gaps_are_closed(&server).await;
        // When this rings, everything found before has been delivered.
        server.webhook_for_all(&Call::new(marker).of_organization(Dialpad::COMPANY).ring(0)).await;
        let feed = server.feed_when(&app, "the marker rings", |feed| !of_call(feed, marker).is_empty()).await;
        assert_contiguous(&feed, 0);
        let news = &feed[before.len()..];
        for call in &seen {
            assert_eq!(ends(&feed, *call).len(), 1);
            assert!(of_call(&feed, *call).iter().all(|event| event.get("source").is_none()));
        }
        for call in &missed {
            let ends = ends(news, *call);
            assert_eq!(ends.len(), 1, "{:#?}", of_call(news, *call));
            assert_eq!(ends[0]["source"], "repaired");
        }
        for call in &left_messages {
            let events = of_call(news, *call);
            assert_eq!(kinds(&events), ["call.ended", "voicemail.received"], "{events:#?}");
            assert!(events.iter().all(|event| event["source"] == "repaired"), "{events:#?}");
        }
        let metrics = server.metrics().await;
        let repaired = if start == 0 { missed.len() } else { 0 };
        assert_eq!(metrics.sum("cti_calls_repaired_total", &[]) as usize, repaired);
        server.process.kill();
    }
}

/// Waits until the server has read the missed calls from Dialpad and stored them.
async fn wait_until_gaps_are_closed(server: &TestServer) {
    eventually("no gap is pending", async || {
        let metrics = server.metrics().await;
        let asked = metrics.sum("cti_dialpad_requests_total", &["endpoint=\"calls\""]);
        (asked > 0.0 && metrics.sum("cti_gaps_pending", &[]) == 0.0).then_some(())
    })
    .await;
}

async fn a_call_in_progress_when_the_server_died_is_completed(world: World) {
    let dialpad = Dialpad::start().await;
    let world = connected(world, &dialpad);
    let mut server = world.start().await;
    server.wait_for_heartbeat().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let flow_request = json!({"flow": "answered", "pace": 0.02, "wait_for_subscriber": true});
    let dying = async {
        server.feed_until(&app, "call.started").await;
        server.process.kill();
    };
    let (deliveries, ()) = tokio::join!(dialpad.play(&flow_request), dying);
    let call = calls(&deliveries)[0];
    let server = world.start().await;
    let feed = server.feed_until(&app, "call.ended").await;
    let events = of_call(&feed, call);
    assert_eq!(kinds(&events).iter().filter(|kind| **kind == "call.started").count(), 1, "{events:#?}");
    let ends = ends(&feed, call);
    assert_eq!((ends.len(), &ends[0]["source"]), (1, &json!("repaired")), "{events:#?}");
}
