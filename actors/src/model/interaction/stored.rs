//! An interaction as the store has it, and what is emitted about it. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::summary::Summary;
use crate::{
    id::InteractionId,
    model::call::{Status, StoredCall},
};

/// No end is held back for longer.
const MAX_SETTLE: TimeDelta = TimeDelta::hours(1);

/// An interaction as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredInteraction {
    /// The id, which is that of its oldest leg.
    pub id: InteractionId,
    /// Detects a second writer: every write replaces exactly the version before.
    pub version: i64,
    /// What is shown of it.
    pub summary: Summary,
    /// The interaction of which its legs are now a part.
    pub merged_into: Option<InteractionId>,
    /// When its end is emitted, unless there is news before.
    pub settles_at: Option<DateTime<Utc>>,
    /// Whether its end was emitted.
    pub has_settled: bool,
    /// When anything that is shown last changed.
    pub updated_at: DateTime<Utc>,
}

/// A change of an interaction. Each is emitted as an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InteractionChange {
    /// It is over, and nothing more came for a while. At most once, unless the end was presumed and withdrawn.
    Ended,
    /// Something became known after that, or a presumed end is withdrawn: the names of the changed fields.
    Updated(Vec<&'static str>),
}

/// Returns an interaction with what its legs show now, and what is to be emitted at once. Any news starts the wait for
/// its end again. `None`: there is nothing to write.
pub(crate) fn news(
    id: InteractionId,
    known: Option<&StoredInteraction>,
    summary: Summary,
    now: DateTime<Utc>,
    settle: TimeDelta,
) -> Option<(StoredInteraction, Option<InteractionChange>)> {
    let had_settled = known.is_some_and(|known| known.has_settled);
    let has_settled = had_settled && !known.is_some_and(|known| is_withdrawn(&known.summary, &summary));
    let settles_at = (summary.status == Status::Ended && !has_settled).then_some(now + settle);
    let is_same = known.is_some_and(|known| known.summary == summary && known.merged_into.is_none());
    if is_same && settles_at == known.and_then(|known| known.settles_at) {
        return None;
    }
    let changed = known.map(|known| summary.changed_since(&known.summary)).unwrap_or_default();
    let change = (had_settled && !changed.is_empty()).then_some(InteractionChange::Updated(changed));
    let interaction = StoredInteraction {
        id,
        version: known.map_or(0, |known| known.version) + 1,
        settles_at,
        has_settled,
        updated_at: known.filter(|_| is_same).map_or(now, |known| known.updated_at),
        merged_into: None,
        summary,
    };
    Some((interaction, change))
}

/// Whether a presumed end was withdrawn: only then is an interaction no longer over although no leg was added.
fn is_withdrawn(before: &Summary, after: &Summary) -> bool {
    before.status == Status::Ended && after.status != Status::Ended && before.calls == after.calls
}

impl StoredInteraction {
    /// Returns it with its end emitted, if that is due: until then, or so far in the future that it was stored while the
    /// clock was ahead.
    #[must_use]
    pub(crate) fn settled(&self, until: DateTime<Utc>, now: DateTime<Utc>) -> Option<Self> {
        let is_due = self.settles_at.is_some_and(|at| at <= until || at > now + MAX_SETTLE);
        (is_due && !self.has_settled && self.merged_into.is_none()).then(|| Self {
            version: self.version + 1,
            settles_at: None,
            has_settled: true,
            ..self.clone()
        })
    }

    /// Returns it as its legs show it now; without legs, as it is without the person. `None`: nothing differs.
    #[must_use]
    pub fn shown_by(&self, legs: &[StoredCall], now: DateTime<Utc>) -> Option<Self> {
        let summary = Summary::of_calls(legs).unwrap_or_else(|| self.summary.without_person());
        (summary != self.summary).then(|| Self {
            version: self.version + 1,
            updated_at: now,
            summary,
            ..self.clone()
        })
    }

    /// Returns it as a part of another one.
    #[must_use]
    pub(crate) fn merged_into(&self, other: InteractionId) -> Self {
        Self { version: self.version + 1, settles_at: None, merged_into: Some(other), ..self.clone() }
    }
}
