//! Units of work on SQLite: one statement after the other, or all in one call.

use std::{collections::HashMap, sync::Arc};

use cti_actors::{
    error::StoreError,
    id::AppId,
    unit::{Receipt, Unit},
};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{
    CALLS_HEAD, CALLS_TAIL, EVENTS_HEAD, FAIL, INCOMING_HEAD, INTERACTIONS_HEAD, INTERACTIONS_TAIL,
    LIST_TAIL, MESSAGES_HEAD, MESSAGES_TAIL, PROCESSED_HEAD, Places, RETRIED_HEAD, UnitFailure, UnitRows,
    VOICEMAILS_HEAD, VOICEMAILS_TAIL,
};
use crate::store::{
    db::{bulk::write_sqlite_together, types::Id},
    ledger::rows::events_from_the_end,
};

const TAKE_SEQ: &str = "UPDATE event_feeds SET last_seq = last_seq + ? WHERE app_id = ? RETURNING last_seq";
const TAKE_SEQS_HEAD: &str = "UPDATE event_feeds SET last_seq = last_seq + taken.column2 FROM (";
const TAKE_SEQS_TAIL: &str =
    ") AS taken WHERE event_feeds.app_id = taken.column1 RETURNING event_feeds.app_id, event_feeds.last_seq";
/// An event whose `seq` is so many before the last one that its feed has then.
const EVENT_FROM_THE_END: &str =
    "(?, (SELECT last_seq FROM event_feeds WHERE app_id = ?) - ?, ?, ?, ?, ?, ?, ?, ?)";

/// Writes units in one transaction, which the caller commits.
pub(in crate::store) async fn write_sqlite(
    db: &mut SqliteConnection,
    units: &[Arc<Unit>],
) -> Result<Vec<Receipt>, UnitFailure> {
    let places = Places::of(units);
    let feeds = places.feeds();
    let last_seqs: Vec<(Id, i64)> = feeds.fetch_sqlite(db, TAKE_SEQS_HEAD, TAKE_SEQS_TAIL).await?;
    let mut last_before: HashMap<AppId, i64> =
        last_seqs.into_iter().map(|(app, last)| (app.into(), last)).collect();
    for (app, count) in &places.counts {
        last_before.entry(*app).and_modify(|last| *last -= count);
    }
    let receipts = places.receipts(units, &last_before)?;
    let rows = UnitRows::of(units, &receipts);
    let parts = [
        (&rows.incoming, INCOMING_HEAD, ""),
        (&rows.calls, CALLS_HEAD, CALLS_TAIL),
        (&rows.interactions, INTERACTIONS_HEAD, INTERACTIONS_TAIL),
        (&rows.voicemails, VOICEMAILS_HEAD, VOICEMAILS_TAIL),
        (&rows.messages, MESSAGES_HEAD, MESSAGES_TAIL),
        (&rows.events, EVENTS_HEAD, ""),
        (&rows.processed, PROCESSED_HEAD, LIST_TAIL),
        (&rows.retried, RETRIED_HEAD, LIST_TAIL),
    ];
    write_sqlite_together(db, &parts).await?;
    for (id, reason, at) in rows.failed {
        sqlx::query(FAIL).bind(id).bind(reason).bind(at).execute(&mut *db).await?;
    }
    Ok(receipts)
}

/// How many rows of each kind are written at once. More are few transactions with much work, where round trips do not
/// count.
const MAX_ROWS_AT_ONCE: usize = 4;

/// Whether [`write_sqlite_at_once`] takes these units.
pub(in crate::store) fn is_small(units: &[Arc<Unit>]) -> bool {
    let total = |count: fn(&Unit) -> usize| units.iter().map(|unit| count(unit)).sum::<usize>();
    let counts = [
        total(|unit| unit.incoming.len()),
        total(|unit| unit.calls.len()),
        total(|unit| unit.interactions.len()),
        total(|unit| unit.voicemails.len()),
        total(|unit| unit.messages.len()),
        total(|unit| unit.events.len()),
        total(|unit| unit.processed.len()),
    ];
    counts.into_iter().all(|count| count <= MAX_ROWS_AT_ONCE)
        && total(|unit| unit.retried.len() + unit.failed.len()) == 0
}

/// Does what [`write_sqlite`] does, the transaction included, with all statements in one call: each call costs two
/// changes of thread, which is more than the work of a small unit.
pub(in crate::store) async fn write_sqlite_at_once(
    db: &mut SqliteConnection,
    units: &[Arc<Unit>],
) -> Result<Vec<Receipt>, UnitFailure> {
    let places = Places::of(units);
    let rows = UnitRows::of(units, &places.offsets);
    let events = events_from_the_end(units, &places.offsets, &places.counts);
    let mut script = vec!["BEGIN IMMEDIATE".to_owned()];
    script.extend(places.counts.iter().map(|_| TAKE_SEQ.to_owned()));
    script.extend(rows.incoming.values_of_all(INCOMING_HEAD, ""));
    script.extend(rows.calls.values_of_all(CALLS_HEAD, CALLS_TAIL));
    script.extend(rows.interactions.values_of_all(INTERACTIONS_HEAD, INTERACTIONS_TAIL));
    script.extend(rows.voicemails.values_of_all(VOICEMAILS_HEAD, VOICEMAILS_TAIL));
    script.extend(rows.messages.values_of_all(MESSAGES_HEAD, MESSAGES_TAIL));
    script.extend(events.values_of_all_as(EVENTS_HEAD, EVENT_FROM_THE_END, ""));
    script.extend(rows.processed.values_of_all(PROCESSED_HEAD, LIST_TAIL));
    script.push("COMMIT".to_owned());

    let mut query = sqlx::query(AssertSqlSafe(script.join(";")));
    for (app, count) in &places.counts {
        query = query.bind(count).bind(Id::from(*app));
    }
    for part in [
        &rows.incoming,
        &rows.calls,
        &rows.interactions,
        &rows.voicemails,
        &rows.messages,
        &events,
        &rows.processed,
    ] {
        query = part.bind_all_cells(query);
    }
    let taken = match query.fetch_all(&mut *db).await {
        Ok(taken) => taken,
        Err(error) => {
            // SQLite has rolled back by itself after some errors: then there is no transaction any more.
            let _ = sqlx::query("ROLLBACK").execute(&mut *db).await;
            return Err(match error.as_database_error() {
                Some(failure) if failure.message().ends_with("events.seq") => an_app_is_gone(),
                _ => error.into(),
            });
        }
    };
    let last_seqs = taken.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    let counts = places.counts.iter();
    let last_before = counts.zip(last_seqs).map(|((app, count), last)| (*app, last - count)).collect();
    places.receipts(units, &last_before)
}

/// A feed does not exist: its events have no `seq`.
fn an_app_is_gone() -> UnitFailure {
    UnitFailure::Store(StoreError::Rejected("an app is gone".into()))
}
