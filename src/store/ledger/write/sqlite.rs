//! Units of work on SQLite: one statement for each row, in one transaction.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use cti_actors::{
    id::AppId,
    unit::{Receipt, Unit},
};
use rusqlite::{Transaction, params};

use super::{
    CALLS_HEAD, CALLS_TAIL, EVENTS_HEAD, FAIL, INCOMING_HEAD, INTERACTIONS_HEAD, INTERACTIONS_TAIL,
    LIST_TAIL, MESSAGES_HEAD, MESSAGES_TAIL, PROCESSED_HEAD, Places, RETRIED_HEAD, UNSEEN_HEAD, UNSEEN_TAIL,
    UnitFailure, UnitRows, VOICEMAILS_HEAD, VOICEMAILS_TAIL,
};
use crate::store::{
    db::{
        bulk::{Rows, bind},
        sqlite_writer::sql,
        types::Id,
    },
    ledger::rows::{calls_over, interactions_over},
};

/// Returns no row where the app has no feed.
const TAKE_SEQS: &str =
    "UPDATE event_feeds SET last_seq = last_seq + ? WHERE app_id = ? RETURNING last_seq - ?";

/// The column by which indexes know what is over is written by the server here: generated, it would be computed for
/// each index that has it in its condition. The first statement writes what is live and was live before, and leaves
/// those indexes alone; the second one writes everything else.
struct LiveAndOver {
    head: String,
    tails: [String; 2],
}

impl LiveAndOver {
    fn new(table: &str, head: &str, tail: &str) -> Self {
        let head = head.replacen("updated_at)", "updated_at, ended_updated_at)", 1);
        let live =
            format!("{tail} WHERE {table}.ended_updated_at IS NULL AND EXCLUDED.ended_updated_at IS NULL");
        let over = format!("{tail}, ended_updated_at = EXCLUDED.ended_updated_at");
        Self { head, tails: [live, over] }
    }

    fn write(&self, db: &Transaction<'_>, rows: &Rows) -> Result<(), sqlx::Error> {
        rows.write_sqlite_or(db, &self.head, self.tails.each_ref().map(String::as_str)).map_err(sql)
    }
}

static CALLS: LazyLock<LiveAndOver> = LazyLock::new(|| LiveAndOver::new("calls", CALLS_HEAD, CALLS_TAIL));
static INTERACTIONS: LazyLock<LiveAndOver> =
    LazyLock::new(|| LiveAndOver::new("interactions", INTERACTIONS_HEAD, INTERACTIONS_TAIL));

/// Writes units in a transaction, which the caller commits.
pub(in crate::store) fn write_sqlite(
    db: &Transaction<'_>,
    units: &[Arc<Unit>],
) -> Result<Vec<Receipt>, UnitFailure> {
    let places = Places::of(units);
    let last_before = take_seqs(db, &places).map_err(sql)?;
    let receipts = places.receipts(units, &last_before)?;
    let rows = UnitRows::of(units, &receipts);
    let parts = [(&rows.incoming, INCOMING_HEAD, ""), (&rows.unseen, UNSEEN_HEAD, UNSEEN_TAIL)];
    for (rows, head, tail) in parts {
        rows.write_sqlite(db, head, tail).map_err(sql)?;
    }
    CALLS.write(db, &rows.calls.with(calls_over(units)))?;
    INTERACTIONS.write(db, &rows.interactions.with(interactions_over(units)))?;
    let parts = [
        (&rows.voicemails, VOICEMAILS_HEAD, VOICEMAILS_TAIL),
        (&rows.messages, MESSAGES_HEAD, MESSAGES_TAIL),
        (&rows.events, EVENTS_HEAD, ""),
        (&rows.processed, PROCESSED_HEAD, LIST_TAIL),
        (&rows.retried, RETRIED_HEAD, LIST_TAIL),
    ];
    for (rows, head, tail) in parts {
        rows.write_sqlite(db, head, tail).map_err(sql)?;
    }
    for (id, reason, at) in &rows.failed {
        // To SQLite, `$2` is a name, and the first one has the number 1.
        let mut statement = db.prepare_cached(&FAIL.replace('$', "?")).map_err(sql)?;
        bind(&mut statement, 1, id).map_err(sql)?;
        bind(&mut statement, 2, reason).map_err(sql)?;
        bind(&mut statement, 3, at).map_err(sql)?;
        statement.raw_execute().map_err(sql)?;
    }
    Ok(receipts)
}

/// Returns the last `seq` of each feed before its new events.
fn take_seqs(db: &Transaction<'_>, places: &Places) -> rusqlite::Result<HashMap<AppId, i64>> {
    let mut statement = db.prepare_cached(TAKE_SEQS)?;
    let mut last_before = HashMap::new();
    for (app, count) in &places.counts {
        let id = Id::from(*app).0.to_string();
        let mut taken = statement.query(params![count, id, count])?;
        if let Some(row) = taken.next()? {
            last_before.insert(*app, row.get(0)?);
            // To the end, so that the statement is complete.
            while taken.next()?.is_some() {}
        }
    }
    Ok(last_before)
}
