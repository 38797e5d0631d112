//! What the black-box tests stand on: the real binary as a child process, in a world of its own.
//!
//! * [`World`] is one database and one configuration; [`World::start`] runs a server in it, as often as a test likes;
//! * [`TestServer`] is that process, with a method per thing that operators, Dialpad and CRMs do;
//! * [`Socket`] is a CRM on the WebSocket, [`EventStream`] one on server-sent events; [`Dialpad`] the built-in simulator, a process of its own too;
//! * [`Call`] makes the webhooks of a call, [`Shows`] and the functions of [`feed`] say what was told.
//!
//! Nothing here waits by the clock: every wait is for a condition, under a limit.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod answer;
mod call;
mod dialpad;
mod documents;
mod events;
mod feed;
mod media_stub;
mod metrics;
mod postgres;
mod process;
mod proxy;
mod registry;
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
    media_stub::{MediaRequest, MediaResponse, MediaStub},
    metrics::Metrics,
    process::{Process, run_to_end},
    proxy::Proxy,
    registry::Registration,
    scripted::{Reply, ReplyGate, ScriptedDialpad, ScriptedRequest},
    server::{Ack, App, Ask, TestServer},
    signing::{hmac, hmac_hex, jws, jws_with},
    socket::{Received, Socket},
    stream::{EventStream, StreamPart},
    tls::TlsProxy,
    world::{ADMIN_SECRET, WEBHOOK_SECRET, World},
};

/// How long anything that should happen may take before a test calls it missing.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(15);

/// A port for a server that must come back where it was.
pub(crate) fn free_port() -> String {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port().to_string()
}

const TICK: Duration = Duration::from_millis(15);

/// Waits until the probe finds something.
pub(crate) async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(WAIT_TIMEOUT, what, probe).await
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

/// Makes of each named function (`async fn name(world: World)`) two tests: `sqlite::name` and `postgres::name`.
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $test() {
                    Box::pin(super::$test($crate::support::World::on_sqlite())).await;
                }
            )+
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $test() {
                    if let Some(world) = $crate::support::World::on_postgres(stringify!($test)).await {
                        Box::pin(super::$test(world)).await;
                    }
                }
            )+
        }
    };
}
