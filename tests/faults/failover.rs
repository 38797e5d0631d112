//! The primary of a replicated PostgreSQL dies or can no longer be written, and its replica takes over.

use std::time::Duration;

use serde_json::json;

use crate::{
    spool::{Stream, is_healthy},
    support::{App, Ask, Call, Replicated, Shows, TestServer, World, assert_contiguous, eventually, kinds},
};

/// Webhooks for about 3 s.
const STREAM: Stream = Stream { senders: 8, calls_per_sender: 3, interval: Duration::from_millis(150) };

/// Waits until so many events of the app are there.
async fn emitted(server: &TestServer, app: &App, count: usize) {
    server.feed_when(app, "the stream is under way", |feed| feed.len() >= count).await;
}

/// Follows the stream through a failover: every webhook is acknowledged at once, and its event is delivered once.
async fn nothing_is_lost(world: &World, fail_over: impl AsyncFnOnce()) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut socket = server.listen(&app).await;
    let failing = async {
        emitted(&server, &app, 40).await;
        fail_over().await;
    };
    tokio::join!(STREAM.send(&server, &app), failing);
    STREAM.assert_delivered(&server, &app).await;
    assert_eq!(socket.events(STREAM.webhooks()).await, server.feed(&app).await);
    drop((socket, server));
    world.finish().await;
}

#[tokio::test]
async fn behind_one_address_a_synchronous_replica_takes_over_and_nothing_is_lost() {
    let Some(mut database) = Replicated::start("behind_one_address").await else { return };
    database.synchronous().await;
    let (world, proxy) = World::on(&database.first.url()).behind_a_proxy().await;
    nothing_is_lost(&world, async || {
        database.first.crash().await;
        // Before the replica is promoted: what it shows must not be taken for the truth.
        proxy.switch_to(database.second.port);
        tokio::time::sleep(Duration::from_millis(700)).await;
        database.second.promote().await;
    })
    .await;
}

#[tokio::test]
async fn with_several_hosts_the_server_follows_the_one_that_can_be_written() {
    let Some(mut database) = Replicated::start("several_hosts").await else { return };
    database.synchronous().await;
    let (first, second) = (database.first.address(), database.second.address());
    // The replica comes first: it is not taken, because it can't be written.
    let url = database.first.url().replace(&first, &format!("{second},{first}"));
    let world = World::on(&format!("{url}?target_session_attrs=read-write"));
    nothing_is_lost(&world, async || {
        database.first.crash().await;
        database.second.promote().await;
    })
    .await;

    // The old primary comes back as if nothing had happened, and can be written. It comes first now.
    database.first.start().await;
    let url = database.first.url().replace(&first, &format!("{first},{second}"));
    let world = world.with("DATABASE_URL", &url);
    let server = world.start().await;
    let apps = server.get("/internal/apps").by_admin().answer().await.list();
    let app_id = apps[0]["app_id"].as_str().expect("an id").to_owned();
    let app = server.rotate_key(&App { id: app_id, key: String::new() }, None).await;
    assert_eq!(server.feed(&app).await.len(), STREAM.webhooks(), "the one that was promoted last is used");
    drop(server);
    world.finish().await;
}

#[tokio::test]
async fn a_primary_that_becomes_read_only_is_left_for_the_one_that_can_be_written() {
    let Some(database) = Replicated::start("becomes_read_only").await else { return };
    database.synchronous().await;
    let (first, second) = (database.first.address(), database.second.address());
    let url = database.first.url().replace(&first, &format!("{first},{second}"));
    nothing_is_lost(&World::on(&url), async || {
        database.first.execute("ALTER SYSTEM SET default_transaction_read_only = on").await;
        database.first.execute("SELECT pg_reload_conf()").await;
        database.second.promote().await;
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_lags_is_never_taken_for_the_truth() {
    let Some(database) = Replicated::start("a_replica_that_lags").await else { return };
    let (world, proxy) = World::on(&database.first.url()).behind_a_proxy().await;
    let world = world.with("SPOOL", "off");
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    let mut socket = server.subscribe(&app, "?after=0").await;
    socket.expect("call.ring").await;
    database.caught_up().await;
    database.second.execute("SELECT pg_wal_replay_pause()").await;
    server.webhook(&app, &Call::new(1).started(3)).await;
    socket.expect("call.started").await;

    proxy.switch_to(database.second.port);
    let calls = server.get("/api/calls").by(&app).answer().await;
    calls.refuses(503, "DATABASE_UNAVAILABLE");
    server.get("/api/events?after=1").by(&app).answer().await.refuses(503, "DATABASE_UNAVAILABLE");
    let health = server.get("/health").answer().await;
    assert_eq!(health.status, 503, "{health}");
    assert!(server.process.log().contains("the server is a standby"), "{}", server.process.log());

    proxy.switch_to(database.first.port);
    is_healthy(&server).await;
    server.webhook(&app, &Call::new(1).held(45)).await;
    // The socket is still open, and no gap came before the event.
    socket.expect("call.held").await;
    assert_contiguous(&server.feed(&app).await, 0);
    drop((socket, server));
    world.finish().await;
}

#[tokio::test]
async fn what_an_asynchronous_replica_never_got_is_announced_as_another_epoch() {
    let Some(mut database) = Replicated::start("an_asynchronous_replica").await else { return };
    let (first, second) = (database.first.address(), database.second.address());
    let url = database.first.url().replace(&first, &format!("{first},{second}"));
    let world = World::on(&url);
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    let mut socket = server.subscribe(&app, "?after=0").await;
    socket.expect("call.ring").await;
    database.caught_up().await;
    database.second.stop().await;
    server.webhooks(&app, [&Call::new(1).started(3), &Call::new(2).ring(4)]).await;
    socket.expect("call.started").await;
    socket.expect("call.ring").await;

    database.first.crash().await;
    database.second.start().await;
    database.second.promote().await;
    let gap = socket.next_event().await;
    gap.shows(json!({"type": "gap", "reason": "epoch_changed"}));
    // Dialpad goes on with the calls, and the CRM hears of them.
    let path = format!("/webhooks/{}", app.id);
    eventually("webhooks are taken", async || {
        let answer = server.post_webhook(&path, &Call::new(2).started(6).to_string()).await;
        (answer.status == 200).then_some(())
    })
    .await;
    socket.expect("call.started").await;
    assert_eq!(kinds(&server.feed(&app).await), ["call.ring", "call.started"]);
    drop((socket, server));
    world.finish().await;
}
