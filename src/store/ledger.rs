//! The engine's books: calls, voicemails and messages, and the unit of work that changes them together with the
//! feed and the journal.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cti_actors::{
    call::{CallFacts, CallRecord, Direction, StoredCall, VoicemailRecord},
    error::StoreError,
    id::{AppId, DialpadCallId, JournalId, Seq},
    message::{MessageFacts, MessageRecord, StoredMessage},
    ports::Ledger,
    unit::{Receipt, Unit},
};
use sqlx::{PgConnection, SqliteConnection};

use super::{
    Store,
    bulk::{Column, Lead, Rows},
    database::{Pools, store_error},
    types::Id,
};

const TAKE_SEQ: &str = "UPDATE event_feeds SET last_seq = last_seq + $2 WHERE app_id = $1 RETURNING last_seq";

const CALLS_HEAD: &str = "INSERT INTO calls
    (id, app_id, dialpad_call_id, direction, from_number, to_number, status, outcome, dialpad_user_id, ringing_at,
     answered_at, ended_at, duration_seconds, talk_seconds, hold_seconds, recording_url, is_voicemail, voicemail_id,
     leg, master_call_id, entry_point_call_id, operator_call_id, facts, version, created_at, updated_at)";
/// The version guards: a row that somebody else wrote in between is left alone, and the count tells.
const CALLS_TAIL: &str = "ON CONFLICT (app_id, dialpad_call_id) DO UPDATE SET
    direction = EXCLUDED.direction, from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number,
    status = EXCLUDED.status, outcome = EXCLUDED.outcome, dialpad_user_id = EXCLUDED.dialpad_user_id,
    ringing_at = EXCLUDED.ringing_at, answered_at = EXCLUDED.answered_at, ended_at = EXCLUDED.ended_at,
    duration_seconds = EXCLUDED.duration_seconds, talk_seconds = EXCLUDED.talk_seconds,
    hold_seconds = EXCLUDED.hold_seconds, recording_url = EXCLUDED.recording_url,
    is_voicemail = EXCLUDED.is_voicemail, voicemail_id = EXCLUDED.voicemail_id, leg = EXCLUDED.leg,
    master_call_id = EXCLUDED.master_call_id, entry_point_call_id = EXCLUDED.entry_point_call_id,
    operator_call_id = EXCLUDED.operator_call_id, facts = EXCLUDED.facts, version = EXCLUDED.version,
    updated_at = EXCLUDED.updated_at
    WHERE calls.version = EXCLUDED.version - 1";

const VOICEMAILS_HEAD: &str = "INSERT INTO voicemails
    (id, app_id, dialpad_call_id, dialpad_voicemail_id, dialpad_user_id, direction, from_number, to_number,
     recording_url, transcript, duration_seconds, received_at, created_at, updated_at)";
const VOICEMAILS_TAIL: &str = "ON CONFLICT (id) DO UPDATE SET
    dialpad_voicemail_id = EXCLUDED.dialpad_voicemail_id, dialpad_user_id = EXCLUDED.dialpad_user_id,
    direction = EXCLUDED.direction, from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number,
    recording_url = EXCLUDED.recording_url, transcript = EXCLUDED.transcript,
    duration_seconds = EXCLUDED.duration_seconds, received_at = EXCLUDED.received_at,
    updated_at = EXCLUDED.updated_at";

const MESSAGES_HEAD: &str = "INSERT INTO messages
    (id, app_id, dialpad_message_id, dialpad_user_id, direction, from_number, to_number, text, message_status,
     sent_at, facts, version, created_at, updated_at)";
const MESSAGES_TAIL: &str = "ON CONFLICT (app_id, dialpad_message_id) DO UPDATE SET
    dialpad_user_id = EXCLUDED.dialpad_user_id, direction = EXCLUDED.direction,
    from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number, text = EXCLUDED.text,
    message_status = EXCLUDED.message_status, sent_at = EXCLUDED.sent_at, facts = EXCLUDED.facts,
    version = EXCLUDED.version, updated_at = EXCLUDED.updated_at
    WHERE messages.version = EXCLUDED.version - 1";

