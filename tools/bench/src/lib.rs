//! Measures this server on this machine with its own process, a real database, real sockets and signed webhooks, and checks
//! that every acknowledged event was delivered exactly once.
//!
//! Each measure starts a new server on an empty database, so that no measure profits from the caches of another. The load
//! generator runs on the same cores. The figures:
//!
//! * **reference** ([`mod@reference`]): single-row inserts per second by the same number of connections into a table
//!   shaped like the journal, each its own durable transaction (SQLite: WAL, `synchronous=FULL`; PostgreSQL: as
//!   that server is configured), measured directly before and after a measure. The speed of shared machines drifts by the
//!   minute: compare ratios, and only within one run. A temporary directory in memory makes commits free
//!   for both sides; `--database sqlite://PATH` chooses the disk.
//! * **ceiling** ([`mod@ceiling`]): the same load on a bare server ([`bare_server`]), which does with every webhook what must
//!   be done, and nothing else: HTTP, HMAC, one group commit of journal row, call, event and head, answer after it. Rates
//!   and CPU time per webhook (server and database) are given as ratios to it.
//! * **ingest** ([`ingest`]): webhooks answered 200 with `"success":true,"duplicate":false`, per second, from the
//!   first request to the last answer, in a closed loop on keep-alive connections. Each webhook is another event.
//! * **latency** ([`latency`]): from the time a webhook was *due* at the chosen rate to the arrival of its event on
//!   one WebSocket. Requests that had to wait for a stalled server count too.
//! * **sustained** ([`sustained`]): events delivered on one WebSocket under a closed loop, divided by the time from the
//!   first request until the *last* of them arrived.
//! * **fan-out** ([`fanout`]): deliveries to many sockets of one app: for a single event, sockets by the time from
//!   sending its webhook to the last socket's arrival; for a burst, deliveries by the time from the first
//!   acknowledgement (and from the first send) to the last arrival. Medians.
//! * **catch-up** ([`catchup`]): events per second that a client reads from the beginning of a long feed, from its
//!   request to the last arrival, over each transport; and the latency of live events of another app at the chosen rate,
//!   while no client catches up and while a few clients do so all the time.
//! * **reconnect** ([`reconnect`]): many clients that reconnect the moment a killed server listens again, each with a few
//!   events to catch up: from the first attempt until the last client has everything.
//! * **memory** ([`memory`]): growth of the server's resident memory per idle session and per ringing call, after a warm-up
//!   with other sessions and calls.
//!
//! An event is *lost* if it was acknowledged and does not arrive within ten seconds of silence, and *duplicated* if it is
//! emitted or delivered twice; `seq` must have no hole. An unexpected answer makes a measure invalid as well.
//!
//! To add a measure: a module with a `measure(&Plan, &ServerUnderTest)`, a variant of [`Measure`], a field and a few lines
//! in [`Report`].

pub mod audit;
pub mod bare_server;
pub mod catchup;
pub mod ceiling;
pub mod cpu;
pub(crate) mod events;
pub mod fanout;
pub(crate) mod follower;
pub(crate) mod frames;
pub(crate) mod http;
pub mod ingest;
pub mod latency;
pub(crate) mod load;
pub mod memory;
pub mod reconnect;
pub mod reference;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod scratch;
pub(crate) mod server;
pub(crate) mod socket_pool;
pub mod stats;
pub mod sustained;
pub(crate) mod worker_thread;

use std::time::Duration;

use clap::ValueEnum;

pub use report::Report;
pub use scratch::DatabaseChoice;

use events::Phase;
use server::ServerUnderTest;

/// Why a measure could not be completed.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// If no event arrives for this long, no more will.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a duplicate may still arrive after the last expected event.
const DUPLICATE_WAIT: Duration = Duration::from_millis(300);

/// How many webhooks are signed in advance per second of load: more than a server on such a machine stores. A faster server
/// ends its measure early, with a correct result.
const SIGNED_PER_SECOND: u32 = 40_000;

/// A measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Durable acknowledgements per second, with the database alone as reference
    Ingest,
    /// Webhook to socket at a fixed rate
    Latency,
    /// Events per second from webhook to socket, until the last one has arrived
    Sustained,
    /// One event to many sockets
    Fanout,
    /// Reading a long feed, and the latency of live events meanwhile
    Catchup,
    /// All clients reconnect at once after a kill
    Reconnect,
    /// Bytes per idle session and per active call
    Memory,
}

/// What to measure, and with which load.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The database.
    pub database: DatabaseChoice,
    /// The measures, in this order.
    pub measures: Vec<Measure>,
    /// How long each load lasts.
    pub time: Duration,
    /// Connections that post webhooks, and writers of the reference.
    pub connections: u32,
    /// Events per second for the latency.
    pub rate: u32,
    /// Sockets for the fan-out.
    pub sockets: u32,
    /// Past events to catch up with.
    pub history: u32,
    /// Sockets that reconnect at once.
    pub reconnect: u32,
    /// Idle sessions for the memory.
    pub idle: u32,
}

impl Plan {
    fn seconds(&self) -> u32 {
        u32::try_from(self.time.as_secs()).unwrap_or(u32::MAX)
    }

    /// How many calls to sign for a closed loop.
    fn calls(&self) -> u32 {
        self.seconds().saturating_mul(SIGNED_PER_SECOND) / Phase::ALL.len() as u32
    }

    /// Returns the time of each reference round: both together take as long as the measure.
    fn reference_time(&self) -> Duration {
        self.time / 2
    }
}

/// Runs all measures of the plan, one after the other; `progress` is called before each one.
///
/// # Errors
///
/// Fails if a measure could not be completed: no database, no server, a broken connection. Lost events are no error but
/// part of the report.
pub async fn run(plan: &Plan, progress: impl Fn(Measure)) -> Result<Report, Failure> {
    let mut report = Report::of(plan);
    for measure in &plan.measures {
        progress(*measure);
        let mut server = ServerUnderTest::start(&plan.database).await?;
        let made = report.add(*measure, plan, &mut server).await;
        let made =
            made.map_err(|error| format!("{error}\nthe server's log ended with:\n{}", server.log_tail()));
        server.stop().await?;
        made?;
    }
    Ok(report)
}
