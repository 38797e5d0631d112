//! Writing units of work: those of several apps at once, each as a whole. SQLite runs one statement after the other,
//! PostgreSQL the same ones joined into one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use cti_actors::{
    error::StoreError,
    id::{AppId, Seq},
    unit::{Receipt, Unit},
};
use sqlx::{PgConnection, SqliteConnection};

use super::{LIST_TAIL, rows::UnitRows};
use crate::store::db::{
    bulk::{Column, Rows},
    pool::store_error,
    types::Id,
};

const TAKE_SEQ: &str = "UPDATE event_feeds SET last_seq = last_seq + $2 WHERE app_id = $1 RETURNING last_seq";

const CALLS_HEAD: &str = "INSERT INTO calls
    (id, app_id, dialpad_call_id, direction, from_number, to_number, from_e164, to_e164, contact_name, target_name,
     is_internal, callback_requested, custom_data, recordings, status, outcome, dialpad_user_id, ringing_at,
     answered_at, ended_at, duration_seconds, talk_seconds, hold_seconds, recording_url, is_voicemail, voicemail_id,
     leg, master_call_id, entry_point_call_id, operator_call_id, target_id, interaction_id, answered_elsewhere,
     facts, version, created_at, updated_at)";
/// The version is a guard: after a write in between it becomes null, which the column refuses, and the whole statement
/// fails.
const CALLS_TAIL: &str = "ON CONFLICT (app_id, dialpad_call_id) DO UPDATE SET
    direction = EXCLUDED.direction, from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number,
    from_e164 = EXCLUDED.from_e164, to_e164 = EXCLUDED.to_e164, contact_name = EXCLUDED.contact_name,
    target_name = EXCLUDED.target_name, is_internal = EXCLUDED.is_internal,
    callback_requested = EXCLUDED.callback_requested, custom_data = EXCLUDED.custom_data,
    recordings = EXCLUDED.recordings, status = EXCLUDED.status, outcome = EXCLUDED.outcome, dialpad_user_id = EXCLUDED.dialpad_user_id,
    ringing_at = EXCLUDED.ringing_at, answered_at = EXCLUDED.answered_at, ended_at = EXCLUDED.ended_at,
    duration_seconds = EXCLUDED.duration_seconds, talk_seconds = EXCLUDED.talk_seconds,
    hold_seconds = EXCLUDED.hold_seconds, recording_url = EXCLUDED.recording_url,
    is_voicemail = EXCLUDED.is_voicemail, voicemail_id = EXCLUDED.voicemail_id, leg = EXCLUDED.leg,
    master_call_id = EXCLUDED.master_call_id, entry_point_call_id = EXCLUDED.entry_point_call_id,
    operator_call_id = EXCLUDED.operator_call_id, target_id = EXCLUDED.target_id,
    interaction_id = EXCLUDED.interaction_id, answered_elsewhere = EXCLUDED.answered_elsewhere,
    facts = EXCLUDED.facts, updated_at = EXCLUDED.updated_at,
    version = CASE WHEN calls.version = EXCLUDED.version - 1 THEN EXCLUDED.version END";

const VOICEMAILS_HEAD: &str = "INSERT INTO voicemails
    (id, app_id, dialpad_call_id, dialpad_voicemail_id, dialpad_user_id, direction, from_number, to_number,
     from_e164, to_e164, recording_url, transcript, duration_seconds, received_at, created_at, updated_at)";
const VOICEMAILS_TAIL: &str = "ON CONFLICT (id) DO UPDATE SET
    dialpad_voicemail_id = EXCLUDED.dialpad_voicemail_id, dialpad_user_id = EXCLUDED.dialpad_user_id,
    direction = EXCLUDED.direction, from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number,
    from_e164 = EXCLUDED.from_e164, to_e164 = EXCLUDED.to_e164,
    recording_url = EXCLUDED.recording_url, transcript = EXCLUDED.transcript,
    duration_seconds = EXCLUDED.duration_seconds, received_at = EXCLUDED.received_at,
    updated_at = EXCLUDED.updated_at
    WHERE voicemails.deleted_at IS NULL";

