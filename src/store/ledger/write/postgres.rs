//! Units of work on PostgreSQL: one statement.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use cti_actors::{
    id::AppId,
    unit::{Receipt, Unit},
};
use sqlx::PgConnection;

use super::{
    CALLS_HEAD, CALLS_TAIL, EVENTS_HEAD, FAIL, INCOMING_HEAD, INTERACTIONS_HEAD, INTERACTIONS_TAIL,
    LIST_TAIL, MESSAGES_HEAD, MESSAGES_TAIL, Places, RETRIED_HEAD, UNSEEN_HEAD, UNSEEN_TAIL, UnitFailure,
    UnitRows, VOICEMAILS_HEAD, VOICEMAILS_TAIL,
};
use crate::store::db::{bulk::Rows, types::Id};

/// Does what [`write_sqlite`] does with the same statements joined into one, because a round trip costs more than the
/// work. Without retries and failures, that one statement is a transaction by itself.
///
/// The fence is a guard in the row that every unit locks: under another one, `last_seq` becomes null, which the column
/// refuses, and the whole statement fails. Checked anywhere else, a new owner could come in between.
pub(in crate::store) async fn write_postgres(
    db: &mut PgConnection,
    units: &[Arc<Unit>],
) -> Result<Vec<Receipt>, UnitFailure> {
    let places = Places::of(units);
    let feeds = places.fenced_feeds();
    let rows = UnitRows::of(units, &places.offsets);
    let parts = [
        &feeds,
        &rows.incoming,
        &rows.unseen,
        &rows.calls,
        &rows.interactions,
        &rows.voicemails,
        &rows.messages,
        &rows.events,
        &rows.processed,
    ];

    static STATEMENT: OnceLock<String> = OnceLock::new();
    let statement: &'static str = STATEMENT.get_or_init(|| joined_statement(parts));
    let query = parts.iter().fold(sqlx::query_as(statement), |query, rows| rows.bind_arrays(query));
    let feeds: Vec<(Id, i64)> = query.fetch_all(&mut *db).await?;
    rows.retried.write_postgres(db, RETRIED_HEAD, LIST_TAIL).await?;
    for (id, reason, at) in rows.failed {
        sqlx::query(FAIL).bind(id).bind(reason).bind(at).execute(&mut *db).await?;
    }

    let last_before: HashMap<AppId, i64> =
        feeds.into_iter().map(|(app, before)| (app.into(), before)).collect();
    places.receipts(units, &last_before)
}

fn joined_statement(
    [feeds, incoming, unseen, calls, interactions, voicemails, messages, events, processed]: [&Rows; 9],
) -> String {
    let mut number = 1;
    let mut source = |rows: &Rows| {
        let source = rows.unnest(number);
        number += rows.width();
        source
    };
    let feeds = source(feeds);
    let mut insert =
        |head: &str, rows: &Rows, tail: &str| format!("{head} SELECT * FROM {} {tail}", source(rows));
    let incoming = insert(INCOMING_HEAD, incoming, "");
    let unseen = insert(UNSEEN_HEAD, unseen, UNSEEN_TAIL);
    let calls = insert(CALLS_HEAD, calls, CALLS_TAIL);
    let interactions = insert(INTERACTIONS_HEAD, interactions, INTERACTIONS_TAIL);
    let voicemails = insert(VOICEMAILS_HEAD, voicemails, VOICEMAILS_TAIL);
    let messages = insert(MESSAGES_HEAD, messages, MESSAGES_TAIL);
    let events = source(events);
    let at = number;
    let ids = processed.unnest(number + 1);
    format!(
        "WITH feed AS (
            UPDATE event_feeds SET last_seq =
                CASE WHEN taken.fence IN (0, event_feeds.fence) THEN last_seq + taken.count END
            FROM {feeds} AS taken (app_id, count, fence) WHERE event_feeds.app_id = taken.app_id
            RETURNING event_feeds.app_id, event_feeds.last_seq - taken.count AS last_seq_before
        ),
        written_webhooks AS ({incoming}), nothing_known AS ({unseen}), written_calls AS ({calls}),
        written_interactions AS ({interactions}), written_voicemails AS ({voicemails}), written_messages AS ({messages}),
        written_events AS (
            {EVENTS_HEAD}
            SELECT unit.app_id, feed.last_seq_before + unit.place, unit.id, unit.type, unit.dialpad_call_id,
                unit.dialpad_user_id, unit.occurred_at, unit.published_at, unit.body
            FROM {events} AS unit
                (app_id, place, id, type, dialpad_call_id, dialpad_user_id, occurred_at, published_at, body)
            JOIN feed ON feed.app_id = unit.app_id
        ),
        processed AS (
            UPDATE webhook_events SET status = 'processed', processed_at = ${at}
            WHERE id IN (SELECT * FROM {ids})
        )
        SELECT app_id, last_seq_before FROM feed"
    )
}
