//! Which of the pooled connections can still be used.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use sqlx::{Connection, pool::PoolOptions};
use tokio::sync::Notify;

use super::errors::{ends_connection, limited, timed_out};

/// A connection that was idle for longer is checked before it is used: a server or a firewall may have closed it.
const MAX_UNCHECKED_IDLE: Duration = Duration::from_secs(1);
/// How long that check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may take to finish what a caller no longer waits for.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);
/// Errors that follow each other faster replace the connections once.
const MIN_REPLACE_INTERVAL: Duration = Duration::from_millis(500);

/// Remembers the errors that make connections useless. All connections that were opened before the last one are replaced
/// when they are used next: what made one of them useless, such as a time in which the server was read-only, usually
/// concerns the others. Cheap to clone.
#[derive(Clone)]
pub(super) struct Trust(Arc<Marks>);

struct Marks {
    began: Instant,
    /// When the last such error came, in milliseconds after `began`; 0 before the first.
    ended_at: AtomicU64,
    /// When a query last took too long, likewise.
    timed_out_at: AtomicU64,
    /// Notified when no connection was free in time.
    starved: Notify,
}

impl Trust {
    pub(super) fn new() -> Self {
        Self(Arc::new(Marks {
            began: Instant::now(),
            ended_at: 0.into(),
            timed_out_at: 0.into(),
            starved: Notify::new(),
        }))
    }

    /// Notes an error that a connection has returned.
    pub(super) fn observe(&self, error: &sqlx::Error) {
        let now = self.now();
        if matches!(error, sqlx::Error::PoolTimedOut) {
            self.0.starved.notify_one();
        } else if timed_out(error) {
            self.0.timed_out_at.store(now, Relaxed);
        } else if ends_connection(error) {
            let last = self.0.ended_at.load(Relaxed);
            if last == 0 || now.saturating_sub(last) >= millis(MIN_REPLACE_INTERVAL) {
                self.0.ended_at.store(now, Relaxed);
            }
        }
    }

    /// Returns when no connection was free in time.
    pub(super) async fn starved(&self) {
        self.0.starved.notified().await;
    }

    fn now(&self) -> u64 {
        millis(self.0.began.elapsed()).max(1)
    }

    /// Whether a connection of this age was opened before an error that made connections useless.
    pub(super) fn is_replaced(&self, age: Duration) -> bool {
        let ended_at = self.0.ended_at.load(Relaxed);
        ended_at > 0 && self.now().saturating_sub(millis(age)) <= ended_at
    }

    fn timed_out_lately(&self) -> bool {
        let timed_out_at = self.0.timed_out_at.load(Relaxed);
        timed_out_at > 0 && self.now().saturating_sub(timed_out_at) <= millis(RELEASE_TIMEOUT)
    }

    /// Lets a pool give out only connections that can be used.
    pub(super) fn guard<DB: sqlx::Database>(&self, pool: PoolOptions<DB>) -> PoolOptions<DB> {
        let (before, after) = (self.clone(), self.clone());
        pool.before_acquire(move |connection, meta| {
            // SQLite may have rolled back by itself, after a full disk for instance: then the rollback that sqlx sends
            // fails, and it goes on to count a transaction.
            let is_useless = before.is_replaced(meta.age) || connection.is_in_transaction();
            Box::pin(async move {
                if is_useless || meta.idle_for <= MAX_UNCHECKED_IDLE {
                    return Ok(!is_useless);
                }
                Ok(limited(CHECK_TIMEOUT, connection.ping()).await.is_ok())
            })
        })
        .after_release(move |connection, meta| {
            let trust = after.clone();
            Box::pin(async move {
                if trust.is_replaced(meta.age) {
                    return Ok(false);
                }
                if trust.timed_out_lately() {
                    // The pool itself would wait without end for a server that does not answer any more.
                    limited(RELEASE_TIMEOUT, connection.ping()).await?;
                }
                Ok(true)
            })
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
