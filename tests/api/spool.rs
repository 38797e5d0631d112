//! The spool: webhooks while the database can't be written.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Ack, App, Ask, Call, Outage, Shows, TestServer, World, assert_contiguous, eventually, kinds,
};

on_both_databases![
    what_the_database_can_not_take_is_spooled_and_emitted_in_order_afterwards,
    what_is_spooled_is_routed_when_it_is_drained,
    signatures_are_checked_without_the_database,
    a_webhook_that_has_no_place_is_refused_until_the_database_is_back,
    without_a_spool_webhooks_are_refused_until_the_database_is_back,
    a_killed_server_leaves_its_spool_to_the_next_one,
    a_damaged_webhook_is_reported_and_costs_no_other,
    a_second_server_on_the_same_spool_is_refused,
];

/// The first webhook of an outage waits for the database, for so long altogether.
const FIRST_WITHIN: Duration = Duration::from_secs(1);
/// The next ones don't. The machine that runs the tests may be busy.
const NEXT_WITHIN: Duration = Duration::from_millis(500);

/// Posts a webhook, which must be spooled in time.
async fn spool(server: &TestServer, path: &str, payload: &Value, within: Duration) {
    let began = Instant::now();
    let answer = server.post_webhook(path, &payload.to_string()).await.ok();
    let took = began.elapsed();
    assert_eq!(
        answer,
        json!({"success": true, "event_id": null, "duplicate": false, "status": "spooled"}),
        "after {took:?}"
    );
    assert!(took < within, "Dialpad waited {took:?}");
}

/// Posts webhooks of an app, which must all be spooled.
async fn spool_all<'a>(server: &TestServer, app: &App, payloads: impl IntoIterator<Item = &'a Value>) {
    let path = format!("/webhooks/{}", app.id);
    for (index, payload) in payloads.into_iter().enumerate() {
        spool(server, &path, payload, if index == 0 { FIRST_WITHIN } else { NEXT_WITHIN }).await;
    }
}

async fn state(server: &TestServer) -> Value {
    server.get("/internal/engine").by_admin().answer().await.ok()["spool"].clone()
}

async fn is_drained(server: &TestServer) {
    eventually("the spool is empty", async || {
        let state = state(server).await;
        (state == json!({"state": "empty", "bytes": 0, "webhooks": 0})).then_some(())
    })
    .await;
}

fn segments(world: &World) -> Vec<PathBuf> {
    let folder = fs::read_dir(world.folder().join("spool")).expect("the folder of the spool");
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "spool"));
    files.sort();
    files
}

