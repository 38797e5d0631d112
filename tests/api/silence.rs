//! Whether Dialpad is silent, or nothing happens: by what each app usually receives at that hour of the week.

use std::time::SystemTime;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::support::{App, Ask, Call, STOP_TIMEOUT, Shows, World, eventually};

on_both_databases![
    an_app_that_usually_receives_webhooks_now_is_silent_when_none_come,
    what_an_app_receives_is_counted_by_the_hour,
];

const WEEK: i64 = 168;

/// Writes that the app received so many webhooks in each hour around this one, in each of three weeks before, and the last
/// one half an hour ago.
async fn write_history(world: &World, app: &App, webhooks: i64) {
    let now = DateTime::<Utc>::from(SystemTime::now());
    let hour = now.timestamp().div_euclid(3600);
    let last = now - TimeDelta::minutes(30);
    let mut rows = vec![(last.timestamp().div_euclid(3600), 1, last)];
    for week in 1..=3 {
        for hour in hour - 2..=hour {
            let hour = hour - week * WEEK;
            rows.push((hour, webhooks, DateTime::UNIX_EPOCH + TimeDelta::hours(hour)));
        }
    }
    for (hour, webhooks, last) in rows {
        let last = last.to_rfc3339();
        let row = format!("INSERT INTO webhook_hours VALUES ('{}', {hour}, {webhooks}, '{last}')", app.id);
        world.execute(&row).await;
    }
}

async fn an_app_that_usually_receives_webhooks_now_is_silent_when_none_come(world: World) {
    let server = world.start().await;
    let (busy, quiet) = (server.create_app("Busy").await, server.create_app("Quiet").await);
    let fresh = server.create_app("Fresh").await;
    write_history(&world, &busy, 120).await;
    write_history(&world, &quiet, 1).await;
    drop(server);

    let mut server = world.start().await;
    let traffic = async |app: &App, expected: &str| {
        eventually(&format!("traffic is {expected}"), async || {
            let status = server.get("/status").by(app).answer().await.ok();
            (status["webhook"]["traffic"] == expected).then_some(())
        })
        .await;
    };
    traffic(&busy, "silent").await;
    traffic(&quiet, "normal").await;
    traffic(&fresh, "unknown").await;
    assert_eq!(server.metrics().await.sum("cti_apps_silent", &[]), 1.0);
    let said = |line: &str| line.contains("although it usually does at this hour").then_some(());
    server.process.wait_for_line("that the app is silent", said).await;
}

async fn what_an_app_receives_is_counted_by_the_hour(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    server.process.stop(STOP_TIMEOUT).await;
    drop(server);
    world.start().await.get("/health").answer().await.ok().shows(json!({"status": "healthy"}));
    let counted = "SELECT CAST(COALESCE(SUM(webhooks), 0) AS BIGINT) FROM webhook_hours";
    assert_eq!(world.count(counted).await, 5);
}
