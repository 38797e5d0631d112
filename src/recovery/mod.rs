//! Recovery of calls that webhooks did not report: calls that ended while webhooks were missing, and calls that never
//! end.
//!
//! ```text
//!  heartbeat  ─┐ (the server was not running)
//!  silence    ─┼─► gaps (durable) ─► runner ─► Dialpad's list of concluded calls ─┐
//!  reconciler ─┘ (a subscription was missing)                                      ├─► findings, in the journal
//!  overdue: calls without news for too long ─► one call at Dialpad ────────────────┘
//! ```
//!
//! Findings are processed like webhooks. A call that is known to have ended is not reported again, and a finding that
//! repeats an earlier one is a duplicate in the journal. So several processes can look at the same time. [`gap`],
//! [`silence`] and [`check_schedule`] decide and are pure; [`heartbeat`], [`runner`] and [`overdue`] ask and write.
//! Their intervals are in `jobs/recovery.rs`.
//!
//! [`traffic`] tells operators and apps of a silence that is unusual at that hour of the week; [`usual_rate`] decides.

mod check_schedule;
mod gap;
pub(crate) mod heartbeat;
pub(crate) mod metrics;
pub(crate) mod missing_legs;
pub(crate) mod overdue;
pub(crate) mod runner;
pub(crate) mod silence;
pub(crate) mod traffic;
mod usual_rate;

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use cti_actors::clock::Clock;

pub use self::silence::SilenceDetector;
use crate::{config::RecoveryConfig, dialpad::api::Dialpad, store::Store};

/// What every part of the recovery works with. Cheap to clone.
#[derive(Clone)]
pub struct Recovery {
    /// Holds the gaps, the calls and the journal.
    pub store: Store,
    /// Lists the calls that have ended.
    pub dialpad: Dialpad,
    /// The present time.
    pub clock: Arc<dyn Clock>,
    /// When each app last received a webhook; the webhook handlers write to it.
    pub silence: Arc<SilenceDetector>,
    /// When to look.
    pub settings: RecoveryConfig,
    /// Whether apps without a connection use the static key, so that gaps are recorded for them too.
    pub has_static_key: bool,
}

impl Recovery {
    /// Returns how long Dialpad's own retries may take.
    fn retry_period(&self) -> TimeDelta {
        time_delta(self.settings.after)
    }
}

/// Converts a duration; settings are far below the maximum.
pub(crate) fn time_delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
