//! Measures this server on this machine, with everything real: its own process, a real database, real sockets,
//! signed webhooks — and counts whether every acknowledged event was told exactly once.
//!
//! The server is started anew on an empty database for each measure, so none leans on the caches of another.
//! The load generator runs on the same cores. What each figure means:
//!
//! * **reference** ([`mod@reference`]): single-row inserts a second by the same number of connections into a table
//!   shaped like the journal, each its own durable transaction (SQLite: WAL, `synchronous=FULL`; PostgreSQL: as
//!   that server is set), taken directly before and after a measure. Machines that are shared drift by the
//!   minute: compare ratios, and only within one run. A temporary directory in memory makes commits free
//!   for both sides; `--database sqlite://PATH` chooses the disk.
//! * **ingest** ([`ingest`]): webhooks answered 200 with `"success":true,"duplicate":false`, per second, from the
//!   first request to the last answer, in a closed loop on keep-alive connections. Each is another event.
//! * **latency** ([`latency`]): from the time a webhook was *due* at the chosen rate to the arrival of its event on
//!   one WebSocket. A server that stalls is charged for the requests that had to wait, too.
//! * **sustained** ([`sustained`]): events told on one WebSocket under a closed loop, divided by the time from the
//!   first request until the *last* of them arrived.
//! * **fan-out** ([`fanout`]): deliveries to many sockets of one app: for a single event, sockets by the time from
//!   sending its webhook to the last socket's arrival; for a burst, deliveries by the time from the first
//!   acknowledgement (and from the first send) to the last arrival. Medians.
//! * **catch-up** ([`catchup`]): events a second that a client reads from the beginning of a long feed, from its
//!   request to the last arrival, over each way to the feed; and the latency of live events of another app at the
//!   chosen rate, while nobody catches up and while a few clients do so all the time.
//! * **storm** ([`storm`]): very many clients that come back the moment a killed server listens again, each with a few
//!   events to catch up: from the first attempt until the last of them has everything.
//! * **memory** ([`memory`]): growth of the server's resident memory per idle session and per ringing call, after
//!   others of the kind have filled what exists only once.
//!
//! *Lost* is acknowledged and not told within ten seconds of silence; *duplicated* is told or delivered twice;
//! `seq` must have no hole. An answer that is not the promised one makes a measure invalid as well.
//!
//! To add one more measure: a module with a `measure(&Plan, &Bed)`, a variant of [`Measure`], a field and
//! a few lines in [`Report`].

pub mod catchup;
pub(crate) mod crowd;
pub(crate) mod events;
pub mod fanout;
pub(crate) mod follower;
pub(crate) mod frames;
pub(crate) mod http;
pub mod ingest;
pub(crate) mod lane;
pub mod latency;
pub(crate) mod load;
pub mod marks;
pub mod memory;
pub(crate) mod past;
pub mod reference;
pub(crate) mod report;
pub(crate) mod scratch;
pub(crate) mod server;
pub mod stats;
pub mod storm;
pub mod sustained;

use std::time::Duration;

use clap::ValueEnum;

pub use report::Report;
pub use scratch::DatabaseChoice;

use events::Phase;
use server::Bed;

/// Why a measure could not be made.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// When nothing has arrived for so long, nothing will.
const PATIENCE: Duration = Duration::from_secs(10);

/// After the last expected event, so long a second copy may still turn up.
const GRACE: Duration = Duration::from_millis(300);

/// Webhooks are signed before the clock starts; no server on a machine of this kind eats more a second. One that
/// does ends its measure early, and correctly.
const SIGNED_PER_SECOND: u32 = 40_000;

/// One of the measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Durable acknowledgements per second, with the database alone as reference
    Ingest,
    /// Webhook to socket at a fixed rate
    Latency,
    /// The whole way per second, until the last event has arrived
    Sustained,
    /// One event to many sockets
    Fanout,
    /// Reading the past, and live events beside it
    Catchup,
    /// Everybody comes back at once
    Storm,
    /// Bytes per idle session and per active call
    Memory,
}

/// What to measure, and how hard.
#[derive(Debug, Clone)]
pub struct Plan {
    /// On which database.
    pub database: DatabaseChoice,
    /// Which measures, in this order.
    pub measures: Vec<Measure>,
    /// How long each load lasts.
    pub time: Duration,
    /// Connections that post webhooks, and writers of the reference.
    pub connections: u32,
    /// Events a second for the latency.
    pub rate: u32,
    /// Sockets for the fan-out.
    pub sockets: u32,
    /// Events of the past to catch up with.
    pub history: u32,
    /// Sockets that come back at once.
    pub storm: u32,
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

    /// Before and after together as long as what they are compared with.
    fn reference_time(&self) -> Duration {
        self.time / 2
    }
}

/// Makes all measures of the plan, one after the other; `progress` is told what comes next.
///
/// # Errors
///
/// When a measure could not be made at all: no database, no server, a broken connection. Lost events are no
/// error here but part of the report.
pub async fn run(plan: &Plan, progress: impl Fn(Measure)) -> Result<Report, Failure> {
    let mut report = Report::of(plan);
    for measure in &plan.measures {
        progress(*measure);
        let mut bed = Bed::start(&plan.database).await?;
        let made = report.add(*measure, plan, &mut bed).await;
        let made = made.map_err(|error| format!("{error}\nthe server's log ended with:\n{}", bed.log_tail()));
        bed.stop().await?;
        made?;
    }
    Ok(report)
}
