//! The ledger: calls, voicemails and messages as the engine keeps them. They are read here; the units of work that
//! change them, together with the feed and the journal, are written in [`write`].

pub(crate) mod outbound_calls;
mod rows;
mod write;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId, InteractionId},
    model::{
        call::{CallFacts, StoredCall},
        message::{MessageFacts, StoredMessage},
    },
    ports::Ledger,
    unit::{Receipt, Unit},
};

pub(super) use self::write::{UnitFailure, is_small, write_postgres, write_sqlite, write_sqlite_at_once};
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
const LEGS_HEAD: &str = "WITH app (id) AS (SELECT $1), named (interaction) AS (";
const LEGS_TAIL: &str = concat!(
    ") ",
    stored_calls!(),
    " AND calls.interaction_id IS NULL AND calls.id = named.interaction UNION ALL ",
    stored_calls!(),
    " AND calls.interaction_id IS NOT NULL AND calls.interaction_id = named.interaction"
);
const RECENT_OF_TARGET: &str =
    "SELECT id, dialpad_call_id, COALESCE(interaction_id, id) AS interaction_id, voicemail_id, version, updated_at,
    CAST(facts AS TEXT) AS facts FROM calls WHERE app_id = $1 AND updated_at >= $2 AND target_id = $3";
const MESSAGES: &str = "SELECT id, dialpad_message_id, version, updated_at, CAST(facts AS TEXT) AS facts
    FROM messages WHERE app_id = $1 AND dialpad_message_id IN (";
/// Ends a statement whose rows are the list of an `IN`.
pub(super) const LIST_TAIL: &str = ")";

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
                sqlx::query_as(RECENT_OF_TARGET).bind(Id::from(app)).bind(since).bind(target).fetch_all(db).await
            })?;
            for row in rows {
                calls.push(row.into_call()?);
            }
        }
        Ok(calls)
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
