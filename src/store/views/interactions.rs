//! Interactions, as a CRM reads them: one human call with all its legs.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    event::NumberFilter,
    event::{InteractionRecording, InteractionVoicemail, schema::DialpadId},
    id::{AppId, DialpadCallId, VoicemailId},
    model::{
        call::{Direction, Outcome, Status},
        interaction::{LegShown, Summary, VoicemailShown},
    },
};
use serde::Serialize;
use serde_json::Value;
use sqlx::{Database, Encode, QueryBuilder, Type};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    calls::{CallRef, CallView, VoicemailOfCall},
    listing::{Audit, Cursor, Filter, Page, Paged},
    plan,
};
use crate::store::{Interactions, db::types::Id, on_db};

const SELECT: &str = "SELECT i.id, i.created_at, i.updated_at FROM interactions i
    WHERE i.merged_into IS NULL AND i.app_id = ";

/// Narrows the list of interactions.
#[derive(Clone, Debug, Default)]
pub struct InteractionFilter {
    /// Only interactions with this status.
    pub status: Option<Status>,
    /// Only interactions that ended like this.
    pub outcome: Option<Outcome>,
    /// Only interactions with this number outside the company.
    pub number: Option<NumberFilter>,
    /// Only interactions with a leg of this Dialpad user.
    pub dialpad_user_id: Option<i64>,
    /// Only interactions with a leg of a Dialpad user who is mapped to this CRM user now.
    pub crm_user_id: Option<String>,
    /// The direction, and the times. Its other fields are not for interactions.
    pub common: Filter,
}

/// What is listed by one branch of a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The interactions that are over.
    Over,
    /// The others.
    Live,
}

impl InteractionFilter {
    /// Whether an index of interactions that are over has what is asked for.
    fn has_index(&self) -> bool {
        self.outcome.is_some()
            || self.number.is_some()
            || self.common.direction.is_some()
            || self.common.by_change()
    }

    /// Appends the statement of a page, or of its rows in one part.
    fn write<DB>(
        &self,
        query: &mut QueryBuilder<DB>,
        app: AppId,
        part: Option<Part>,
        cursor: Option<Cursor>,
        limit: usize,
    ) where
        DB: Database,
        Id: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
        String: for<'q> Encode<'q, DB> + Type<DB>,
        DateTime<Utc>: for<'q> Encode<'q, DB> + Type<DB>,
    {
        query.push(SELECT).push_bind(Id::from(app));
        match part {
            Some(Part::Over) => _ = query.push(" AND i.ended_updated_at IS NOT NULL"),
            Some(Part::Live) => _ = query.push(" AND i.ended_updated_at IS NULL"),
            None => {}
        }
        if let Some(status) = self.status {
            query.push(" AND i.status = ").push_bind(status.as_str().to_owned());
            if status != Status::Ended && part.is_none() {
                // Written out so that the index of live interactions can be used.
                query.push(" AND i.ended_updated_at IS NULL");
            }
        }
        if let Some(outcome) = self.outcome {
            query.push(" AND i.outcome = ").push_bind(outcome.as_str().to_owned());
        }
        if let Some(number) = &self.number {
            query.push(" AND COALESCE(i.external_e164, i.external_number) = ");
            query.push_bind(plan::key(number).to_owned());
        }
        if let Some(user) = self.dialpad_user_id {
            query.push(
                " AND i.id IN (SELECT COALESCE(c.interaction_id, c.id) FROM calls c
                WHERE c.app_id = ",
            );
            query.push_bind(Id::from(app)).push(" AND c.dialpad_user_id = ").push_bind(user).push(")");
        }
        if let Some(user) = &self.crm_user_id {
            query.push(
                " AND i.id IN (SELECT COALESCE(c.interaction_id, c.id) FROM dialpad_user_mappings m
                JOIN calls c ON c.app_id = m.app_id AND c.dialpad_user_id = m.dialpad_user_id
                WHERE m.app_id = ",
            );
            query.push_bind(Id::from(app)).push(" AND m.crm_user_id = ").push_bind(user.clone()).push(")");
        }
        let changed = if part == Some(Part::Over) { "i.ended_updated_at" } else { "i.updated_at" };
        self.common.write(query, changed, "i", cursor);
        self.common.write_order(query, changed, "i", limit);
    }
}

