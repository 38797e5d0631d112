//! The engine's books: calls, voicemails and messages, and the unit of work that changes them together with the
//! feed and the journal.

mod rows;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cti_actors::{
    call::{CallFacts, StoredCall},
    error::StoreError,
    id::{AppId, DialpadCallId, InteractionId, Seq},
    message::{MessageFacts, StoredMessage},
    ports::Ledger,
    unit::{Receipt, Unit},
};
use sqlx::{PgConnection, SqliteConnection};

use self::rows::UnitRows;
use super::{
    Store,
    bulk::{Column, Lead, Rows},
    database::store_error,
    on_db,
    types::Id,
};

macro_rules! stored_calls {
    () => {
        "SELECT calls.id, calls.dialpad_call_id, COALESCE(calls.interaction_id, calls.id) AS interaction_id,
        calls.voicemail_id, calls.version, calls.updated_at, CAST(calls.facts AS TEXT) AS facts
        FROM app CROSS JOIN named CROSS JOIN calls WHERE calls.app_id = app.id"
    };
}

const TAKE_SEQ: &str = "UPDATE event_feeds SET last_seq = last_seq + $2 WHERE app_id = $1 RETURNING last_seq";

const CALLS_HEAD: &str = "INSERT INTO calls
    (id, app_id, dialpad_call_id, direction, from_number, to_number, status, outcome, dialpad_user_id, ringing_at,
     answered_at, ended_at, duration_seconds, talk_seconds, hold_seconds, recording_url, is_voicemail, voicemail_id,
     leg, master_call_id, entry_point_call_id, operator_call_id, target_id, interaction_id, answered_elsewhere,
     facts, version, created_at, updated_at)";
/// The version guards: where somebody else wrote in between, it becomes null, which the column refuses, and with it
/// the whole statement.
const CALLS_TAIL: &str = "ON CONFLICT (app_id, dialpad_call_id) DO UPDATE SET
    direction = EXCLUDED.direction, from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number,
    status = EXCLUDED.status, outcome = EXCLUDED.outcome, dialpad_user_id = EXCLUDED.dialpad_user_id,
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
     recording_url, transcript, duration_seconds, received_at, created_at, updated_at)";
const VOICEMAILS_TAIL: &str = "ON CONFLICT (id) DO UPDATE SET
    dialpad_voicemail_id = EXCLUDED.dialpad_voicemail_id, dialpad_user_id = EXCLUDED.dialpad_user_id,
    direction = EXCLUDED.direction, from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number,
    recording_url = EXCLUDED.recording_url, transcript = EXCLUDED.transcript,
    duration_seconds = EXCLUDED.duration_seconds, received_at = EXCLUDED.received_at,
    updated_at = EXCLUDED.updated_at
    WHERE voicemails.deleted_at IS NULL";

const MESSAGES_HEAD: &str = "INSERT INTO messages
    (id, app_id, dialpad_message_id, dialpad_user_id, direction, from_number, to_number, text, mms_url, message_status,
     sent_at, facts, version, created_at, updated_at)";
const MESSAGES_TAIL: &str = "ON CONFLICT (app_id, dialpad_message_id) DO UPDATE SET
    dialpad_user_id = EXCLUDED.dialpad_user_id, direction = EXCLUDED.direction,
    from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number, text = EXCLUDED.text,
    mms_url = EXCLUDED.mms_url, message_status = EXCLUDED.message_status, sent_at = EXCLUDED.sent_at, facts = EXCLUDED.facts,
    updated_at = EXCLUDED.updated_at,
    version = CASE WHEN messages.version = EXCLUDED.version - 1 THEN EXCLUDED.version END";

const EVENTS_HEAD: &str = "INSERT INTO events
    (app_id, seq, id, type, dialpad_call_id, dialpad_user_id, occurred_at, told_at, body)";

const PROCESSED_HEAD: &str =
    "UPDATE webhook_events SET status = 'processed', processed_at = $1, reason = NULL WHERE id IN (";
const RETRIED_HEAD: &str = "UPDATE webhook_events SET attempts = attempts + 1 WHERE id IN (";
pub(super) const LIST_TAIL: &str = ")";
const FAIL: &str = "UPDATE webhook_events SET status = 'failed', attempts = attempts + 1, reason = $2, processed_at = $3 WHERE id = $1";

