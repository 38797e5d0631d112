//! The log: what a machine can rely on in it, and that it stays readable under load.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use crate::support::{Ask, Call, TestServer, World, eventually, within};

on_both_databases![
    a_line_in_json_has_stable_fields,
    one_id_leads_from_a_webhook_through_the_engine_to_the_session,
    a_burst_of_events_writes_next_to_nothing,
    a_line_that_repeats_is_counted,
];

/// The fields that every line has.
const FIELDS: [&str; 4] = ["timestamp", "level", "message", "target"];

fn lines(server: &TestServer) -> Vec<Value> {
    let log = server.process.log();
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

async fn a_line_in_json_has_stable_fields(world: World) {
    let server = world.with("LOG_FORMAT", "json").start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.get("/nothing/is/here").send().await.expect("an answer");
    let written = lines(&server);
    assert!(written.len() > 2, "{written:#?}");
    for line in &written {
        let fields: BTreeSet<&str> =
            line.as_object().expect("an object").keys().map(String::as_str).collect();
        assert!(FIELDS.iter().all(|field| fields.contains(field)), "{line:#}");
        assert!(["INFO", "WARN", "ERROR"].contains(&line["level"].as_str().expect("a level")), "{line:#}");
        let at = line["timestamp"].as_str().expect("a time");
        assert!(chrono::DateTime::parse_from_rfc3339(at).is_ok(), "{line:#}");
    }
}

async fn one_id_leads_from_a_webhook_through_the_engine_to_the_session(world: World) {
    let filter = "info,cti_server=debug,cti_actors=debug";
    let server = world.with("LOG_FORMAT", "json").with("RUST_LOG", filter).start().await;
    let app = server.create_app("CRM").await;
    let mut listener = server.listen(&app).await;
    let ack = server.webhook(&app, &Call::new(1).ring(0)).await;
    let event = listener.next_event().await;
    let line = async |text: &str| {
        eventually(text, async || lines(&server).into_iter().find(|line| line["message"] == text)).await
    };
    let taken = line("a webhook was taken").await;
    assert_eq!(taken["webhook.id"], ack.event_id.as_str(), "{taken:#}");
    assert_eq!(taken["span"]["webhook.id"], ack.event_id.as_str(), "{taken:#}");
    assert!(taken["span"]["request.id"].is_string(), "{taken:#}");
    let processed = line("webhooks were processed").await;
    assert_eq!(processed["webhook.id"], ack.event_id.as_str(), "{processed:#}");
    assert_eq!(
        (&processed["first_seq"], &processed["last_seq"]),
        (&event["seq"], &event["seq"]),
        "{processed:#}"
    );
    let sent = line("events were sent to a client").await;
    assert_eq!((&sent["first_seq"], &sent["last_seq"]), (&event["seq"], &event["seq"]), "{sent:#}");
    assert!(sent["session.id"].is_string(), "{sent:#}");
}

async fn a_burst_of_events_writes_next_to_nothing(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut listener = server.listen(&app).await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    listener.next_event().await;
    let before = server.process.log().lines().count();
    let calls = 2..102;
    for call in calls.clone() {
        server.webhooks(&app, &Call::new(call).life()).await;
    }
    let events = 5 * calls.count();
    assert_eq!(listener.events(events).await.len(), events);
    let written = server.process.log().lines().count() - before;
    // 10 lines for 1,000 events.
    assert!(written * 100 <= events, "{written} lines for {events} events:\n{}", server.process.log());
}

async fn a_line_that_repeats_is_counted(world: World) {
    let server = world.start().await;
    server.create_app("CRM").await;
    world.execute("UPDATE apps SET region = '??'").await;
    for _ in 0..60 {
        let answer = server.get("/internal/apps").by_admin().answer().await;
        assert!(answer.status >= 500, "{answer}");
    }
    world.execute("UPDATE apps SET region = 'US'").await;
    let log = || server.process.log();
    let failed = |line: &&str| {
        (line.contains("a request failed") || line.contains("the store failed")) && !line.contains("repeated")
    };
    let errors = |log: &str| log.lines().filter(failed).count();
    assert_eq!(errors(&log()), 20, "{}", log());
    within(Duration::from_secs(40), "the count", async || {
        log().contains(": repeated 40 times").then_some(())
    })
    .await;
}
