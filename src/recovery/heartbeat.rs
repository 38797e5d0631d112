//! The server says every few seconds that it is alive. What lies between two such words that are too far apart, and
//! between the last one and a start, is a gap for every app: nobody was there to take webhooks.
//!
//! That covers a database that is away, too, for then the word can't be written; and a machine that was asleep.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::error::StoreError;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::Repairs;
use crate::store::dialpad::gaps::GapReason;

const EVERY: Duration = Duration::from_secs(10);
/// A word may be a little late; a webhook is retried for longer than this.
const LATE: TimeDelta = TimeDelta::seconds(25);

pub(crate) async fn run(repairs: Repairs) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_start, mut failing) = (true, false);
    loop {
        ticks.tick().await;
        match beat(&repairs, is_start).await {
            Ok(()) => (is_start, failing) = (false, false),
            // Said once: whoever else needs the database says so, too.
            Err(failure) if !failing => {
                failing = true;
                warn!(error = %failure, "the server could not say that it is alive");
            }
            Err(_) => {}
        }
    }
}

/// Says that the server is alive, once it is written down what it missed: a failure in between loses nothing.
async fn beat(repairs: &Repairs, is_start: bool) -> Result<(), StoreError> {
    let now = repairs.clock.now();
    let previous = repairs.store.server_state().last_alive().await?;
    if previous.is_none() {
        repairs.store.server_state().record_alive(now).await?;
        info!("no server was alive on this database before: nothing was missed");
        return Ok(());
    }
    if let Some(since) = away_since(previous, now, is_start) {
        let apps = repairs.store.gaps().connected_apps(repairs.by_static_key).await?;
        info!(away_s = (now - since).num_seconds(), apps = apps.len(), "calls may have been missed");
        for app in apps {
            repairs.store.gaps().record(app, since, now, GapReason::Away).await?;
        }
    }
    repairs.store.server_state().record_alive(now).await
}

/// Since when the server was away, if it was. At a start it was, however short: Dialpad tries a refused connection
/// again at once, and then no more.
fn away_since(previous: Option<DateTime<Utc>>, now: DateTime<Utc>, is_start: bool) -> Option<DateTime<Utc>> {
    previous.filter(|previous| *previous <= now && (is_start || now - *previous > LATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    #[test]
    fn a_start_and_a_long_silence_are_gaps_and_a_beat_is_none() {
        assert_eq!(away_since(Some(at(0)), at(3), true), Some(at(0)));
        assert_eq!(away_since(Some(at(0)), at(10), false), None);
        assert_eq!(away_since(Some(at(0)), at(60), false), Some(at(0)));
    }

    #[test]
    fn the_very_first_start_and_a_clock_that_was_set_back_are_none() {
        assert_eq!(away_since(None, at(3), true), None);
        assert_eq!(away_since(Some(at(9)), at(3), true), None);
    }
}