/// `$1` is the app, the rows are ids of legs: the calls that are, or that name, any of them. One index for each way,
/// which either database uses only in a join that is written so: from the few to the many, and saying that the column
/// of a partial index is not null.
const RELATIVES_HEAD: &str = "WITH app (id) AS (SELECT $1), named (leg) AS (";
const RELATIVES_TAIL: &str = concat!(
    ") ",
    stored_calls!(),
    " AND calls.dialpad_call_id = named.leg UNION ALL ",
    stored_calls!(),
    " AND calls.master_call_id IS NOT NULL AND calls.master_call_id = named.leg UNION ALL ",
    stored_calls!(),
    " AND calls.entry_point_call_id IS NOT NULL AND calls.entry_point_call_id = named.leg UNION ALL ",
    stored_calls!(),
    " AND calls.operator_call_id IS NOT NULL AND calls.operator_call_id = named.leg"
);
/// The same for ids of interactions: all their legs.
const LEGS_HEAD: &str = "WITH app (id) AS (SELECT $1), named (interaction) AS (";
const LEGS_TAIL: &str = concat!(
    ") ",
    stored_calls!(),
    " AND calls.interaction_id IS NULL AND calls.id = named.interaction UNION ALL ",
    stored_calls!(),
    " AND calls.interaction_id IS NOT NULL AND calls.interaction_id = named.interaction"
);
const RECENT_OF: &str =
    "SELECT id, dialpad_call_id, COALESCE(interaction_id, id) AS interaction_id, voicemail_id, version, updated_at,
    CAST(facts AS TEXT) AS facts FROM calls WHERE app_id = $1 AND updated_at >= $2 AND target_id = $3";
