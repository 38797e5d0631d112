//! What the black-box tests stand on: the real binary as a child process, in a world of its own.
//!
//! * [`World`] is one database and one configuration; [`World::start`] runs a server in it, as often as a test likes;
//! * [`TestServer`] is that process, with a method per thing that operators, Dialpad and CRMs do; a test that leaves a
//!   server with work, a session or a pending webhook fails (see [`rest`]);
//! * [`Socket`] is a CRM on the WebSocket, [`EventStream`] one on server-sent events; [`Dialpad`] the built-in simulator, a process of its own too;
//! * [`Call`] makes the webhooks of a call, [`Shows`] and the functions of [`feed`] say what was told.
//!
//! Nothing here waits by the clock: every wait is for a condition, under a limit.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses a part of it")]

mod answer;
mod call;
mod dialpad;
mod documents;
mod events;
mod feed;
mod jukebox;
mod metrics;
mod postgres;
mod process;
mod proxy;
mod registry;
mod rest;
mod scripted;
mod server;
mod signing;
mod socket;
mod stream;
mod tls;
mod world;

use std::time::{Duration, Instant};

pub(crate) use self::{
    answer::{Answer, Shows, object_keys},
    call::{Call, NOON, With, lengthened},
    dialpad::{CLIENT_SECRET, Dialpad},
    documents::problems_of,
    events::{assert_contiguous, kinds, of_call, seqs},
    jukebox::{Heard, Jukebox, Track},
    metrics::Metrics,
    process::{Process, run_to_end},
    proxy::Proxy,
    registry::Standing,
    scripted::{Asked, Authenticator, Reply, ScriptedDialpad},
    server::{Ack, App, Ask, TestServer},
    signing::{hmac, hmac_hex, jws, jws_with},
    socket::{Said, Socket},
    stream::{EventStream, Sent},
    tls::TlsProxy,
    world::{ADMIN_SECRET, WEBHOOK_SECRET, World},
};

/// How long anything that should happen may take before a test calls it missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A port for a server that must come back where it was.
pub(crate) fn free_port() -> String {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port().to_string()
}

const TICK: Duration = Duration::from_millis(15);

/// Waits until the probe finds something.
pub(crate) async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe).await
}

/// Waits until the probe finds something, for so long at most.
pub(crate) async fn within<T>(limit: Duration, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(TICK).await;
    }
}

/// Makes a test `sqlite_only::name` of each named function (`async fn name(world: World)`).
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

/// Makes two tests of each named function (`async fn name(world: World)`): `sqlite::name` and `postgres::name`.
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
