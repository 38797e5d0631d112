//! How fast old rows are deleted: one page, then a rest in proportion to the time that the page took. Webhooks wait
//! behind a page, and SQLite has only one writer: without rests, a backlog would take it from them for minutes.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use futures_util::future::BoxFuture;

use crate::store::Store;

/// How many times as long as a page the rest after it is: pages take 6 % of the time, or half of it while nothing else is
/// written.
const BUSY_FACTOR: u32 = 15;
const IDLE_FACTOR: u32 = 1;
const MIN_REST: Duration = Duration::from_millis(5);
const MAX_REST: Duration = Duration::from_secs(10);
/// A page that took longer is followed by a smaller one, and one that was faster by a larger one.
const LONG_PAGE: Duration = Duration::from_millis(30);
const SHORT_PAGE: Duration = Duration::from_millis(10);
const MIN_ROWS: i64 = 50;
const MAX_ROWS: i64 = 1000;
/// How long the next page waits for webhooks that are about to be written. They may never pause.
const MAX_WAIT: Duration = Duration::from_millis(50);
const WAIT_INTERVAL: Duration = Duration::from_millis(2);

/// Rests for a time.
type Rest = Box<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// The pace of a deletion. The size of its pages depends on how long the ones before took.
pub struct Pace {
    rest: Rest,
    rows: AtomicI64,
    /// How much the lanes of the group commit had been given before the last page.
    jobs: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(|rest| Box::pin(tokio::time::sleep(rest)))
    }
}

impl Pace {
    /// Returns a pace that rests by this function.
    #[must_use]
    pub fn new(rest: impl Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self { rest: Box::new(rest), rows: AtomicI64::new(MIN_ROWS), jobs: AtomicU64::new(0) }
    }

    /// Returns how many rows the next page may have.
    pub(super) fn rows(&self) -> i64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Rests after a page, and then for as long as webhooks wait to be written.
    pub(super) async fn rest(&self, store: &Store, took: Duration) {
        self.rows.store(rows_after(self.rows(), took), Ordering::Relaxed);
        let lanes = &store.shared.lanes;
        let is_idle = self.jobs.swap(lanes.jobs(), Ordering::Relaxed) == lanes.jobs();
        (self.rest)(rest_after(took, is_idle)).await;
        let mut waited = Duration::ZERO;
        while lanes.are_waited_for() && waited < MAX_WAIT {
            (self.rest)(WAIT_INTERVAL).await;
            waited += WAIT_INTERVAL;
        }
    }
}

fn rest_after(took: Duration, is_idle: bool) -> Duration {
    let factor = if is_idle { IDLE_FACTOR } else { BUSY_FACTOR };
    took.saturating_mul(factor).clamp(MIN_REST, MAX_REST)
}

fn rows_after(rows: i64, took: Duration) -> i64 {
    let rows = match took {
        _ if took > LONG_PAGE => rows / 2,
        _ if took < SHORT_PAGE => rows * 2,
        _ => rows,
    };
    rows.clamp(MIN_ROWS, MAX_ROWS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_rest_is_fifteen_times_as_long_as_its_page_unless_nothing_else_is_written() {
        assert_eq!(rest_after(ms(10), false), ms(150));
        assert_eq!(rest_after(ms(10), true), ms(10));
        assert_eq!(rest_after(Duration::ZERO, false), MIN_REST);
        assert_eq!(rest_after(Duration::MAX, false), MAX_REST);
    }

    #[test]
    fn a_slow_page_makes_the_next_one_smaller_and_a_fast_one_larger() {
        assert_eq!(rows_after(400, ms(40)), 200);
        assert_eq!(rows_after(400, ms(20)), 400);
        assert_eq!(rows_after(400, ms(2)), 800);
        assert_eq!((rows_after(60, ms(900)), rows_after(900, ms(1))), (MIN_ROWS, MAX_ROWS));
    }
}
