//! Retention of calls: a human call that is over is removed as a whole; one that goes on stays.

use serde_json::json;

use crate::support::{Ask, Call, Shows, With, World, eventually, seqs};

on_both_databases![
    a_call_that_is_over_is_removed_with_its_legs_and_its_voicemail,
    calls_are_kept_for_ever_unless_that_is_set,
];

async fn a_call_that_is_over_is_removed_with_its_legs_and_its_voicemail(world: World) {
    let world = world.with("RETENTION_CALLS", "1s").with("RETENTION_INTERVAL", "1s");
    let server = world.with("INTERACTION_SETTLE", "0s").start().await;
    let app = server.create_app("CRM").await;
    // A live human call of two legs, one of which has ended.
    server.webhook(&app, &Call::new(1).state("ringing", 0)).await;
    let agent = |id: i64, state: &str| Call::new(id).answered_state(state, 5).with("entry_point_call_id", 1);
    server.webhook(&app, &agent(2, "connected")).await;
    server.webhook(&app, &agent(3, "hangup").with("date_ended", 1_704_110_430_000_i64)).await;
    // One that is over, with a voicemail; and a message.
    let over = Call::new(4).between("+14155550199", "+14155555678");
    server.webhooks(&app, [&over.ring(0), &over.voicemail(30)]).await;
    let message = json!({"event_type": "message.received", "message_id": "m-1", "direction": "inbound",
        "from_number": "+14155551234", "to_number": ["+14155555678"], "text": "hello", "timestamp": 1_704_110_440});
    server.webhook(&app, &message).await;
    let lists = async |path: &str| server.get(&format!("/api/{path}")).by(&app).answer().await.list();
    eventually("what is over is removed", async || {
        let left = [lists("voicemails").await.len(), lists("messages").await.len()];
        (left == [0, 0] && server.get("/api/calls/4").by(&app).answer().await.status == 404).then_some(())
    })
    .await;
    for call in 1..=3 {
        server.call(&app, call).await.shows(json!({"dialpad_call_id": call}));
    }
    assert_eq!(lists("interactions").await.len(), 1);
    let events = seqs(&lists("events?limit=1000").await);
    assert!(events.len() >= 6 && events[0] == 1, "the feed has its own retention: {events:?}");
    let removed = server.metrics().await;
    for (kind, rows) in [("calls", 1.0), ("interactions", 1.0), ("voicemails", 1.0), ("messages", 1.0)] {
        let kind = format!("kind=\"{kind}\"");
        assert!((removed.sum("cti_retention_deleted_total", &[&kind]) - rows).abs() < 0.5, "{kind}");
    }
    assert!(removed.sum("cti_retention_last_run_timestamp_seconds", &[]) > 1.7e9);

    // A late webhook of a removed call is new.
    server.webhook(&app, &over.ended(60)).await;
    server.call(&app, 4).await.shows(json!({"status": "ended"}));
}

async fn calls_are_kept_for_ever_unless_that_is_set(world: World) {
    let server = world.with("RETENTION_INTERVAL", "1s").with("RETENTION_EVENTS", "1s").start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    eventually("the events are removed", async || {
        (server.metrics().await.sum("cti_retention_deleted_total", &["kind=\"events\""]) >= 4.0).then_some(())
    })
    .await;
    server.call(&app, 1).await.shows(json!({"status": "ended"}));
}
