//! The helpers of the black-box tests: the real binary as a child process, with its own database and configuration.
//!
//! * [`World`]: one database and one configuration; [`World::start`] runs a server with it, as often as a test needs.
//! * [`TestServer`]: that process, with a method for each thing that operators, Dialpad and CRMs do. A test that leaves it
//!   with work, an open session or a pending webhook fails (see [`rest`]).
//! * [`Socket`]: a CRM on the WebSocket. [`EventStream`]: a CRM on server-sent events. [`Dialpad`]: the simulator as a child process.
//! * [`Call`]: the webhooks of a call. [`Shows`] and the functions of [`feed`]: assertions on answers and events.
//!
//! No test sleeps for a fixed time: every wait is for a condition, with a timeout.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses a part of it")]

mod answer;
mod call;
mod collector;
mod dialpad;
mod documents;
mod events;
mod feed;
mod media_stub;
mod metrics;
mod outage;
mod postgres;
mod process;
mod proxy;
mod registry;
mod replicated;
mod rest;
mod scripted;
mod server;
mod signing;
mod socket;
mod stream;
mod tls;
mod world;

use std::{
    env,
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

pub(crate) use self::{
    answer::{Answer, Shows, object_keys},
    call::{Call, NOON, With, lengthened},
    collector::{Answering, Collector, ReceivedSpan},
    dialpad::{CLIENT_SECRET, Dialpad},
    documents::problems_of,
    events::{assert_contiguous, kinds, of_call, seqs},
    media_stub::{MediaRequest, MediaResponse, MediaStub},
    metrics::Metrics,
    outage::Outage,
    postgres::fresh_database,
    process::{Process, STOP_TIMEOUT, run_to_end},
    proxy::Proxy,
    registry::Registration,
    replicated::{Replica, Replicated},
    scripted::{Reply, ReplyGate, ScriptedDialpad, ScriptedRequest},
    server::{Ack, App, Ask, TestServer},
    signing::{hmac, hmac_hex, jws, jws_with},
    socket::{Received, Socket},
    stream::{EventStream, StreamPart},
    tls::TlsProxy,
    world::{ADMIN_SECRET, WEBHOOK_SECRET, World, listening_at},
};

/// How long a test waits for a condition.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(15);

/// Returns a free port, for a server that must restart on the same port.
pub(crate) fn free_port() -> String {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port().to_string()
}

/// Returns the path of a program. Where it is not installed: `None`, with a message, or a failure if the environment
/// variable `required` is 1.
pub(crate) fn installed(name: &str, required: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        assert!(!env::var(required).is_ok_and(|value| value == "1"), "{name} not found, and {required}=1");
        // Not eprintln: the test harness captures it.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {name} is not installed");
    }
    found
}

/// Between two looks at a condition.
pub(crate) const TICK: Duration = Duration::from_millis(15);

/// Polls until the probe returns something.
pub(crate) async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(WAIT_TIMEOUT, what, probe).await
}

/// Polls until the probe returns something, with this timeout.
pub(crate) async fn within<T>(limit: Duration, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(began.elapsed() < limit, "timed out after {limit:?}: {what}");
        tokio::time::sleep(TICK).await;
    }
}

/// A server that nobody tells anything looks by itself each second. So this many events one after the other would take it half
/// as many seconds, and a round of them that took less was announced.
const ANNOUNCED_EVENTS: usize = 12;
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(3);

/// Causes rounds of events, one after the other, until a round was announced. Only a machine that is too busy needs a second
/// one. Returns how many events there were.
pub(crate) async fn are_announced(mut cause: impl AsyncFnMut(i64)) -> usize {
    let mut count = 0;
    eventually("a round of events is announced", async || {
        let began = Instant::now();
        for _ in 0..ANNOUNCED_EVENTS {
            count += 1;
            cause(i64::try_from(count).expect("few")).await;
        }
        (began.elapsed() < ANNOUNCED_WITHIN).then_some(())
    })
    .await;
    count
}

/// Creates a test `sqlite_only::name` per function (`async fn name(world: World)`).
macro_rules! on_sqlite {
    ($($test:ident),+ $(,)?) => {
        mod sqlite_only {
            $(
                #[tokio::test]
                async fn $test() {
                    let world = $crate::support::World::on_sqlite();
                    Box::pin(super::$test(world.clone())).await;
                    world.finish().await;
                }
            )+
        }
    };
}

/// Creates a test `postgres_only::name` per function (`async fn name(world: World)`).
macro_rules! on_postgres {
    ($($test:ident),+ $(,)?) => {
        mod postgres_only {
            $(
                #[tokio::test]
                async fn $test() {
                    if let Some(world) = $crate::support::World::on_postgres(stringify!($test)).await {
                        Box::pin(super::$test(world.clone())).await;
                        world.finish().await;
                    }
                }
            )+
        }
    };
}

/// Creates two tests per function (`async fn name(world: World)`): `sqlite::name` and `postgres::name`.
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $test() {
                    let world = $crate::support::World::on_sqlite();
                    Box::pin(super::$test(world.clone())).await;
                    world.finish().await;
                }
            )+
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $test() {
                    if let Some(world) = $crate::support::World::on_postgres(stringify!($test)).await {
                        Box::pin(super::$test(world.clone())).await;
                        world.finish().await;
                    }
                }
            )+
        }
    };
}