const MESSAGES_HEAD: &str = "INSERT INTO messages
    (id, app_id, dialpad_message_id, dialpad_user_id, direction, from_number, to_number, from_e164, to_e164, text,
     mms_url, media_urls, message_delivery_result, message_status, sent_at, facts, version, created_at, updated_at)";
const MESSAGES_TAIL: &str = "ON CONFLICT (app_id, dialpad_message_id) DO UPDATE SET
    dialpad_user_id = EXCLUDED.dialpad_user_id, direction = EXCLUDED.direction,
    from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number, from_e164 = EXCLUDED.from_e164,
    to_e164 = EXCLUDED.to_e164, text = EXCLUDED.text, mms_url = EXCLUDED.mms_url, media_urls = EXCLUDED.media_urls,
    message_delivery_result = EXCLUDED.message_delivery_result, message_status = EXCLUDED.message_status, sent_at = EXCLUDED.sent_at, facts = EXCLUDED.facts,
    updated_at = EXCLUDED.updated_at,
    version = CASE WHEN messages.version = EXCLUDED.version - 1 THEN EXCLUDED.version END";

const EVENTS_HEAD: &str = "INSERT INTO events
    (app_id, seq, id, type, dialpad_call_id, dialpad_user_id, occurred_at, published_at, body)";

/// The reason stays: of a webhook that was read without some unreadable spots, it says which.
const PROCESSED_HEAD: &str =
    "UPDATE webhook_events SET status = 'processed', processed_at = $1 WHERE id IN (";
const RETRIED_HEAD: &str = "UPDATE webhook_events SET attempts = attempts + 1 WHERE id IN (";
const FAIL: &str = "UPDATE webhook_events SET status = 'failed', attempts = attempts + 1, reason = $2, processed_at = $3 WHERE id = $1";

