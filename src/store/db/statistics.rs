//! The statistics by which PostgreSQL chooses plans, while tables grow fast.
//!
//! A session keeps the plan of a statement. One that was made while a table was empty takes any index that begins with the
//! app, and reads all calls of the app for each batch, until autovacuum analyzes the table: a minute or more later.
//! `ANALYZE` makes every session plan anew.

use sqlx::{Postgres, raw_sql};
use tracing::{debug, warn};

use super::connections::Connections;

/// The tables that have several times the pages that the statistics know of.
const GROWN: &str = "SELECT relname::text FROM pg_class WHERE relnamespace = CURRENT_SCHEMA()::regnamespace
    AND relkind IN ('r', 'p')
    AND pg_relation_size(oid) / current_setting('block_size')::bigint > 4 * GREATEST(relpages, 10)";
/// A table that another process analyzes is left to it.
const ANALYZE: [(&str, &str); 6] = [
    ("calls", "ANALYZE (SKIP_LOCKED) calls"),
    ("events", "ANALYZE (SKIP_LOCKED) events"),
    ("interactions", "ANALYZE (SKIP_LOCKED) interactions"),
    ("messages", "ANALYZE (SKIP_LOCKED) messages"),
    ("voicemails", "ANALYZE (SKIP_LOCKED) voicemails"),
    ("webhook_events", "ANALYZE (SKIP_LOCKED) webhook_events"),
];

/// After how many webhooks of this process the tables are looked at first; then after twice as many each time.
const FIRST_CHECK: usize = 500;

/// Has tables analyzed that have grown.
pub(crate) struct Statistics {
    db: Connections<Postgres>,
    written: usize,
    next_check: usize,
}

impl Statistics {
    pub(crate) fn new(db: Connections<Postgres>) -> Self {
        Self { db, written: 0, next_check: FIRST_CHECK }
    }

    /// Counts webhooks that were written. Looks at the tables now and then, in the background.
    pub(crate) fn wrote(&mut self, webhooks: usize) {
        self.written = self.written.saturating_add(webhooks);
        if self.written < self.next_check {
            return;
        }
        self.next_check = self.written.saturating_mul(2);
        let db = self.db.clone();
        tokio::spawn(async move {
            if let Err(error) = analyze_grown(&db).await {
                warn!(%error, "the tables could not be analyzed");
            }
        });
    }
}

async fn analyze_grown(db: &Connections<Postgres>) -> Result<(), sqlx::Error> {
    let grown: Vec<String> = sqlx::query_scalar(GROWN).fetch_all(db).await?;
    for (table, statement) in ANALYZE {
        if grown.iter().any(|name| name == table) {
            raw_sql(statement).execute(&db.pool).await?;
            debug!(table, "analyzed a table that has grown");
        }
    }
    Ok(())
}