/// One human call.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Interaction)]
pub struct InteractionView {
    /// The id, which is that of its first leg.
    pub interaction_id: Uuid,
    /// The status of the leg that has come furthest.
    pub status: Status,
    /// How it ended: the best outcome of its legs; null until every leg has ended.
    pub outcome: Option<Outcome>,
    /// `inbound` or `outbound`, as the leg that began first.
    pub direction: Option<Direction>,
    /// The number outside the company.
    pub external_number: Option<String>,
    /// Whether every leg is within the company, as those of a consultation are; null where that is not known of all.
    pub is_internal: Option<bool>,
    /// The Dialpad user who answered first.
    #[schema(value_type = Option<DialpadId>)]
    pub answered_by: Option<i64>,
    /// The CRM's id of that user.
    pub answered_by_crm_user_id: Option<String>,
    /// When a person answered.
    pub started_at: Option<DateTime<Utc>>,
    /// The same instant.
    pub answered_at: Option<DateTime<Utc>>,
    /// When the last leg ended; null until every leg has ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The time from its first leg's beginning to its end.
    pub duration_seconds: Option<i64>,
    /// The talk of all persons, without holds; null before the end.
    pub talk_seconds: Option<i64>,
    /// The holds of all persons; null before the end.
    pub hold_seconds: Option<i64>,
    /// The voicemail that the caller left.
    pub voicemail: Option<InteractionVoicemail>,
    /// The parts of the recordings of its legs, each with the leg.
    pub recordings: Vec<InteractionRecording>,
    /// Its legs, oldest first.
    pub calls: Vec<CallView>,
    /// When the server first heard of it.
    pub created_at: DateTime<Utc>,
    /// When anything here last changed.
    pub updated_at: DateTime<Utc>,
}

