//! What did not come by itself: calls that ended while webhooks were missing, and calls that never end.
//!
//! ```text
//!  heartbeat ─┐ (the server was away)
//!  silence  ──┼─► gaps, durable ─► runner ─► Dialpad's list of calls that are over ─┐
//!  keeper   ──┘                                                                    ├─► findings, in the journal
//!  overdue: calls of which nothing was heard for too long ─► one call at Dialpad ──┘
//! ```
//!
//! What is found goes into the journal and from there the way of every webhook. Nothing is found twice: what is known
//! to be over is not reported, and a finding that says the same as an earlier one is a duplicate in the journal. So it
//! does no harm if several processes look at the same time. [`gap`], [`silence`] and [`watch`] decide, and know no
//! clock; [`heartbeat`], [`runner`] and [`overdue`] ask and write.

pub(crate) mod gap;
pub(crate) mod heartbeat;
pub mod missing_legs;
pub(crate) mod overdue;
pub(crate) mod runner;
pub(crate) mod silence;
pub(crate) mod watch;

use std::sync::Arc;

use chrono::TimeDelta;
use cti_actors::clock::Clock;
use tokio::task::JoinHandle;

pub use self::silence::SilenceDetector;
use crate::{config::RepairConfig, dialpad::api::Dialpad, store::Store};

/// Everything that repairing takes.
#[derive(Clone)]
pub struct Repairs {
    /// Where gaps and calls are.
    pub store: Store,
    /// Who is asked.
    pub dialpad: Dialpad,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Which apps webhooks come for.
    pub silence: Arc<SilenceDetector>,
    /// When to look.
    pub settings: RepairConfig,
    /// Whether apps without a connection have Dialpad's static key.
    pub by_static_key: bool,
}

impl Repairs {
    /// Starts everything that goes on in the background. The server must be listening by now: the time until now is
    /// what it missed.
    #[must_use]
    pub fn start(self) -> Vec<JoinHandle<()>> {
        vec![
            tokio::spawn(heartbeat::run(self.clone())),
            tokio::spawn(silence::run(self.clone())),
            tokio::spawn(runner::run(self.clone())),
            tokio::spawn(overdue::run(self)),
        ]
    }

    /// How long Dialpad's own retries are given.
    fn retries(&self) -> TimeDelta {
        length(self.settings.after)
    }
}

/// A length of time; settings are far from the longest one.
fn length(duration: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
