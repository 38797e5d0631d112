//! Calls, as a CRM reads them. The engine writes them ([`crate::store::ledger`]).

mod view;

use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId},
    model::call::{Outcome, Status},
};
use sqlx::QueryBuilder;
use uuid::Uuid;

pub(crate) use self::view::CallRow;
pub use self::view::{CallView, VoicemailOfCall};
use super::{
    listing::{Audit, Cursor, Filter, Page, Paged},
    plan::{Listed, PageQuery, Part},
};
use crate::store::{Calls, db::types::Id, on_db};

pub(crate) const SELECT: &str =
    "SELECT c.id, c.app_id, c.dialpad_call_id, c.direction, c.from_number, c.to_number, c.from_e164,
    c.to_e164, c.contact_name, c.target_id, c.target_name, c.is_internal, c.callback_requested,
    CAST(c.custom_data AS TEXT) AS custom_data, CAST(c.recordings AS TEXT) AS recordings, c.status,
    c.dialpad_state, c.outcome, c.dialpad_user_id, m.crm_user_id, c.ringing_at, c.answered_at, c.ended_at, c.duration_seconds,
    c.talk_seconds, c.hold_seconds, c.recording_url, c.is_voicemail, c.leg,
    COALESCE(c.interaction_id, c.id) AS interaction_id, c.answered_elsewhere, c.created_at, c.updated_at,
    v.id AS voicemail_id, v.dialpad_voicemail_id, v.recording_url AS voicemail_url, v.transcript,
    v.duration_seconds AS voicemail_seconds, v.received_at, v.deleted_at IS NOT NULL AS voicemail_was_deleted
    FROM calls c
    LEFT JOIN voicemails v ON v.id = c.voicemail_id
    LEFT JOIN dialpad_user_mappings m ON m.app_id = c.app_id AND m.dialpad_user_id = c.dialpad_user_id
    WHERE c.app_id = ";

/// Narrows the list of calls.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// Only calls with one of these statuses; empty: all calls.
    pub statuses: Vec<Status>,
    /// Only the legs of this interaction.
    pub interaction_id: Option<Uuid>,
    /// Only calls that ended like this.
    pub outcome: Option<Outcome>,
    /// What every list can be narrowed by.
    pub common: Filter,
}

impl Paged for CallView {
    fn audit(&self) -> Audit {
        Audit { id: self.id, created_at: self.created_at, updated_at: self.updated_at }
    }
}

/// What a URL calls a call.
#[derive(Clone, Copy, Debug)]
pub enum CallRef {
    /// The server's id.
    Ours(Uuid),
    /// Dialpad's id.
    Dialpads(DialpadCallId),
}

/// Returns the parts of the table with calls of these statuses, and of this interaction. Only ended calls are indexed: the
/// others are few, as are the legs of one interaction.
fn parts(statuses: &[Status], interaction: Option<Uuid>) -> Vec<Part> {
    let is_listed = |status: &Status| statuses.is_empty() || statuses.contains(status);
    let mut parts = Vec::new();
    if is_listed(&Status::Ended) {
        parts.push(Part {
            condition: "ended_updated_at IS NOT NULL".to_owned(),
            is_indexed: true,
            changed: "ended_updated_at",
        });
    }
    let live: Vec<String> = [Status::Ringing, Status::Active, Status::Held]
        .iter()
        .filter(|status| is_listed(status))
        .map(|status| format!("'{}'", status.as_str()))
        .collect();
    if !live.is_empty() {
        let condition = format!("ended_updated_at IS NULL AND status IN ({})", live.join(", "));
        parts.push(Part { condition, is_indexed: false, changed: "updated_at" });
    }
    let Some(interaction) = interaction else { return parts };
    let of_interaction = |part: &Part| {
        let condition = &part.condition;
        [
            Part {
                condition: format!("interaction_id IS NULL AND id = '{interaction}' AND {condition}"),
                is_indexed: false,
                changed: "updated_at",
            },
            Part {
                condition: format!("interaction_id = '{interaction}' AND {condition}"),
                is_indexed: false,
                changed: "updated_at",
            },
        ]
    };
    parts.iter().flat_map(of_interaction).collect()
}

impl Calls<'_> {
    /// Returns a page of an app's calls.
    pub async fn list(
        self,
        app: AppId,
        filter: &CallFilter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<CallView>, StoreError> {
        let Some(page) = self.page_query(app, filter, cursor, limit).await? else { return Ok(Page::empty()) };
        let plan = page.plan(self.store).await?;
        let rows: Vec<CallRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            page.write(plan, &mut query);
            query.build_query_as().fetch_all(db).await
        })?;
        Ok(filter.common.page(rows.into_iter().map(CallView::from).collect(), limit))
    }

    /// Returns how the database finds a page, in its own words.
    pub async fn explain(
        self,
        app: AppId,
        filter: &CallFilter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        match self.page_query(app, filter, cursor, limit).await? {
            Some(page) => page.explain(self.store, SELECT).await,
            None => Ok(Vec::new()),
        }
    }

    /// Returns the query of a page; `None` where the filter names a user that nobody is.
    async fn page_query<'f>(
        self,
        app: AppId,
        filter: &'f CallFilter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Option<PageQuery<'f>>, StoreError> {
        let listed = Listed {
            table: "calls",
            alias: "c",
            parts: parts(&filter.statuses, filter.interaction_id),
            is_narrowed: !filter.statuses.is_empty() || filter.interaction_id.is_some(),
            has_recipients: false,
            also: filter.outcome.map(|outcome| ("outcome", outcome.as_str().to_owned())),
        };
        PageQuery::new(self.store, app, &filter.common, listed, cursor, limit).await
    }

    /// Returns one call.
    pub async fn find(self, app: AppId, call: CallRef) -> Result<Option<CallView>, StoreError> {
        let row: Option<CallRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app));
            match call {
                CallRef::Ours(id) => query.push(" AND c.id = ").push_bind(Id(id)),
                CallRef::Dialpads(id) => query.push(" AND c.dialpad_call_id = ").push_bind(id.0),
            };
            query.build_query_as().fetch_optional(db).await
        })?;
        Ok(row.map(Into::into))
    }

    /// Returns all legs of these interactions, oldest first.
    pub async fn of_interactions(
        self,
        app: AppId,
        interactions: &[Uuid],
    ) -> Result<Vec<CallView>, StoreError> {
        if interactions.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows: Vec<CallRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new("");
            // One statement for each way: the leg that is its own interaction, and those that were joined to it.
            for (number, way) in
                ["c.interaction_id IS NULL AND c.id IN (", "c.interaction_id IS NOT NULL AND c.interaction_id IN ("]
                    .into_iter()
                    .enumerate()
            {
                if number > 0 {
                    query.push(" UNION ALL ");
                }
                query.push(SELECT).push_bind(Id::from(app)).push(" AND ").push(way);
                let mut list = query.separated(", ");
                for interaction in interactions {
                    list.push_bind(Id(*interaction));
                }
                query.push(")");
            }
            query.build_query_as().fetch_all(db).await
        })?;
        rows.sort_by_key(|row| row.0.id);
        Ok(rows.into_iter().map(Into::into).collect())
    }
}
