//! `cti-server verify`: a sound database passes beside the running server, and each broken invariant is named.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Ask, Call, TestServer, With, World, eventually};

on_both_databases![
    a_database_with_all_kinds_of_traffic_is_sound,
    each_broken_invariant_is_named,
    what_an_erasure_and_retention_removed_is_sound,
];

on_sqlite![a_database_that_is_not_there_is_not_created];

/// Calls in both payload families, a human call of two legs, a voicemail, a message and a webhook that can't be read.
pub(crate) async fn traffic(server: &TestServer) -> String {
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.webhooks(&app, [&Call::new(2).ring(0), &Call::new(2).voicemail(30)]).await;
    let queue = Call::new(3);
    server.webhook(&app, &queue.state("ringing", 0)).await;
    let agent = Call::new(4).answered_state("connected", 5).with("entry_point_call_id", 3);
    server.webhook(&app, &agent).await;
    server.webhook(&app, &Call::new(5).state("hologram", 1)).await;
    server.webhook(&app, &message()).await;
    server.webhook(&app, &json!({"event_type": "call.ring", "from_number": "+1"})).await;
    eventually("everything is processed", async || {
        let events = server.get("/api/events?limit=1000").by(&app).answer().await.list();
        events.iter().any(|event| event["type"] == "message.received").then_some(())
    })
    .await;
    app.id
}

fn message() -> Value {
    json!({"event_type": "message.received", "message_id": "m-1", "direction": "inbound",
        "from_number": "+14155551234", "to_number": ["+14155555678"], "text": "hello", "timestamp": 1_704_110_440})
}

async fn a_database_with_all_kinds_of_traffic_is_sound(world: World) {
    let server = world.start().await;
    traffic(&server).await;
    let sound = world.run(&["verify"]).await;
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(sound.stdout.starts_with("sound: 1 apps, ") && sound.stdout.contains(" 4 calls, "), "{sound:?}");
    assert_eq!(sound.stdout.lines().count(), 1, "{sound:?}");
}

/// What breaks an invariant, what repairs it, and the line that names it.
const BROKEN: [(&str, &str, &str); 16] = [
    ("UPDATE events SET seq = 1000 WHERE seq = 3", "UPDATE events SET seq = 3 WHERE seq = 1000", "events missing: 3 to 3"),
    (
        "UPDATE event_feeds SET last_seq = last_seq + 2",
        "UPDATE event_feeds SET last_seq = last_seq - 2",
        "the head of the feed",
    ),
    (
        "UPDATE event_feeds SET last_seq = last_seq - 1",
        "UPDATE event_feeds SET last_seq = last_seq + 1",
        "event beyond the head: ",
    ),
    (
        "UPDATE event_feeds SET oldest_seq = 2",
        "UPDATE event_feeds SET oldest_seq = 1",
        "event before the feed: 1 ",
    ),
    (
        "UPDATE events SET dialpad_call_id = 99 WHERE seq = 1",
        "UPDATE events SET dialpad_call_id = 1 WHERE seq = 1",
        "event without its cause: 1 (call.ring)",
    ),
    (
        "UPDATE events SET body = '!' || body WHERE seq = 1",
        "UPDATE events SET body = substr(body, 2) WHERE seq = 1",
        "event that can't be read: 1 (call.ring)",
    ),
    (
        "UPDATE calls SET dialpad_call_id = 99 WHERE dialpad_call_id = 1",
        "UPDATE calls SET dialpad_call_id = 1 WHERE dialpad_call_id = 99",
        "webhook without its effect: ",
    ),
    (
        "UPDATE calls SET status = 'ringing' WHERE dialpad_call_id = 1",
        "UPDATE calls SET status = 'ended' WHERE dialpad_call_id = 1",
        "call that differs from its facts: call 1 ",
    ),
    (
        "UPDATE calls SET duration_seconds = duration_seconds + 1 WHERE dialpad_call_id = 1",
        "UPDATE calls SET duration_seconds = duration_seconds - 1 WHERE dialpad_call_id = 1",
        ": duration_seconds",
    ),
    (
        "UPDATE messages SET text = 'hullo'",
        "UPDATE messages SET text = 'hello'",
        "message that differs from its facts: message m-1 ",
    ),
    (
        "UPDATE messages SET dialpad_message_id = 'm-2'",
        "UPDATE messages SET dialpad_message_id = 'm-1'",
        "there is no message m-1",
    ),
    (
        "UPDATE interactions SET merged_into = id",
        "UPDATE interactions SET merged_into = NULL",
        "interaction that differs from its legs: ",
    ),
    (
        "UPDATE interactions SET outcome = 'missed' WHERE outcome = 'voicemail'",
        "UPDATE interactions SET outcome = 'voicemail' WHERE outcome = 'missed'",
        "interaction that differs from its legs: ",
    ),
    (
        "UPDATE calls SET interaction_id = '018cc4db-fa40-7c21-9d3e-5b1f0a6c2e85' WHERE dialpad_call_id = 1",
        "UPDATE calls SET interaction_id = NULL WHERE dialpad_call_id = 1",
        "call without its interaction: call 1 ",
    ),
    (
        "INSERT INTO consumers (app_id, name, mode, acked_seq, holder, connections, held_until, created_at, updated_at)
            SELECT id, 'crm', 'exclusive', 5000, 1, 0, created_at, created_at, updated_at FROM apps",
        "DELETE FROM consumers",
        "cursor beyond the head: consumer crm ",
    ),
    (
        "INSERT INTO events (app_id, seq, id, type, occurred_at, published_at, body)
            SELECT '018cc4db-fa40-7c21-9d3e-5b1f0a6c2e85', seq, id, type, occurred_at, published_at, body
            FROM events WHERE seq = 1",
        "DELETE FROM events WHERE app_id = '018cc4db-fa40-7c21-9d3e-5b1f0a6c2e85'",
        "rows of a deleted app: events has 1 of app 018cc4db",
    ),
];

