//! Interactions as a CRM asks for them: one human call, with all its legs.

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

use super::calls::{CallName, CallView};
use crate::store::Interactions;

/// One human call.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Interaction)]
pub struct InteractionView {
    /// Its id, that of the leg which was heard of first.
    pub interaction_id: Uuid,
    /// Where the furthest of its legs stands.
    pub status: Status,
    /// What came of it, once every leg is over.
    pub outcome: Option<Outcome>,
    /// `inbound` or `outbound`, as it began.
    #[schema(value_type = Option<Direction>)]
    pub direction: Option<String>,
    /// The number on the other side.
    pub external_number: Option<String>,
    /// The Dialpad user who answered first.
    #[schema(value_type = Option<DialpadId>)]
    pub answered_by: Option<i64>,
    /// The same person in the CRM.
    pub answered_by_crm_user_id: Option<String>,
    /// When a person answered.
    pub started_at: Option<DateTime<Utc>>,
    /// When the last leg ended, once every leg is over.
    pub ended_at: Option<DateTime<Utc>>,
    /// From the first sight of it to its end.
    pub duration_seconds: Option<i64>,
    /// Its legs, in the order in which they were heard of.
    pub calls: Vec<CallView>,
}

impl InteractionView {
    /// What the legs amount to; `None` without any.
    #[must_use]
    pub fn of(calls: Vec<CallView>) -> Option<Self> {
        let first = calls.first()?;
        let (interaction_id, direction) =
            (first.interaction_id, calls.iter().find_map(|leg| leg.direction.clone()));
        let external_number = calls.iter().find_map(outside);
        let has = |status: &Status| calls.iter().any(|leg| leg.status == status.as_str());
        let furthest = [Status::Active, Status::Held, Status::Ringing];
        let status = furthest.into_iter().find(has).unwrap_or(Status::Ended);
        let over = status == Status::Ended;
        // A person's own leg tells best when they answered; a group's leg only repeats it.
        let answered = calls.iter().filter(|leg| leg.answered_at.is_some());
        let answer =
            answered.min_by_key(|leg| (leg.leg.as_deref() == Some(Leg::Group.as_str()), leg.answered_at));
        let (answered_by, started_at) =
            answer.map_or((None, None), |leg| (leg.dialpad_user_id, leg.answered_at));
        let answered_by_crm_user_id = answer.and_then(|leg| leg.crm_user_id.clone());
        let ended_at = calls.iter().filter_map(|leg| leg.ended_at).max().filter(|_| over);
        let began_at = calls.iter().filter_map(began).min();
        let duration = ended_at.zip(began_at).map(|(end, begin)| (end - begin).num_milliseconds());
        Some(Self {
            interaction_id,
            status,
            outcome: over.then(|| outcome(&calls)).flatten(),
            direction,
            external_number,
            answered_by,
            answered_by_crm_user_id,
            started_at,
            ended_at,
            duration_seconds: duration.map(|ms| ms.saturating_add(500).div_euclid(1000).max(0)),
            calls,
        })
    }
}

fn outside(leg: &CallView) -> Option<String> {
    if leg.direction.as_deref() == Some(Direction::Outbound.as_str()) {
        leg.to_number.clone()
    } else {
        leg.from_number.clone()
    }
}

/// The first sight of a leg: a reported length reaches back further than its first ring.
fn began(leg: &CallView) -> Option<DateTime<Utc>> {
    let reported = leg.ended_at.zip(leg.duration_seconds);
    let by_length = reported.map(|(end, seconds)| end - chrono::TimeDelta::seconds(seconds));
    [leg.ringing_at, leg.answered_at, by_length].into_iter().flatten().min()
}

/// The best that came of any leg: whoever answered one has answered the call.
fn outcome(calls: &[CallView]) -> Option<Outcome> {
    let best_first =
        [Outcome::Answered, Outcome::Voicemail, Outcome::Rejected, Outcome::Missed, Outcome::Abandoned];
    let is_of_any =
        |outcome: &Outcome| calls.iter().any(|leg| leg.outcome.as_deref() == Some(outcome.as_str()));
    best_first.into_iter().find(is_of_any)
}

impl Interactions<'_> {
    /// The interaction that a leg belongs to. Its own id, and every id that it had before legs were found to belong
    /// together, is that of a leg.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn find(self, app: AppId, leg: CallName) -> Result<Option<InteractionView>, StoreError> {
        let Some(leg) = self.store.calls().find(app, leg).await? else { return Ok(None) };
        Ok(InteractionView::of(self.store.calls().of_interaction(app, leg.interaction_id).await?))
    }
}
