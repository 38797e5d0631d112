//! The server writes periodically that it is running. The time between two heartbeats that are too far apart, and
//! between the last one and a start, is a gap for every app: no process was there to receive webhooks. A start beside a
//! process that was running by then is none.
//!
//! This includes a database outage, during which no heartbeat can be written, and a suspended machine.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::error::StoreError;
use tracing::info;

use super::Recovery;
use crate::store::dialpad::gaps::GapReason;

pub(crate) const INTERVAL: Duration = Duration::from_secs(10);
/// A heartbeat that is only a little late makes no gap.
const MAX_DISTANCE: TimeDelta = TimeDelta::seconds(25);

/// How long the server is taken to have been away when its last heartbeat is in the future.
const UNKNOWN_DISTANCE: TimeDelta = TimeDelta::days(1);

/// Writes the heartbeats of this process.
pub(crate) struct Heartbeat {
    recovery: Recovery,
    /// No heartbeat of this process was written yet.
    is_start: bool,
}

impl Heartbeat {
    pub(crate) fn new(recovery: Recovery) -> Self {
        Self { recovery, is_start: true }
    }

    /// Writes a heartbeat.
    ///
    /// The gap before it is recorded first, so that a failure in between loses nothing.
    pub(crate) async fn beat(&mut self) -> Result<(), StoreError> {
        let store = &self.recovery.store;
        let now = self.recovery.clock.now();
        match store.server_state().last_alive().await? {
            None => info!("the first heartbeat on this database: no webhook was missed before"),
            Some(previous) => {
                // Another process was there all the time: nothing was missed because this one was not.
                let is_start = self.is_start && !store.processes().others_since(previous).await?;
                if let Some(since) = gap_since(previous, now, is_start) {
                    self.record_gaps(since, now).await?;
                }
            }
        }
        store.server_state().record_alive(now).await?;
        self.is_start = false;
        Ok(())
    }

    async fn record_gaps(&self, since: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), StoreError> {
        let gaps = self.recovery.store.gaps();
        let apps = gaps.connected_apps(self.recovery.has_static_key).await?;
        info!(
            away_s = (now - since).num_seconds(),
            apps = apps.len(),
            "calls may have been missed since the last heartbeat"
        );
        for app in apps {
            gaps.record(app, since, now, GapReason::Away).await?;
        }
        Ok(())
    }
}

/// Returns when the gap before a heartbeat began, if there is one. Every start has one, however short: Dialpad retries
/// a refused connection at once, and then no more. A start before the last heartbeat follows a change of the clock: how
/// long the server was away is unknown.
fn gap_since(previous: DateTime<Utc>, now: DateTime<Utc>, is_start: bool) -> Option<DateTime<Utc>> {
    if previous > now {
        return is_start.then_some(now - UNKNOWN_DISTANCE);
    }
    let is_gap = is_start || now - previous > MAX_DISTANCE;
    is_gap.then_some(previous)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    #[test]
    fn a_start_and_a_long_distance_are_gaps_and_a_regular_heartbeat_is_none() {
        assert_eq!(gap_since(at(0), at(3), true), Some(at(0)));
        assert_eq!(gap_since(at(0), at(10), false), None);
        assert_eq!(gap_since(at(0), at(60), false), Some(at(0)));
    }

    #[test]
    fn a_start_before_the_last_heartbeat_has_a_gap_of_a_day() {
        assert_eq!(gap_since(at(9), at(3), true), Some(at(3) - TimeDelta::days(1)));
        assert_eq!(
            gap_since(at(9), at(3), false),
            None,
            "another process has a clock that is a little ahead"
        );
    }
}