async fn each_broken_invariant_is_named(world: World) {
    let server = world.start().await;
    let app = traffic(&server).await;
    for (break_it, repair, named) in BROKEN {
        world.execute(break_it).await;
        is_named(&world, named).await;
        world.execute(repair).await;
    }
    if !world.is_on_postgres() {
        // PostgreSQL computes it.
        for table in ["calls", "interactions"] {
            world
                .execute(&format!("UPDATE {table} SET ended_updated_at = NULL WHERE status = 'ended'"))
                .await;
            is_named(&world, ": is_over").await;
            world
                .execute(&format!("UPDATE {table} SET ended_updated_at = updated_at WHERE status = 'ended'"))
                .await;
        }
    }
    let sound = world.run(&["verify"]).await;
    assert_eq!(sound.code, Some(0), "each was repaired: {sound:?}");

    world.execute("DROP INDEX webhook_events_dedup").await;
    let key =
        "UPDATE webhook_events SET dedup_key = (SELECT dedup_key FROM webhook_events ORDER BY id LIMIT 1)";
    world.execute(key).await;
    is_named(&world, "dedup key twice: webhooks ").await;
    world.execute("DELETE FROM event_feeds").await;
    is_named(&world, &format!("app without a feed: {app}")).await;
}

async fn is_named(world: &World, named: &str) {
    let broken = world.run(&["verify"]).await;
    assert_eq!(broken.code, Some(1), "{named}: {broken:?}");
    assert!(broken.stdout.contains(named), "{named} is not in {}", broken.stdout);
    let lines = broken.stdout.lines().filter(|line| !line.starts_with("checked: ")).count();
    assert!(broken.stderr.contains(&format!("{lines} ")), "{broken:?}");
}

async fn what_an_erasure_and_retention_removed_is_sound(world: World) {
    let world = world.with("RETENTION_CALLS", "1s").with("RETENTION_INTERVAL", "1s");
    let world = world.with("INTERACTION_SETTLE", "0s");
    let server = world.start().await;
    let app = traffic(&server).await;
    let erase = format!("/internal/apps/{app}/people?number=4155551234");
    server.request(Method::DELETE, &erase).by_admin().answer().await.ok();
    eventually("the calls that are over are removed", async || {
        (server.metrics().await.sum("cti_retention_deleted_total", &["kind=\"interactions\""]) >= 2.0)
            .then_some(())
    })
    .await;
    let sound = world.run(&["verify"]).await;
    assert_eq!(sound.code, Some(0), "{sound:?}");
}

async fn a_database_that_is_not_there_is_not_created(world: World) {
    let refused = world.run(&["verify"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("there is no database at"), "{refused:?}");
    assert!(!world.folder().join("cti.db").exists());
}
