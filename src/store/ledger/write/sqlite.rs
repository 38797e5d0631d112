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
    LIST_TAIL, MESSAGES_HEAD, MESSAGES_TAIL, PROCESSED_HEAD, Places, RETRIED_HEAD, UNSEEN_HEAD, UNSEEN_TAIL,
    UnitFailure, UnitRows, VOICEMAILS_HEAD, VOICEMAILS_TAIL,
};
use crate::store::{
    db::{
        bulk::{Part, write_sqlite_together},
        types::Id,
    },
    ledger::rows::events_from_the_end,
};

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
    let last_seqs = places.feeds().fetch_sqlite(db, TAKE_SEQS_HEAD, TAKE_SEQS_TAIL).await?;
    let last_before = before(&places, last_seqs);
    let receipts = places.receipts(units, &last_before)?;
    let rows = UnitRows::of(units, &receipts);
    let mut parts = parts(&rows).to_vec();
    parts.extend([(&rows.events, EVENTS_HEAD, ""), (&rows.retried, RETRIED_HEAD, LIST_TAIL)]);
    write_sqlite_together(db, &parts).await?;
    for (id, reason, at) in rows.failed {
        sqlx::query(FAIL).bind(id).bind(reason).bind(at).execute(&mut *db).await?;
    }
    Ok(receipts)
}

/// Returns what is written, but the events, whose `seq` is known in one way or the other.
fn parts(rows: &UnitRows) -> [Part<'_>; 7] {
    [
        (&rows.incoming, INCOMING_HEAD, ""),
        (&rows.unseen, UNSEEN_HEAD, UNSEEN_TAIL),
        (&rows.calls, CALLS_HEAD, CALLS_TAIL),
        (&rows.interactions, INTERACTIONS_HEAD, INTERACTIONS_TAIL),
        (&rows.voicemails, VOICEMAILS_HEAD, VOICEMAILS_TAIL),
        (&rows.messages, MESSAGES_HEAD, MESSAGES_TAIL),
        (&rows.processed, PROCESSED_HEAD, LIST_TAIL),
    ]
}

/// Returns the last `seq` of each feed before its new events, from the last one with them.
fn before(places: &Places, last_seqs: Vec<(Id, i64)>) -> HashMap<AppId, i64> {
    let mut last: HashMap<AppId, i64> = last_seqs.into_iter().map(|(app, last)| (app.into(), last)).collect();
    for (app, count) in &places.counts {
        last.entry(*app).and_modify(|last| *last -= count);
    }
    last
}

/// How many rows of each kind are written at once. More are few transactions with much work, where round trips do not
/// count.
const MAX_ROWS_AT_ONCE: usize = 4;

/// Whether [`write_sqlite_at_once`] takes these units.
pub(in crate::store) fn is_small(units: &[Arc<Unit>]) -> bool {
    let total = |count: fn(&Unit) -> usize| units.iter().map(|unit| count(unit)).sum::<usize>();
    let counts = [
        total(|unit| unit.incoming.len()),
        total(|unit| unit.unseen.len()),
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
    let (feeds, parts) = (places.feeds(), parts(&rows));
    let mut script = vec!["BEGIN IMMEDIATE".to_owned()];
    script.extend(feeds.values_of_all(TAKE_SEQS_HEAD, TAKE_SEQS_TAIL));
    script.extend(parts.iter().filter_map(|(rows, head, tail)| rows.values_of_all(head, tail)));
    script.extend(events.values_of_all_as(EVENTS_HEAD, EVENT_FROM_THE_END, ""));
    script.push("COMMIT".to_owned());

    let query = feeds.bind_all_cells(sqlx::query(AssertSqlSafe(script.join(";"))));
    let query = parts.iter().fold(query, |query, (rows, ..)| rows.bind_all_cells(query));
    let query = events.bind_all_cells(query);
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
    let last_seqs = taken.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let last_before = before(&places, last_seqs.collect::<Result<_, sqlx::Error>>()?);
    places.receipts(units, &last_before)
}

/// A feed does not exist: its events have no `seq`.
fn an_app_is_gone() -> UnitFailure {
    UnitFailure::Store(StoreError::Rejected("an app is gone".into()))
}