/// Why units could not be written.
pub(in crate::store) enum UnitFailure {
    Sql(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for UnitFailure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl UnitFailure {
    pub(in crate::store) fn into_store_error(self) -> StoreError {
        match self {
            Self::Sql(error) => store_error(error),
            Self::Store(failure) => failure,
        }
    }
}

/// Writes units in one transaction, which the caller commits.
pub(in crate::store) async fn write_sqlite(
    db: &mut SqliteConnection,
    units: &[Arc<Unit>],
) -> Result<Vec<Receipt>, UnitFailure> {
    let mut receipts = Vec::with_capacity(units.len());
    for unit in units {
        let count = event_count(unit);
        let mut last_seq_before = 0;
        if count > 0 {
            let take = sqlx::query_as(TAKE_SEQ).bind(Id::from(unit.app_id)).bind(count);
            let (last,): (i64,) =
                take.fetch_optional(&mut *db).await?.ok_or_else(|| app_is_gone(unit.app_id))?;
            last_seq_before = last - count;
        }
        receipts.push(Receipt { last_seq_before: Seq(last_seq_before) });
    }
    let rows = UnitRows::of(units, &receipts);
    rows.calls.write_sqlite(db, CALLS_HEAD, CALLS_TAIL).await?;
    rows.voicemails.write_sqlite(db, VOICEMAILS_HEAD, VOICEMAILS_TAIL).await?;
    rows.messages.write_sqlite(db, MESSAGES_HEAD, MESSAGES_TAIL).await?;
    rows.events.write_sqlite(db, EVENTS_HEAD, "").await?;
    rows.processed.write_sqlite(db, PROCESSED_HEAD, LIST_TAIL).await?;
    rows.retried.write_sqlite(db, RETRIED_HEAD, LIST_TAIL).await?;
    for (id, reason, at) in rows.failed {
        sqlx::query(FAIL).bind(id).bind(reason).bind(at).execute(&mut *db).await?;
    }
    Ok(receipts)
}

/// Does what [`write_sqlite`] does with the same statements joined into one, because a round trip costs more than the
/// work. Without retries and failures, that one statement is a transaction by itself.
pub(in crate::store) async fn write_postgres(
    db: &mut PgConnection,
    units: &[Arc<Unit>],
) -> Result<Vec<Receipt>, UnitFailure> {
    // Each unit's offset behind the app's last event; the statement adds that event's seq.
    let mut counts: BTreeMap<AppId, i64> = BTreeMap::new();
    let places: Vec<Receipt> = units
        .iter()
        .map(|unit| {
            let count = counts.entry(unit.app_id).or_default();
            let place = Receipt { last_seq_before: Seq(*count) };
            *count += event_count(unit);
            place
        })
        .collect();
    counts.retain(|_, count| *count > 0);
    let feeds = Rows::of(vec![
        Column::Id(counts.keys().map(|app| Id::from(*app)).collect()),
        Column::Int(counts.values().copied().collect()),
    ]);
    let rows = UnitRows::of(units, &places);
    let parts = [&feeds, &rows.calls, &rows.voicemails, &rows.messages, &rows.events, &rows.processed];

    static STATEMENT: OnceLock<String> = OnceLock::new();
    let statement: &'static str = STATEMENT.get_or_init(|| joined_statement(parts));
    let query = parts.iter().fold(sqlx::query_as(statement), |query, rows| rows.bind_arrays(query));
    let feeds: Vec<(Id, i64)> = query.fetch_all(&mut *db).await?;
    rows.retried.write_postgres(db, RETRIED_HEAD, LIST_TAIL).await?;
    for (id, reason, at) in rows.failed {
        sqlx::query(FAIL).bind(id).bind(reason).bind(at).execute(&mut *db).await?;
    }

    let last_seq_before: HashMap<AppId, i64> =
        feeds.into_iter().map(|(app, before)| (app.into(), before)).collect();
    let receipts = units.iter().zip(places).map(|(unit, place)| match last_seq_before.get(&unit.app_id) {
        Some(before) => Ok(Receipt { last_seq_before: Seq(before + place.last_seq_before.0) }),
        None if unit.events.is_empty() => Ok(place),
        None => Err(app_is_gone(unit.app_id)),
    });
    receipts.collect()
}

fn event_count(unit: &Unit) -> i64 {
    i64::try_from(unit.events.len()).unwrap_or(i64::MAX)
}

fn joined_statement([feeds, calls, voicemails, messages, events, processed]: [&Rows; 6]) -> String {
    let mut number = 1;
    let mut source = |rows: &Rows| {
        let source = rows.unnest(number);
        number += rows.width();
        source
    };
    let feeds = source(feeds);
    let mut insert =
        |head: &str, rows: &Rows, tail: &str| format!("{head} SELECT * FROM {} {tail}", source(rows));
    let calls = insert(CALLS_HEAD, calls, CALLS_TAIL);
    let voicemails = insert(VOICEMAILS_HEAD, voicemails, VOICEMAILS_TAIL);
    let messages = insert(MESSAGES_HEAD, messages, MESSAGES_TAIL);
    let events = source(events);
    let at = number;
    let ids = processed.unnest(number + 1);
    format!(
        "WITH feed AS (
            UPDATE event_feeds SET last_seq = last_seq + taken.count
            FROM {feeds} AS taken (app_id, count) WHERE event_feeds.app_id = taken.app_id
            RETURNING event_feeds.app_id, event_feeds.last_seq - taken.count AS last_seq_before
        ),
        written_calls AS ({calls}), written_voicemails AS ({voicemails}), written_messages AS ({messages}),
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

fn app_is_gone(app: AppId) -> UnitFailure {
    UnitFailure::Store(StoreError::Rejected(format!("app {app} is gone")))
}