const MESSAGES: &str = "SELECT id, dialpad_message_id, version, updated_at, CAST(facts AS TEXT) AS facts
    FROM messages WHERE app_id = $1 AND dialpad_message_id IN (";

/// Why a transaction of units could not be written.
pub(super) enum UnitFailure {
    Sql(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for UnitFailure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl UnitFailure {
    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Sql(error) => store_error(error),
            Self::Store(failure) => failure,
        }
    }
}

/// Writes several apps' units in one transaction, which the caller commits.
pub(super) async fn write_sqlite(
    db: &mut SqliteConnection,
    units: &[Arc<Unit>],
) -> Result<Vec<Receipt>, UnitFailure> {
    let mut receipts = Vec::with_capacity(units.len());
    for unit in units {
        let count = event_count(unit);
        let mut told_before = 0;
        if count > 0 {
            let take = sqlx::query_as(TAKE_SEQ).bind(Id::from(unit.app_id)).bind(count);
            let (last,): (i64,) =
                take.fetch_optional(&mut *db).await?.ok_or_else(|| app_is_gone(unit.app_id))?;
            told_before = last - count;
        }
        receipts.push(Receipt { told_before: Seq(told_before) });
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

/// As [`write_sqlite`], with the same statements joined into one: a round trip to the server costs more than what it
/// does there. Without failures it is a transaction by itself.
pub(super) async fn write_postgres(
    db: &mut PgConnection,
    units: &[Arc<Unit>],
) -> Result<Vec<Receipt>, UnitFailure> {
    // Places behind what was told before; the statement knows how much that is.
    let mut counts: BTreeMap<AppId, i64> = BTreeMap::new();
    let places: Vec<Receipt> = units
        .iter()
        .map(|unit| {
            let count = counts.entry(unit.app_id).or_default();
            let place = Receipt { told_before: Seq(*count) };
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

    let told_before: HashMap<AppId, i64> =
        feeds.into_iter().map(|(app, before)| (app.into(), before)).collect();
    let receipts = units.iter().zip(places).map(|(unit, place)| match told_before.get(&unit.app_id) {
        Some(before) => Ok(Receipt { told_before: Seq(before + place.told_before.0) }),
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
    // Its single value comes first.
    let (at, ids) = (number, processed.unnest(number + 1));
    format!(
        "WITH feed AS (
            UPDATE event_feeds SET last_seq = last_seq + taken.count
            FROM {feeds} AS taken (app_id, count) WHERE event_feeds.app_id = taken.app_id
            RETURNING event_feeds.app_id, event_feeds.last_seq - taken.count AS told_before
        ),
        written_calls AS ({calls}), written_voicemails AS ({voicemails}), written_messages AS ({messages}),
        written_events AS (
            {EVENTS_HEAD}
            SELECT told.app_id, feed.told_before + told.place, told.id, told.type, told.dialpad_call_id,
                told.dialpad_user_id, told.occurred_at, told.told_at, told.body
            FROM {events} AS told (app_id, place, id, type, dialpad_call_id, dialpad_user_id, occurred_at, told_at, body)
            JOIN feed ON feed.app_id = told.app_id
        ),
        processed AS (
            UPDATE webhook_events SET status = 'processed', processed_at = ${at}, reason = NULL
            WHERE id IN (SELECT * FROM {ids})
        )
        SELECT app_id, told_before FROM feed"
    )
}

fn app_is_gone(app: AppId) -> UnitFailure {
    UnitFailure::Store(StoreError::Rejected(format!("app {app} is gone")))
}

#[derive(sqlx::FromRow)]
struct CallRow {
    id: Id,
    dialpad_call_id: i64,
    interaction_id: Id,
    voicemail_id: Option<Id>,
    version: i64,
    updated_at: DateTime<Utc>,
    facts: String,
}

#[derive(sqlx::FromRow)]
struct MessageRow {
    id: Id,
    dialpad_message_id: String,
    version: i64,
    updated_at: DateTime<Utc>,
    facts: String,
}

impl CallRow {
    fn into_call(self) -> Result<StoredCall, StoreError> {
        let facts: CallFacts = serde_json::from_str(&self.facts).map_err(|_| corrupt("calls", self.id))?;
        Ok(StoredCall {
            id: self.id.into(),
            dialpad_call_id: DialpadCallId(self.dialpad_call_id),
            interaction_id: self.interaction_id.into(),
            voicemail_id: self.voicemail_id.map(Into::into),
            version: self.version,
            updated_at: self.updated_at,
            facts,
        })
    }
}

impl MessageRow {
    fn into_message(self) -> Result<StoredMessage, StoreError> {
        let facts: MessageFacts =
            serde_json::from_str(&self.facts).map_err(|_| corrupt("messages", self.id))?;
        let Self { id, dialpad_message_id, version, updated_at, .. } = self;
        Ok(StoredMessage { id: id.into(), dialpad_message_id, version, updated_at, facts })
    }
}

fn corrupt(table: &'static str, id: Id) -> StoreError {
    StoreError::Corrupt { table, column: "facts", id: id.0.to_string() }
}

impl Store {
    /// What a statement finds for an app and these values: an array on PostgreSQL, a list on SQLite.
    pub(super) async fn fetch_named<T>(
        &self,
        head: &'static str,
        tail: &'static str,
        app: AppId,
        names: Column,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>
            + for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>
            + Send
            + Unpin,
    {
        self.fetch_listed(head, tail, Rows::of(vec![names]).behind(Lead::Id(app.into()))).await
    }
}

#[async_trait]
impl Ledger for Store {
    async fn relatives(&self, app: AppId, legs: &[DialpadCallId]) -> Result<Vec<StoredCall>, StoreError> {
        let names = Column::Int(legs.iter().map(|id| id.0).collect());
        let mut rows: Vec<CallRow> = self.fetch_named(RELATIVES_HEAD, RELATIVES_TAIL, app, names).await?;
        // A call may be found in more than one way.
        rows.sort_by_key(|row| row.dialpad_call_id);
        rows.dedup_by_key(|row| row.dialpad_call_id);
        rows.into_iter().map(CallRow::into_call).collect()
    }

    async fn legs(&self, app: AppId, interactions: &[InteractionId]) -> Result<Vec<StoredCall>, StoreError> {
        let names = Column::Id(interactions.iter().map(|id| Id::from(*id)).collect());
        let rows: Vec<CallRow> = self.fetch_named(LEGS_HEAD, LEGS_TAIL, app, names).await?;
        rows.into_iter().map(CallRow::into_call).collect()
    }

    async fn recent_calls_of(
        &self,
        app: AppId,
        targets: &[i64],
        since: DateTime<Utc>,
    ) -> Result<Vec<StoredCall>, StoreError> {
        let mut calls = Vec::new();
        for target in targets {
            let rows: Vec<CallRow> = on_db!(self, read db => {
                sqlx::query_as(RECENT_OF).bind(Id::from(app)).bind(since).bind(target).fetch_all(db).await
            })?;
            for row in rows {
                calls.push(row.into_call()?);
            }
        }
        Ok(calls)
    }

    async fn crm_users(&self, app: AppId, users: &[i64]) -> Result<BTreeMap<i64, String>, StoreError> {
        self.names_in_crm(app, users).await
    }

    async fn messages(&self, app: AppId, ids: &[String]) -> Result<Vec<StoredMessage>, StoreError> {
        let names = Column::Text(ids.to_vec());
        let rows: Vec<MessageRow> = self.fetch_named(MESSAGES, LIST_TAIL, app, names).await?;
        rows.into_iter().map(MessageRow::into_message).collect()
    }

    async fn commit(&self, unit: Arc<Unit>) -> Result<Receipt, StoreError> {
        self.shared.lanes.commit(unit).await
    }
}