async fn what_the_database_can_not_take_is_spooled_and_emitted_in_order_afterwards(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let [ring, started, held, resumed, ended] = Call::new(1).life();
    server.webhook(&app, &ring).await;

    let outage = Outage::begin(&world).await;
    let before = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
    spool_all(&server, &app, [&started, &held, &resumed]).await;
    let after = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
    state(&server).await.shows(json!({"state": "filling", "webhooks": 3}));
    let metrics = server.metrics().await;
    assert_eq!(metrics.sum("cti_spool_webhooks", &[]), 3.0);
    assert!(metrics.sum("cti_spool_bytes", &[]) > 300.0);
    assert_eq!(metrics.sum("cti_webhooks_total", &["outcome=\"spooled\""]), 3.0);
    let health = server.get("/health").answer().await;
    assert_eq!(health.status, 503, "{health}");
    health.json()["checks"].shows(json!({"spool": "ok"}));
    assert_ne!(health.json()["checks"]["database"], "ok", "{health}");
    assert_eq!(server.get("/health/ready").answer().await.status, 200);

    outage.end().await;
    is_drained(&server).await;
    server.webhook(&app, &ended).await;
    let feed = server.wait_for_events(&app, 5).await;
    assert_eq!(kinds(&feed), ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"]);
    assert_contiguous(&feed, 0);
    assert_eq!(socket.events(5).await, feed);
    assert!(segments(&world).is_empty());
    server.get("/health").answer().await.ok();
    let journal = server.get("/internal/webhook-events").by_admin().answer().await.list();
    let times = journal.iter().map(|webhook| webhook["received_at"].as_str().expect("an instant"));
    let times = times.map(|time| chrono::DateTime::parse_from_rfc3339(time).expect("an instant"));
    let of_the_outage = times.filter(|time| (before..=after).contains(&time.to_utc())).count();
    assert_eq!(of_the_outage, 3, "a webhook is received when it comes, not when it is drained: {journal:#?}");
}

async fn what_is_spooled_is_routed_when_it_is_drained(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let [ring, started, ..] = Call::new(1).life();
    server.webhook(&app, &ring).await;

    let outage = Outage::begin(&world).await;
    let own = format!("/webhooks/{}", app.id);
    let nobody = Call::new(2).of_organization(77).ring(0);
    spool(&server, "/webhooks", &nobody, FIRST_WITHIN).await;
    spool(&server, "/webhooks/dialpad", &nobody, NEXT_WITHIN).await;
    spool(&server, &own, &ring, NEXT_WITHIN).await;
    spool(&server, &own, &started, NEXT_WITHIN).await;
    spool(&server, &own, &started, NEXT_WITHIN).await;
    spool(&server, &own, &json!(["no webhook"]), NEXT_WITHIN).await;
    outage.end().await;
    is_drained(&server).await;

    assert_eq!(kinds(&server.wait_for_events(&app, 2).await), ["call.ring", "call.started"]);
    let count = async |status: &str| {
        let path = format!("/internal/webhook-events?status={status}");
        server.get(&path).by_admin().answer().await.list().len()
    };
    assert_eq!((count("unrouted").await, count("failed").await), (1, 1));
}

async fn signatures_are_checked_without_the_database(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let outage = Outage::begin(&world).await;
    spool_all(&server, &app, [&Call::new(1).ring(0)]).await;
    let body = Call::new(2).ring(0).to_string();
    for path in ["/webhooks".to_owned(), format!("/webhooks/{}", app.id)] {
        let forged = server.post(&path).header("x-dialpad-signature", "00").body(body.clone()).answer().await;
        forged.refuses(401, "INVALID_SIGNATURE");
    }
    // Another process may have made it.
    let unknown = server.post_webhook(&format!("/webhooks/{}", uuid::Uuid::now_v7()), &body).await;
    unknown.refuses(503, "DATABASE_UNAVAILABLE");
    assert!(unknown.header("retry-after").is_some(), "{unknown}");
    outage.end().await;
    server.wait_for_events(&app, 1).await;
    is_drained(&server).await;
}

async fn a_webhook_that_has_no_place_is_refused_until_the_database_is_back(world: World) {
    let server = world.clone().with("SPOOL_MAX_BYTES", "2KiB").start().await;
    let app = server.create_app("CRM").await;
    let path = format!("/webhooks/{}", app.id);
    let outage = Outage::begin(&world).await;
    let mut spooled = 0;
    let refused = loop {
        let answer = server.post_webhook(&path, &Call::new(spooled + 1).ring(0).to_string()).await;
        if answer.status != 200 {
            break answer;
        }
        spooled += 1;
    };
    refused.refuses(503, "DATABASE_UNAVAILABLE");
    assert!(refused.header("retry-after").is_some(), "{refused}");
    let began = Instant::now();
    server.post_webhook(&path, &Call::new(99).ring(0).to_string()).await.fails_with(503);
    assert!(began.elapsed() < NEXT_WITHIN, "Dialpad waited {:?}", began.elapsed());
    let size: u64 = segments(&world).iter().map(|file| file.metadata().expect("a file").len()).sum();
    assert!(spooled > 2 && size <= 2048, "{spooled} webhooks in {size} bytes");
    server.get("/health/ready").answer().await.fails_with(503);
    let health = server.get("/health").answer().await.json();
    health["checks"].shows(json!({"spool": "the spool is full"}));

    outage.end().await;
    is_drained(&server).await;
    server.get("/health/ready").answer().await.ok();
    server.webhook(&app, &Call::new(99).ring(0)).await;
    let feed = server.wait_for_events(&app, usize::try_from(spooled).expect("a few") + 1).await;
    assert_contiguous(&feed, 0);
}

async fn without_a_spool_webhooks_are_refused_until_the_database_is_back(world: World) {
    let server = world.clone().with("SPOOL", "off").start().await;
    let app = server.create_app("CRM").await;
    let path = format!("/webhooks/{}", app.id);
    let body = Call::new(1).ring(0).to_string();
    let outage = Outage::begin(&world).await;
    for within in [FIRST_WITHIN, NEXT_WITHIN] {
        let began = Instant::now();
        let refused = server.post_webhook(&path, &body).await;
        assert!(began.elapsed() < within, "Dialpad waited {:?}", began.elapsed());
        refused.refuses(503, "DATABASE_UNAVAILABLE");
        assert!(refused.header("retry-after").is_some(), "{refused}");
    }
    server.get("/health/ready").answer().await.fails_with(503);
    state(&server).await.shows(json!({"state": "off"}));
    outage.end().await;
    eventually("a webhook is taken again", async || {
        let answer = server.post_webhook(&path, &body).await;
        (answer.status == 200).then(|| Ack::of(&answer))
    })
    .await;
    assert_eq!(server.wait_for_events(&app, 1).await.len(), 1);
    server.get("/health/ready").answer().await.ok();
}

async fn a_killed_server_leaves_its_spool_to_the_next_one(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let [ring, started, held, resumed, ended] = Call::new(1).life();
    let outage = Outage::begin(&world).await;
    spool_all(&server, &app, [&ring, &started, &held, &resumed]).await;
    server.process.kill();
    outage.end().await;

    let server = world.start().await;
    let answer = server.post_webhook(&format!("/webhooks/{}", app.id), &ended.to_string()).await;
    answer.ok().shows(json!({"success": true}));
    let feed = server.wait_for_events(&app, 5).await;
    assert_eq!(kinds(&feed), ["call.ring", "call.started", "call.held", "call.resumed", "call.ended"]);
    is_drained(&server).await;
}

async fn a_damaged_webhook_is_reported_and_costs_no_other(world: World) {
    let mut server = world.start().await;
    let app = server.create_app("CRM").await;
    let calls = [1, 2, 3, 4].map(|id| Call::new(id).ring(0));
    let outage = Outage::begin(&world).await;
    spool_all(&server, &app, &calls).await;
    server.process.kill();
    outage.end().await;
    let [segment] = &segments(&world)[..] else { panic!("one file") };
    let mut content = fs::read(segment).expect("a readable file");
    let frame_len = content.len() / 4;
    content[frame_len + frame_len / 2] ^= 0x10;
    content.truncate(content.len() - 7);
    fs::write(segment, content).expect("a writable file");

    let server = world.start().await;
    let feed = server.wait_for_events(&app, 2).await;
    let ids: Vec<i64> = feed.iter().filter_map(|event| event["call_id"].as_i64()).collect();
    assert_eq!(ids, [1, 3], "{feed:#?}");
    assert_eq!(server.metrics().await.sum("cti_spool_damaged_total", &[]), 1.0);
    let log = server.process.log();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("spool")), "{log}");
    let damaged = fs::metadata(world.folder().join("spool/damaged")).expect("it was set aside");
    assert_eq!(damaged.len(), u64::try_from(frame_len).expect("short"));
}

async fn a_second_server_on_the_same_spool_is_refused(world: World) {
    let server = world.start().await;
    let folder = world.folder().join("spool");
    let refused = World::on_sqlite().with("SPOOL_DIR", &folder.display().to_string()).run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("SPOOL_DIR"), "{refused:?}");
    server.get("/health").answer().await.ok();
}