/// What the table of interactions has of one, for the order of a list.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
struct InteractionRow {
    #[sqlx(try_from = "Id")]
    id: Uuid,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Paged for InteractionRow {
    fn audit(&self) -> Audit {
        Audit { id: self.id, created_at: self.created_at, updated_at: self.updated_at }
    }
}

impl InteractionView {
    /// Derives an interaction from its legs. Returns `None` without any.
    #[must_use]
    pub fn of(calls: Vec<CallView>) -> Option<Self> {
        let interaction_id = calls.first()?.interaction_id;
        let legs: Vec<LegShown> = calls.iter().map(leg).collect();
        let summary = Summary::of(&legs)?;
        let answer = |leg: &&CallView| {
            leg.dialpad_user_id == summary.answered_by && leg.answered_at == summary.answered_at
        };
        let crm_user_id = calls.iter().find(answer).and_then(|leg| leg.crm_user_id.clone());
        Some(Self {
            interaction_id,
            status: summary.status,
            outcome: summary.outcome,
            direction: summary.direction,
            external_number: summary.external_number,
            is_internal: summary.is_internal,
            answered_by: summary.answered_by,
            answered_by_crm_user_id: crm_user_id.filter(|_| summary.answered_by.is_some()),
            started_at: summary.answered_at,
            answered_at: summary.answered_at,
            ended_at: summary.ended_at,
            duration_seconds: summary.duration_seconds,
            talk_seconds: summary.talk_seconds,
            hold_seconds: summary.hold_seconds,
            voicemail: summary.voicemail.map(Into::into),
            recordings: summary.recordings.into_iter().map(Into::into).collect(),
            created_at: calls.iter().map(|leg| leg.created_at).min()?,
            updated_at: calls.iter().map(|leg| leg.updated_at).max()?,
            calls,
        })
    }
}

fn leg(call: &CallView) -> LegShown {
    LegShown {
        call: DialpadCallId(call.dialpad_call_id),
        leg: call.leg,
        status: call.status,
        outcome: call.outcome,
        direction: call.direction,
        from_number: call.from_number.clone(),
        to_number: call.to_number.clone(),
        is_internal: call.is_internal,
        dialpad_user_id: call.dialpad_user_id,
        ringing_at: call.ringing_at,
        answered_at: call.answered_at,
        ended_at: call.ended_at,
        duration_seconds: call.duration_seconds,
        talk_seconds: call.talk_seconds,
        hold_seconds: call.hold_seconds,
        recording_url: call.recording_url.clone(),
        recordings: call.recordings.iter().map(Into::into).collect(),
        voicemail: call.voicemail.as_ref().map(voicemail),
    }
}

fn voicemail(voicemail: &VoicemailOfCall) -> VoicemailShown {
    let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    VoicemailShown {
        voicemail_id: VoicemailId(voicemail.voicemail_id),
        dialpad_voicemail_id: voicemail.dialpad_voicemail_id.as_ref().map(text),
        recording_url: voicemail.recording_url.clone(),
        transcript: voicemail.transcript.clone(),
        duration_seconds: voicemail.duration_seconds,
        received_at: voicemail.received_at,
    }
}

impl Interactions<'_> {
    /// Returns a page of an app's interactions.
    pub async fn list(
        self,
        app: AppId,
        filter: &InteractionFilter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<InteractionView>, StoreError> {
        let rows: Vec<InteractionRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new("");
            if filter.has_index() {
                // Only what is over is in the indexes; the others are few.
                query.push("SELECT id, created_at, updated_at FROM (SELECT * FROM (");
                filter.write(&mut query, app, Some(Part::Over), cursor, limit);
                query.push(") AS ended UNION ALL SELECT * FROM (");
                filter.write(&mut query, app, Some(Part::Live), cursor, limit);
                query.push(") AS live) AS i");
                filter.common.write_order(&mut query, "i.updated_at", "i", limit);
            } else {
                filter.write(&mut query, app, None, cursor, limit);
            }
            query.build_query_as().fetch_all(db).await
        })?;
        let page = filter.common.page(rows, limit);
        let ids: Vec<Uuid> = page.items.iter().map(|row| row.id).collect();
        let mut legs: HashMap<Uuid, Vec<CallView>> = HashMap::new();
        for call in self.store.calls().of_interactions(app, &ids).await? {
            legs.entry(call.interaction_id).or_default().push(call);
        }
        let view = |row: InteractionRow| {
            let view = InteractionView::of(legs.remove(&row.id)?)?;
            Some(InteractionView { created_at: row.created_at, updated_at: row.updated_at, ..view })
        };
        Ok(Page { items: page.items.into_iter().filter_map(view).collect(), next: page.next })
    }

    /// Returns the id that an interaction has now. It can be that of any of its legs, which it may have had before.
    pub async fn current_id(self, app: AppId, id: Uuid) -> Result<Uuid, StoreError> {
        let leg = self.store.calls().find(app, CallRef::Ours(id)).await?;
        Ok(leg.map_or(id, |leg| leg.interaction_id))
    }

    /// Returns the interaction of a leg. The id of an interaction is that of its first leg, and so is every id that it
    /// had before its legs were joined: all of them find it.
    pub async fn find(self, app: AppId, leg: CallRef) -> Result<Option<InteractionView>, StoreError> {
        let Some(leg) = self.store.calls().find(app, leg).await? else { return Ok(None) };
        let interaction = leg.interaction_id;
        let Some(view) = InteractionView::of(self.store.calls().of_interactions(app, &[interaction]).await?)
        else {
            return Ok(None);
        };
        let row: Option<InteractionRow> = on_db!(self.store, read db => {
            let mut query = QueryBuilder::new(SELECT);
            query.push_bind(Id::from(app)).push(" AND i.id = ").push_bind(Id(interaction));
            query.build_query_as().fetch_optional(db).await
        })?;
        Ok(Some(match row {
            Some(row) => InteractionView { created_at: row.created_at, updated_at: row.updated_at, ..view },
            None => view,
        }))
    }
}