const EVENTS_HEAD: &str = "INSERT INTO events
    (app_id, seq, id, type, dialpad_call_id, dialpad_user_id, occurred_at, told_at, body)";

const PROCESSED_HEAD: &str =
    "UPDATE webhook_events SET status = 'processed', processed_at = $1, reason = NULL WHERE id IN (";
const RETRIED_HEAD: &str = "UPDATE webhook_events SET attempts = attempts + 1 WHERE id IN (";
const LIST_TAIL: &str = ")";
const FAIL: &str = "UPDATE webhook_events SET status = 'failed', attempts = attempts + 1, reason = $2, processed_at = $3 WHERE id = $1";

const CALLS: &str =
    "SELECT id, dialpad_call_id, voicemail_id, version, updated_at, CAST(facts AS TEXT) AS facts
    FROM calls WHERE app_id = $1 AND dialpad_call_id IN (";
const MESSAGES: &str = "SELECT id, dialpad_message_id, version, CAST(facts AS TEXT) AS facts
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

/// Writes the body of [`write_postgres`] and [`write_sqlite`]: the same statements in the same order, through the
/// methods of [`Rows`] for the database in question.
macro_rules! write_units {
    ($name:ident, $connection:ty, $write:ident) => {
        /// Writes several apps' units in one transaction, which the caller commits.
        pub(super) async fn $name(
            db: &mut $connection,
            units: &[Arc<Unit>],
        ) -> Result<Vec<Receipt>, UnitFailure> {
            // One order for everybody, so that two processes never wait for each other's feeds.
            let mut in_order: Vec<(AppId, usize)> =
                units.iter().enumerate().map(|(place, unit)| (unit.app_id, place)).collect();
            in_order.sort_unstable();
            let mut receipts = vec![Receipt { told_before: Seq::START }; units.len()];
            for (app_id, place) in in_order {
                let count = i64::try_from(units[place].events.len()).unwrap_or(i64::MAX);
                if count == 0 {
                    continue;
                }
                let taken: Option<(i64,)> = sqlx::query_as(TAKE_SEQ)
                    .bind(Id::from(app_id))
                    .bind(count)
                    .fetch_optional(&mut *db)
                    .await?;
                let Some((last,)) = taken else {
                    return Err(UnitFailure::Store(StoreError::Rejected(format!("app {app_id} is gone"))));
                };
                receipts[place].told_before = Seq(last - count);
            }

            let rows = UnitRows::of(units, &receipts);
            let written = rows.calls.$write(db, CALLS_HEAD, CALLS_TAIL).await?;
            check_versions("calls", written, &rows.calls)?;
            rows.voicemails.$write(db, VOICEMAILS_HEAD, VOICEMAILS_TAIL).await?;
            let written = rows.messages.$write(db, MESSAGES_HEAD, MESSAGES_TAIL).await?;
            check_versions("messages", written, &rows.messages)?;
            rows.events.$write(db, EVENTS_HEAD, "").await?;
            rows.processed.$write(db, PROCESSED_HEAD, LIST_TAIL).await?;
            rows.retried.$write(db, RETRIED_HEAD, LIST_TAIL).await?;
            for (id, reason, at) in rows.failed {
                sqlx::query(FAIL).bind(id).bind(reason).bind(at).execute(&mut *db).await?;
            }
            Ok(receipts)
        }
    };
}

write_units!(write_postgres, PgConnection, write_postgres);
write_units!(write_sqlite, SqliteConnection, write_sqlite);

/// Everything that a transaction of units writes, as rows.
struct UnitRows {
    calls: Rows,
    voicemails: Rows,
    messages: Rows,
    events: Rows,
    processed: Rows,
    retried: Rows,
    failed: Vec<(Id, String, DateTime<Utc>)>,
}

impl UnitRows {
    fn of(units: &[Arc<Unit>], receipts: &[Receipt]) -> Self {
        let ids = |part: fn(&Unit) -> &Vec<JournalId>| {
            Rows::of(vec![Column::Id(each(units, part).map(|(_, id)| Id::from(*id)).collect())])
        };
        let failed = each(units, |unit| &unit.failed);
        let decided_at = units.first().map(|unit| unit.decided_at).unwrap_or_default();
        Self {
            calls: call_rows(&each(units, |unit| &unit.calls).collect::<Vec<_>>()),
            voicemails: voicemail_rows(&each(units, |unit| &unit.voicemails).collect::<Vec<_>>()),
            messages: message_rows(&each(units, |unit| &unit.messages).collect::<Vec<_>>()),
            events: event_rows(units, receipts),
            processed: ids(|unit| &unit.processed).behind(Lead::Time(decided_at)),
            retried: ids(|unit| &unit.retried),
            failed: failed
                .map(|(unit, (id, reason))| (Id::from(*id), reason.clone(), unit.decided_at))
                .collect(),
        }
    }
}

fn each<'u, T: 'u>(
    units: &'u [Arc<Unit>],
    part: fn(&Unit) -> &Vec<T>,
) -> impl Iterator<Item = (&'u Unit, &'u T)> {
    units.iter().flat_map(move |unit| part(unit).iter().map(move |item| (&**unit, item)))
}

fn check_versions(table: &str, written: u64, rows: &Rows) -> Result<(), UnitFailure> {
    let expected = rows.count();
    if usize::try_from(written).is_ok_and(|written| written == expected) {
        return Ok(());
    }
    Err(UnitFailure::Store(StoreError::Conflict(format!(
        "{written} of {expected} rows of {table} were as expected"
    ))))
}

fn call_rows(records: &[(&Unit, &CallRecord)]) -> Rows {
    macro_rules! column {
        ($kind:ident, |$unit:ident, $call:ident, $snapshot:ident| $value:expr) => {
            Column::$kind(
                records
                    .iter()
                    .map(|($unit, CallRecord { call: $call, snapshot: $snapshot })| $value)
                    .collect(),
            )
        };
    }
    Rows::of(vec![
        column!(Id, |_u, call, _s| call.id.into()),
        column!(Id, |unit, _c, _s| unit.app_id.into()),
        column!(Int, |_u, call, _s| call.dialpad_call_id.0),
        column!(OptText, |_u, _c, snapshot| snapshot.direction.map(|it| it.as_str().to_owned())),
        column!(OptText, |_u, _c, snapshot| snapshot.from_number.clone()),
        column!(OptText, |_u, _c, snapshot| snapshot.to_number.clone()),
        column!(Text, |_u, _c, snapshot| snapshot.status.as_str().to_owned()),
        column!(OptText, |_u, _c, snapshot| snapshot.outcome.map(|it| it.as_str().to_owned())),
        column!(OptInt, |_u, _c, snapshot| snapshot.dialpad_user_id),
        column!(OptTime, |_u, _c, snapshot| snapshot.ringing_at),
        column!(OptTime, |_u, _c, snapshot| snapshot.answered_at),
        column!(OptTime, |_u, _c, snapshot| snapshot.ended_at),
        column!(OptInt, |_u, _c, snapshot| snapshot.duration_seconds),
        column!(OptInt, |_u, _c, snapshot| snapshot.talk_seconds),
        column!(OptInt, |_u, _c, snapshot| snapshot.hold_seconds),
        column!(OptText, |_u, _c, snapshot| snapshot.recording_url.clone()),
        column!(Bool, |_u, _c, snapshot| snapshot.is_voicemail),
        column!(OptId, |_u, call, _s| call.voicemail_id.map(Id::from)),
        column!(OptText, |_u, call, _s| call.facts.leg().map(|leg| leg.as_str().to_owned())),
        column!(OptInt, |_u, call, _s| call.facts.leg_ids()[0]),
        column!(OptInt, |_u, call, _s| call.facts.leg_ids()[1]),
        column!(OptInt, |_u, call, _s| call.facts.leg_ids()[2]),
        column!(Json, |_u, call, _s| json(&call.facts)),
        column!(Int, |_u, call, _s| call.version),
        column!(Time, |unit, _c, _s| unit.decided_at),
        column!(Time, |_u, call, _s| call.updated_at),
    ])
}

fn voicemail_rows(records: &[(&Unit, &VoicemailRecord)]) -> Rows {
    let direction = |record: &VoicemailRecord| record.snapshot.direction.map(direction_text);
    Rows::of(vec![
        Column::Id(records.iter().map(|(_, it)| it.id.into()).collect()),
        Column::Id(records.iter().map(|(unit, _)| unit.app_id.into()).collect()),
        Column::Int(records.iter().map(|(_, it)| it.dialpad_call_id.0).collect()),
        Column::OptText(records.iter().map(|(_, it)| it.voicemail.dialpad_voicemail_id.clone()).collect()),
        Column::OptInt(records.iter().map(|(_, it)| it.snapshot.dialpad_user_id).collect()),
        Column::OptText(records.iter().map(|(_, it)| direction(it)).collect()),
        Column::OptText(records.iter().map(|(_, it)| it.snapshot.from_number.clone()).collect()),
        Column::OptText(records.iter().map(|(_, it)| it.snapshot.to_number.clone()).collect()),
        Column::OptText(records.iter().map(|(_, it)| it.voicemail.recording_url.clone()).collect()),
        Column::OptText(records.iter().map(|(_, it)| it.voicemail.transcript.clone()).collect()),
        Column::OptInt(records.iter().map(|(_, it)| it.voicemail.duration_seconds).collect()),
        Column::Time(records.iter().map(|(_, it)| it.voicemail.received_at).collect()),
        Column::Time(records.iter().map(|(unit, _)| unit.decided_at).collect()),
        Column::Time(records.iter().map(|(_, it)| it.updated_at).collect()),
    ])
}

fn message_rows(records: &[(&Unit, &MessageRecord)]) -> Rows {
    let facts = |record: &MessageRecord| record.message.facts.clone();
    Rows::of(vec![
        Column::Id(records.iter().map(|(_, it)| it.message.id.into()).collect()),
        Column::Id(records.iter().map(|(unit, _)| unit.app_id.into()).collect()),
        Column::Text(records.iter().map(|(_, it)| it.message.dialpad_message_id.clone()).collect()),
        Column::OptInt(records.iter().map(|(_, it)| facts(it).dialpad_user_id).collect()),
        Column::OptText(records.iter().map(|(_, it)| facts(it).direction.map(direction_text)).collect()),
        Column::OptText(records.iter().map(|(_, it)| facts(it).from_number).collect()),
        Column::OptText(records.iter().map(|(_, it)| facts(it).to_number).collect()),
        Column::OptText(records.iter().map(|(_, it)| facts(it).text).collect()),
        Column::OptText(records.iter().map(|(_, it)| facts(it).status).collect()),
        Column::Time(records.iter().map(|(_, it)| facts(it).sent_at).collect()),
        Column::Json(records.iter().map(|(_, it)| json(&it.message.facts)).collect()),
        Column::Int(records.iter().map(|(_, it)| it.message.version).collect()),
        Column::Time(records.iter().map(|(unit, _)| unit.decided_at).collect()),
        Column::Time(records.iter().map(|(_, it)| it.updated_at).collect()),
    ])
}

fn event_rows(units: &[Arc<Unit>], receipts: &[Receipt]) -> Rows {
    let seqs = units.iter().zip(receipts).flat_map(|(unit, receipt)| {
        (1..).zip(&unit.events).map(|(place, _): (i64, _)| receipt.told_before.0 + place)
    });
    let events: Vec<_> = each(units, |unit| &unit.events).collect();
    Rows::of(vec![
        Column::Id(events.iter().map(|(unit, _)| unit.app_id.into()).collect()),
        Column::Int(seqs.collect()),
        Column::Id(events.iter().map(|(_, it)| it.id.into()).collect()),
        Column::Text(events.iter().map(|(_, it)| it.kind.clone().into_owned()).collect()),
        Column::OptInt(events.iter().map(|(_, it)| it.dialpad_call_id.map(|id| id.0)).collect()),
        Column::OptInt(events.iter().map(|(_, it)| it.dialpad_user_id).collect()),
        Column::Time(events.iter().map(|(_, it)| it.occurred_at).collect()),
        Column::Time(events.iter().map(|(unit, _)| unit.decided_at).collect()),
        Column::Text(events.iter().map(|(_, it)| it.body.clone()).collect()),
    ])
}

fn direction_text(direction: Direction) -> String {
    direction.as_str().to_owned()
}

fn json<T: serde::Serialize>(facts: &T) -> String {
    serde_json::to_string(facts).expect("facts have only string keys")
}

#[derive(sqlx::FromRow)]
struct CallRow {
    id: Id,
    dialpad_call_id: i64,
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
    facts: String,
}

impl CallRow {
    fn into_call(self) -> Result<StoredCall, StoreError> {
        let facts: CallFacts = serde_json::from_str(&self.facts).map_err(|_| corrupt("calls", self.id))?;
        Ok(StoredCall {
            id: self.id.into(),
            dialpad_call_id: DialpadCallId(self.dialpad_call_id),
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
        let Self { id, dialpad_message_id, version, .. } = self;
        Ok(StoredMessage { id: id.into(), dialpad_message_id, version, facts })
    }
}

fn corrupt(table: &'static str, id: Id) -> StoreError {
    StoreError::Corrupt { table, column: "facts", id: id.0.to_string() }
}

impl Store {
    /// Rows of an app whose column is one of these values: an array on PostgreSQL, a list on SQLite.
    async fn fetch_named<T>(
        &self,
        head: &'static str,
        app: AppId,
        names: Column,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>
            + for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>
            + Send
            + Unpin,
    {
        let names = Rows::of(vec![names]).behind(Lead::Id(app.into()));
        let database = &self.shared.database;
        let work = async {
            match database.pools() {
                Pools::Postgres(pools) => {
                    names.fetch_postgres(&mut *pools.read.acquire().await?, head, LIST_TAIL).await
                }
                Pools::Sqlite(pools) => {
                    names.fetch_sqlite(&mut *pools.read.acquire().await?, head, LIST_TAIL).await
                }
            }
        };
        database.within(work).await.map_err(store_error)
    }
}

#[async_trait]
impl Ledger for Store {
    async fn calls(&self, app: AppId, ids: &[DialpadCallId]) -> Result<Vec<StoredCall>, StoreError> {
        let names = Column::Int(ids.iter().map(|id| id.0).collect());
        let rows: Vec<CallRow> = self.fetch_named(CALLS, app, names).await?;
        rows.into_iter().map(CallRow::into_call).collect()
    }

    async fn messages(&self, app: AppId, ids: &[String]) -> Result<Vec<StoredMessage>, StoreError> {
        let names = Column::Text(ids.to_vec());
        let rows: Vec<MessageRow> = self.fetch_named(MESSAGES, app, names).await?;
        rows.into_iter().map(MessageRow::into_message).collect()
    }

    async fn commit(&self, unit: Arc<Unit>) -> Result<Receipt, StoreError> {
        self.shared.lanes.commit(unit).await
    }
}
