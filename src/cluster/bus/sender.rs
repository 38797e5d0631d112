//! Sends what is to be announced: outside of any transaction that matters, and rarely.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::{Bus, message, metrics};

/// How long at least passes between two notifications: what happens meanwhile is announced together.
const MIN_INTERVAL: Duration = Duration::from_millis(5);

/// Sends until the task is cancelled.
pub(super) async fn run(bus: &Bus) {
    let mut next_at = Instant::now();
    loop {
        bus.announcements.marked().await;
        sleep_until(next_at).await;
        let due = bus.announcements.take();
        let waited = due.since.map_or(Duration::ZERO, |since| since.elapsed());
        let at = bus.clock.now() - TimeDelta::from_std(waited).unwrap_or_default();
        let payloads = message::payloads(due, bus.process, at);
        if payloads.is_empty() {
            continue;
        }
        next_at = Instant::now() + MIN_INTERVAL;
        match bus.store.notifications().send(&payloads).await {
            Ok(()) => metrics::count_sent(payloads.len()),
            // The other processes poll; outages are logged by those whose work they stop.
            Err(error) => debug!(%error, "an announcement was not sent"),
        }
    }
}
