//! Interactions, as a CRM reads them: one human call with all its legs.

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    event::schema::DialpadId,
    id::AppId,
    model::call::{Direction, Leg, Outcome, Status},
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::calls::{CallRef, CallView};
use crate::store::Interactions;

/// One human call.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Interaction)]
pub struct InteractionView {
    /// The id, which is that of its first leg.
    pub interaction_id: Uuid,
    /// The status of the leg that has come furthest.
    pub status: Status,
    /// How it ended; null until every leg has ended.
    pub outcome: Option<Outcome>,
    /// `inbound` or `outbound`, as its first leg.
    pub direction: Option<Direction>,
    /// The number outside the company.
    pub external_number: Option<String>,
    /// The Dialpad user who answered first.
    #[schema(value_type = Option<DialpadId>)]
    pub answered_by: Option<i64>,
    /// The CRM's id of that user.
    pub answered_by_crm_user_id: Option<String>,
    /// When a person answered.
    pub started_at: Option<DateTime<Utc>>,
    /// When the last leg ended; null until every leg has ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The time from its first leg's beginning to its end.
    pub duration_seconds: Option<i64>,
    /// Its legs, oldest first.
    pub calls: Vec<CallView>,
}

impl InteractionView {
    /// Derives an interaction from its legs. Returns `None` without any.
    #[must_use]
    pub fn of(calls: Vec<CallView>) -> Option<Self> {
        let interaction_id = calls.first()?.interaction_id;
        let has = |status: &Status| calls.iter().any(|leg| leg.status == *status);
        let status = [Status::Active, Status::Held, Status::Ringing].into_iter().find(has);
        let status = status.unwrap_or(Status::Ended);
        let is_over = status == Status::Ended;
        // The leg of a person says best when they answered; the leg of a group only repeats it.
        let answered = calls.iter().filter(|leg| leg.answered_at.is_some());
        let answer = answered.min_by_key(|leg| (leg.leg == Some(Leg::Group), leg.answered_at));
        let started_at = answer.and_then(|leg| leg.answered_at);
        let ended_at = calls.iter().filter_map(|leg| leg.ended_at).max().filter(|_| is_over);
        let began_at = calls.iter().filter_map(began_at).min();
        let duration = ended_at.zip(began_at).map(|(end, begin)| (end - begin).num_milliseconds());
        Some(Self {
            interaction_id,
            status,
            outcome: if is_over { outcome(&calls) } else { None },
            direction: calls.iter().find_map(|leg| leg.direction),
            external_number: calls.iter().find_map(external_number),
            answered_by: answer.and_then(|leg| leg.dialpad_user_id),
            answered_by_crm_user_id: answer.and_then(|leg| leg.crm_user_id.clone()),
            started_at,
            ended_at,
            duration_seconds: duration.map(|ms| ms.saturating_add(500).div_euclid(1000).max(0)),
            calls,
        })
    }
}

fn external_number(leg: &CallView) -> Option<String> {
    match leg.direction {
        Some(Direction::Outbound) => leg.to_number.clone(),
        Some(Direction::Inbound) | None => leg.from_number.clone(),
    }
}

/// Returns when a leg began: its reported length may reach back further than its first ring.
fn began_at(leg: &CallView) -> Option<DateTime<Utc>> {
    let reported = leg.ended_at.zip(leg.duration_seconds);
    let by_length = reported.map(|(end, seconds)| end - chrono::TimeDelta::seconds(seconds));
    [leg.ringing_at, leg.answered_at, by_length].into_iter().flatten().min()
}

/// Returns the best outcome of any leg: a call that was answered on one leg was answered.
fn outcome(calls: &[CallView]) -> Option<Outcome> {
    let best_first =
        [Outcome::Answered, Outcome::Voicemail, Outcome::Rejected, Outcome::Missed, Outcome::Abandoned];
    best_first.into_iter().find(|outcome| calls.iter().any(|leg| leg.outcome == Some(*outcome)))
}

impl Interactions<'_> {
    /// Returns the interaction of a leg. The id of an interaction is that of its first leg, and so is every id that it
    /// had before its legs were joined: all of them find it.
    pub async fn find(self, app: AppId, leg: CallRef) -> Result<Option<InteractionView>, StoreError> {
        let Some(leg) = self.store.calls().find(app, leg).await? else { return Ok(None) };
        Ok(InteractionView::of(self.store.calls().of_interaction(app, leg.interaction_id).await?))
    }
}
