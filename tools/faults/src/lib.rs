//! Injects faults into a running server and its database, and checks that nothing acknowledged is lost, repeated or
//! reordered.
//!
//! ```text
//!  sender ──webhooks──► server under test ──WebSocket──► receiver
//!    │                    ▲ fault ▼                          │
//!    └── acknowledged ──► oracle ◄── /api/events, /api/calls ┴─ received
//! ```
//!
//! Each case starts the real program on a new database, sends webhooks as Dialpad does (again after five seconds, given up
//! after about fourteen), follows the events on a WebSocket that resumes, and injects its fault under this load. Afterwards
//! [`oracle`] compares: everything acknowledged must have been received exactly once and in the order of its call, the
//! socket and the list of events must agree, and the status of each call must be that of its last event.
//!
//! * `sender`, `tally`, `receiver`, `oracle`: the two sides of the server, and the comparison.
//! * `site`, `process`, `postgres`, `proxy`, `tmpfs`: what a server runs on, and how each of it fails.
//! * `cases`: one file per family of faults. To add one: a variant of [`Case`] and a function there.
//! * `power`: crash images of the files, made of a recording of what was written and synced.

mod api;
mod call;
mod cases;
mod oracle;
mod postgres;
mod power;
mod process;
mod proxy;
mod receiver;
mod report;
mod sender;
mod site;
mod slow_stream;
mod tally;
mod tmpfs;
mod trial;

use std::path::PathBuf;
use std::time::Duration;

pub use cases::Case;
pub use report::{Report, Row};

use site::Kind;

/// Why a case could not be carried out.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// On which databases the cases run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Databases {
    /// A SQLite file
    Sqlite,
    /// A PostgreSQL of its own
    Postgres,
    /// One after the other
    Both,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program to test.
    pub server: PathBuf,
    /// Where folders of databases, spools and logs are made.
    pub folder: PathBuf,
    /// The databases.
    pub databases: Databases,
    /// The cases, in this order.
    pub cases: Vec<Case>,
    /// Chooses the random moments.
    pub seed: u64,
    /// Webhooks per second.
    pub rate: u32,
    /// How often the server is killed, or stopped.
    pub kills: u32,
    /// Whether each case takes seconds only.
    pub is_short: bool,
}

impl Plan {
    /// Returns the time that a sender waits before it sends a webhook again.
    fn retry_interval(&self) -> Duration {
        if self.is_short { Duration::from_millis(500) } else { Duration::from_secs(5) }
    }

    /// Returns the first time in the long form, and the second one in the short form.
    fn time(&self, long: u64, short_ms: u64) -> Duration {
        if self.is_short { Duration::from_millis(short_ms) } else { Duration::from_secs(long) }
    }

    /// Returns the first number in the long form, and the second one in the short form.
    fn count(&self, long: u32, short: u32) -> u32 {
        if self.is_short { short } else { long }
    }
}

/// Runs the cases of a plan, one after the other. `done` is called after each one.
pub async fn run(plan: &Plan, mut done: impl FnMut(&Row)) -> Report {
    let kinds: &[Kind] = match plan.databases {
        Databases::Sqlite => &[Kind::Sqlite],
        Databases::Postgres => &[Kind::Postgres],
        Databases::Both => &[Kind::Sqlite, Kind::Postgres],
    };
    let mut report = Report { seed: plan.seed, rows: Vec::new() };
    for case in &plan.cases {
        for kind in kinds.iter().filter(|kind| case.concerns(**kind)) {
            let row = case.run(plan, *kind).await;
            done(&row);
            report.rows.push(row);
        }
    }
    report
}
