//! The ledger: calls, voicemails and messages as the engine keeps them. They are read here; the units of work that
//! change them, together with the feed and the journal, are written in [`write`].

pub(crate) mod outbound_calls;
mod recent;
mod rows;
mod write;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId, InteractionId},
    model::{
        call::{CallFacts, StoredCall},
        interaction::StoredInteraction,
        message::{MessageFacts, StoredMessage},
    },
    ports::{Ledger, RecentCalls, Window},
    unit::{Receipt, Unit},
};

pub(super) use self::recent::RecentKey;
pub(super) use self::write::{UnitFailure, write_postgres, write_sqlite};
use super::{
    Store,
    db::{
        bulk::{Column, FirstParam, Rows},
        types::{AnyRow, Id},
    },
    on_db,
};

macro_rules! stored_calls {
    () => {
        "SELECT calls.id, calls.dialpad_call_id, COALESCE(calls.interaction_id, calls.id) AS interaction_id,
        calls.voicemail_id, calls.version, calls.updated_at, CAST(calls.facts AS TEXT) AS facts
        FROM app CROSS JOIN named CROSS JOIN calls WHERE calls.app_id = app.id"
    };
}

/// `$1` is the app; the rows are ids of legs. Finds the calls that are, or that name, any of them. There is one index for
/// each way; both databases use it only in a join that goes from the few rows to the many, and that says that the
/// column of a partial index is not null.
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
/// Finds all legs of the interactions whose ids are the rows.
pub(super) const LEGS_HEAD: &str = "WITH app (id) AS (SELECT $1), named (interaction) AS (";
pub(super) const LEGS_TAIL: &str = concat!(
    ") ",
    stored_calls!(),
    " AND calls.interaction_id IS NULL AND calls.id = named.interaction UNION ALL ",
    stored_calls!(),
    " AND calls.interaction_id IS NOT NULL AND calls.interaction_id = named.interaction"
);
/// The rows are windows. Finds the calls of their targets that are not over, or that ended within them.
const WINDOWS_HEAD: &str = "WITH app (id) AS (SELECT $1), named (target, since, until) AS (";
const CALLS_IN_TAIL: &str = concat!(
    ") ",
    stored_calls!(),
    " AND calls.target_id IS NOT NULL AND calls.target_id = named.target AND calls.ended_at IS NULL UNION ALL ",
    stored_calls!(),
    " AND calls.target_id IS NOT NULL AND calls.target_id = named.target
      AND calls.ended_at >= named.since AND calls.ended_at <= named.until"
);
/// The rows are windows. Finds the calls that wait for a leg of their targets.
const WAITING_IN_TAIL: &str = concat!(
    ") ",
    stored_calls!(),
    " AND calls.link_target IS NOT NULL AND calls.link_target = named.target
      AND calls.link_at >= named.since AND calls.link_at <= named.until"
);
const INTERACTIONS: &str =
    "SELECT id, version, CAST(summary AS TEXT) AS summary, merged_into, settles_at, has_settled,
    updated_at FROM interactions WHERE app_id = $1 AND id IN (";
/// With those that settle later than any should (`$3`): they were stored while the clock was ahead.
const UNSETTLED: &str =
    "SELECT app_id, id FROM interactions WHERE settles_at IS NOT NULL AND (settles_at <= $1 OR settles_at > $3)
    ORDER BY settles_at LIMIT $2";
const MESSAGES: &str = "SELECT id, dialpad_message_id, version, updated_at, CAST(facts AS TEXT) AS facts
    FROM messages WHERE app_id = $1 AND dialpad_message_id IN (";
/// Ends a statement whose rows are the list of an `IN`.
pub(super) const LIST_TAIL: &str = ")";
/// The end of no interaction is held back for longer.
const MAX_SETTLE: TimeDelta = TimeDelta::hours(1);

#[derive(sqlx::FromRow)]
pub(super) struct CallRow {
    id: Id,
    dialpad_call_id: i64,
    interaction_id: Id,
    voicemail_id: Option<Id>,
    version: i64,
    updated_at: DateTime<Utc>,
    facts: String,
}

#[derive(sqlx::FromRow)]
pub(super) struct InteractionRow {
    id: Id,
    version: i64,
    summary: String,
    merged_into: Option<Id>,
    settles_at: Option<DateTime<Utc>>,
    has_settled: bool,
    updated_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
pub(super) struct MessageRow {
    id: Id,
    dialpad_message_id: String,
    version: i64,
    updated_at: DateTime<Utc>,
    facts: String,
}

impl CallRow {
    pub(super) fn id(&self) -> Id {
        self.id
    }

    pub(super) fn interaction_id(&self) -> Id {
        self.interaction_id
    }

    pub(super) fn dialpad_call_id(&self) -> i64 {
        self.dialpad_call_id
    }

    pub(super) fn into_call(self) -> Result<StoredCall, StoreError> {
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

impl InteractionRow {
    pub(super) fn id(&self) -> Id {
        self.id
    }

    pub(super) fn into_interaction(self) -> Result<StoredInteraction, StoreError> {
        let Self { id, version, summary, merged_into, settles_at, has_settled, updated_at } = self;
        let corrupt =
            |_| StoreError::Corrupt { table: "interactions", column: "summary", id: id.0.to_string() };
        Ok(StoredInteraction {
            id: id.into(),
            version,
            summary: serde_json::from_str(&summary).map_err(corrupt)?,
            merged_into: merged_into.map(Into::into),
            settles_at,
            has_settled,
            updated_at,
        })
    }
}

impl MessageRow {
    pub(super) fn id(&self) -> Id {
        self.id
    }

    pub(super) fn dialpad_message_id(&self) -> &str {
        &self.dialpad_message_id
    }

    pub(super) fn into_message(self) -> Result<StoredMessage, StoreError> {
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
    /// Runs a query for an app (`$1`) and a list of values.
    pub(super) async fn fetch_named<T: AnyRow>(
        &self,
        head: &'static str,
        tail: &'static str,
        app: AppId,
        names: Column,
    ) -> Result<Vec<T>, StoreError> {
        self.fetch_listed(head, tail, Rows::of(vec![names]).after(FirstParam::Id(app.into()))).await
    }
}

impl Store {
    async fn calls_of_windows(
        &self,
        app: AppId,
        tail: &'static str,
        windows: &[Window],
    ) -> Result<Vec<StoredCall>, StoreError> {
        let columns = vec![
            Column::Int(windows.iter().map(|it| it.target).collect()),
            Column::Time(windows.iter().map(|it| it.from).collect()),
            Column::Time(windows.iter().map(|it| it.until).collect()),
        ];
        let windows = Rows::of(columns).after(FirstParam::Id(app.into()));
        calls_once(self.fetch_listed(WINDOWS_HEAD, tail, windows).await?)
    }
}

/// Returns each call once: it may be found in more than one way.
fn calls_once(mut rows: Vec<CallRow>) -> Result<Vec<StoredCall>, StoreError> {
    rows.sort_by_key(|row| row.dialpad_call_id);
    rows.dedup_by_key(|row| row.dialpad_call_id);
    rows.into_iter().map(CallRow::into_call).collect()
}

#[async_trait]
impl Ledger for Store {
    async fn relatives(&self, app: AppId, legs: &[DialpadCallId]) -> Result<Vec<StoredCall>, StoreError> {
        let names = Column::Int(legs.iter().map(|id| id.0).collect());
        calls_once(self.fetch_named(RELATIVES_HEAD, RELATIVES_TAIL, app, names).await?)
    }

    async fn legs(&self, app: AppId, interactions: &[InteractionId]) -> Result<Vec<StoredCall>, StoreError> {
        let names = Column::Id(interactions.iter().map(|id| Id::from(*id)).collect());
        let rows: Vec<CallRow> = self.fetch_named(LEGS_HEAD, LEGS_TAIL, app, names).await?;
        rows.into_iter().map(CallRow::into_call).collect()
    }

    async fn calls_in(&self, app: AppId, windows: &[Window]) -> Result<Vec<StoredCall>, StoreError> {
        self.calls_of_windows(app, CALLS_IN_TAIL, windows).await
    }

    async fn waiting_in(&self, app: AppId, windows: &[Window]) -> Result<Vec<StoredCall>, StoreError> {
        self.calls_of_windows(app, WAITING_IN_TAIL, windows).await
    }

    async fn recent_calls(
        &self,
        app: AppId,
        first_seen_since: DateTime<Utc>,
        waiting_since: DateTime<Utc>,
    ) -> Result<RecentCalls, StoreError> {
        self.read_recent_calls(app, first_seen_since, waiting_since).await
    }

    async fn interactions(
        &self,
        app: AppId,
        ids: &[InteractionId],
    ) -> Result<Vec<StoredInteraction>, StoreError> {
        let ids = Column::Id(ids.iter().map(|id| Id::from(*id)).collect());
        let rows: Vec<InteractionRow> = self.fetch_named(INTERACTIONS, LIST_TAIL, app, ids).await?;
        rows.into_iter().map(InteractionRow::into_interaction).collect()
    }

    async fn unsettled(
        &self,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(AppId, InteractionId)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<(Id, Id)> = on_db!(self, read db => {
            sqlx::query_as(UNSETTLED).bind(until).bind(limit).bind(until + MAX_SETTLE).fetch_all(db).await
        })?;
        Ok(rows.into_iter().map(|(app, id)| (app.into(), id.into())).collect())
    }

    async fn crm_users(&self, app: AppId, users: &[i64]) -> Result<BTreeMap<i64, String>, StoreError> {
        self.user_mappings().crm_users(app, users).await
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
