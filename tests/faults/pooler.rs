//! PostgreSQL behind PgBouncer, which gives each transaction of a client another session.
//!
//! `CTI_TEST_REQUIRE_PROXIES=1` turns the skipped tests of a machine without it into failures.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use futures_util::future::join_all;
use reqwest::Url;
use rustix::process::geteuid;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::{
    Ask, Call, Process, World, are_announced, assert_contiguous, eventually, free_port, installed, of_call,
};

/// A running PgBouncer before a database of its own.
struct Pooler {
    /// The world whose database is reached through it.
    world: World,
    /// The same without it.
    direct: World,
    _process: Process,
    _folder: TempDir,
}

impl Pooler {
    /// Starts one with this mode, and as many sessions for all clients.
    async fn start(test: &str, mode: &str, sessions: u8) -> Option<Self> {
        let program = installed("pgbouncer", "CTI_TEST_REQUIRE_PROXIES")?;
        let direct = World::on_postgres(test).await?;
        let mut url = Url::parse(direct.setting("DATABASE_URL")).expect("an address");
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("pgbouncer.ini");
        let (behind, port) = (url.port().expect("the cluster has a port of its own"), free_port());
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={behind} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = {sessions}\n"
        );
        fs::write(&file, settings).expect("the folder takes a file");
        let mut command = Command::new(program);
        if geteuid().is_root() {
            // It refuses to run as root.
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
            command.args(["-u", "nobody"]);
        }
        let mut process = Process::spawn("pgbouncer", command.arg(&file));
        url.set_port(port.parse().ok()).expect("a port can be set");
        eventually("PgBouncer takes connections", async || {
            assert!(process.ended().is_none(), "PgBouncer ended:\n{}", process.log());
            TcpStream::connect(format!("127.0.0.1:{port}")).await.ok()
        })
        .await;
        let world = direct.clone().with("DATABASE_URL", url.as_str());
        Some(Self { world, direct, _process: process, _folder: folder })
    }
}

#[tokio::test]
async fn everything_works_through_a_pooler_in_transaction_mode() {
    let Some(pooler) = Pooler::start("transaction_pooling", "transaction", 3).await else { return };
    let world = pooler.world.clone();
    for start in 0..2 {
        // The second start finds sessions that another client has used.
        let server = world.start().await;
        assert!(server.process.log().contains("a pooler"), "{}", server.process.log());
        let app = server.create_app("CRM").await;
        let mut socket = server.listen(&app).await;
        let calls: Vec<Call> = (1..=12).map(|id| Call::new(start * 100 + id)).collect();
        join_all(calls.iter().map(async |call| server.webhooks(&app, &call.life()).await)).await;
        let feed = server.wait_for_events(&app, calls.len() * 5).await;
        assert_contiguous(&feed, 0);
        (1..=12).for_each(|id| assert_eq!(of_call(&feed, start * 100 + id).len(), 5));
        assert_eq!(socket.events(feed.len()).await, feed);
        // Everything a CRM asks for at once, on few sessions.
        let paths =
            ["/api/calls", "/api/calls/active", "/api/interactions", "/api/events?after=0", "/status"];
        join_all(paths.iter().cycle().take(60).map(async |path| {
            server.get(path).by(&app).answer().await.ok();
        }))
        .await;
        assert!(!server.process.log().contains("prepared statement"), "{}", server.process.log());
        drop((socket, server));
        world.finish().await;
    }
    let not_processed = "SELECT COUNT(*) FROM webhook_events WHERE status <> 'processed'";
    assert_eq!(pooler.direct.count(not_processed).await, 0);
}

#[tokio::test]
async fn a_pooler_in_session_mode_is_used_as_postgresql_itself() {
    let Some(pooler) = Pooler::start("session_pooling", "session", 12).await else { return };
    let server = pooler.world.start().await;
    assert!(!server.process.log().contains("a pooler"), "{}", server.process.log());
    let app = server.create_app("CRM").await;
    server.webhooks(&app, &Call::new(1).life()).await;
    assert_contiguous(&server.wait_for_events(&app, 5).await, 0);
    drop(server);
    pooler.world.finish().await;
}

#[tokio::test]
async fn the_log_says_how_many_connections_are_missing() {
    let Some(pooler) = Pooler::start("few_sessions", "session", 3).await else { return };
    let mut server = pooler.world.start().await;
    eventually("the log says how many are wanted", async || {
        // Many are refused: a start may already take all sessions.
        join_all((0..40).map(async |_| server.get("/internal/apps").by_admin().answer().await)).await;
        server.process.log().contains("the server needs 12 connections").then_some(())
    })
    .await;
    server.process.kill();
    drop(server);
    pooler.world.finish().await;
}

#[tokio::test]
async fn servers_behind_a_pooler_hear_each_other_where_they_can_listen_directly() {
    let Some(pooler) = Pooler::start("pooled_listening", "transaction", 8).await else { return };
    let listening = pooler.world.clone().with("DATABASE_LISTEN_URL", pooler.direct.setting("DATABASE_URL"));
    // This one can't hear, and announces all the same.
    let (here, there) = (pooler.world.start().await, listening.start().await);
    assert!(here.process.log().contains("DATABASE_LISTEN_URL is not set"), "{}", here.process.log());
    let app = here.create_app("CRM").await;
    eventually("the first knows that somebody listens", async || {
        here.process.log().contains("has_others=true").then_some(())
    })
    .await;
    let (mut hears, mut polls) = (there.listen(&app).await, here.listen(&app).await);
    let count = are_announced(async |number| {
        here.webhook(&app, &Call::new(number).ring(0)).await;
        hears.events(1).await;
    })
    .await;
    assert_contiguous(&polls.events(count).await, 0);
    // The other way it is found by polling.
    there.webhook(&app, &Call::new(1000).ring(0)).await;
    assert_eq!(polls.events(1).await, hears.events(1).await);
    drop((hears, polls, here, there));
    pooler.world.finish().await;
}
