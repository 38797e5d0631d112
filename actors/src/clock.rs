//! The clock of the program. Nothing else reads the time of day.
//!
//! Everything that is stored, and every id, has a time of this clock. It runs on monotonic time and follows the wall
//! clock of the machine slowly, so a wall clock that is set forward or back for a moment changes nothing: see
//! [`program`].

#[cfg(feature = "testing")]
pub(crate) mod numbered;
mod program;

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use metrics::counter;
use parking_lot::Mutex;
use tracing::{info, warn};
use uuid::{ContextV7, Timestamp, Uuid};

use self::program::{Notice, ProgramClock};

/// How long this clock and the wall clock must have agreed before anything is deleted for its age: a wrong wall clock is
/// noticed within that time.
pub const STEADY_AFTER: Duration = Duration::from_secs(3600);

/// A source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time in whole microseconds: the precision that every database keeps, so that a stored time
    /// equals the one in memory.
    fn now(&self) -> DateTime<Utc>;

    /// Returns for how long this clock and the wall clock have agreed. `None`: they do not agree now.
    fn steady_for(&self) -> Option<Duration> {
        Some(Duration::MAX)
    }

    /// Whether this clock and the wall clock have agreed for a while. Otherwise nothing is deleted for its age.
    fn is_steady(&self) -> bool {
        self.steady_for().is_some_and(|steady| steady >= STEADY_AFTER)
    }
}

/// The clock of this process. All values of this type are the same clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

struct Shared {
    /// Where monotonic time begins.
    origin: Instant,
    clock: Mutex<ProgramClock>,
}

static SHARED: LazyLock<Shared> =
    LazyLock::new(|| Shared { origin: Instant::now(), clock: Mutex::new(ProgramClock::new(wall())) });

#[expect(clippy::disallowed_methods, reason = "the one place where time enters")]
fn wall() -> DateTime<Utc> {
    Utc::now()
}

impl Shared {
    fn read(&self) -> (DateTime<Utc>, Option<Duration>) {
        let mut clock = self.clock.lock();
        // Read under the lock, so that no reading is older than the one before it.
        let (wall, elapsed) = (wall(), self.origin.elapsed());
        let (now, notice) = clock.read(wall, elapsed);
        let steady_for = clock.steady_for(elapsed);
        drop(clock);
        if let Some(notice) = notice {
            report(notice);
        }
        (now, steady_for)
    }
}

fn report(notice: Notice) {
    let seconds = |by: TimeDelta| by.as_seconds_f64();
    match notice {
        Notice::Stepped(by) => {
            counter!("cti_clock_steps_total").increment(1);
            warn!(
                by_s = seconds(by),
                "the wall clock was set; the server does not follow until that has persisted"
            );
        }
        Notice::Adopted(by) => {
            warn!(by_s = seconds(by), "the server's clock was set forward to the wall clock")
        }
        Notice::Slowed(by) => {
            warn!(
                by_s = seconds(by),
                "the wall clock is behind; the server's clock runs slower until they agree"
            );
        }
        Notice::StartedAhead(by) => warn!(
            by_s = seconds(by),
            "the wall clock is behind the newest stored time; the server's clock begins there"
        ),
        Notice::StoredAhead(by) => warn!(
            by_s = seconds(by),
            "the newest stored time is far ahead of the wall clock; stored times ahead of now count as now"
        ),
        Notice::LongAway(by) => info!(
            by_s = seconds(by),
            "nothing was stored for long, or the wall clock is wrong; nothing is deleted for its age for an hour"
        ),
    }
}

impl SystemClock {
    /// Tells the clock the newest instants that are stored, once the database is open. The clock does not begin before
    /// them.
    pub fn start_after(self, stored: &[DateTime<Utc>]) {
        let mut clock = SHARED.clock.lock();
        let (wall, elapsed) = (wall(), SHARED.origin.elapsed());
        let notice = clock.start_after(stored, wall, elapsed);
        drop(clock);
        if let Some(notice) = notice {
            report(notice);
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        let (now, _) = SHARED.read();
        now.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(now)
    }

    fn steady_for(&self) -> Option<Duration> {
        SHARED.read().1
    }
}

/// Returns a new UUID (v7) with the time of the program's clock. Those of one process sort in the order in which they
/// were generated.
#[must_use]
pub fn new_uuid() -> Uuid {
    #[cfg(feature = "testing")]
    if let Some(id) = numbered::numbered_uuid() {
        return id;
    }
    static CONTEXT: LazyLock<std::sync::Mutex<ContextV7>> =
        LazyLock::new(|| std::sync::Mutex::new(ContextV7::new()));
    let now = SystemClock.now();
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(&*CONTEXT, seconds, now.timestamp_subsec_nanos()))
}
