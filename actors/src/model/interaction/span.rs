//! From when to when a leg was up, by the payloads' own times. Pure: the server's clock does not matter, so a week-old
//! call that is delivered now is no special case.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::call::{CallFacts, Leg};

/// How long after the end of a leg another one may begin that belongs to it: the webhooks of both are stamped one after
/// the other, and `event_timestamp` can be more than a second after `date_ended`.
pub(crate) const SLACK: TimeDelta = TimeDelta::seconds(5);
/// How much earlier than the answer of a leg another one may begin that was sent on from it.
const JITTER: TimeDelta = TimeDelta::seconds(1);
/// How long a leg is looked for that is not known to be over. No call is longer.
pub(crate) const MAX_CALL: TimeDelta = TimeDelta::hours(24);

/// When a leg began. Between two instants, where no webhook says that it rang or was answered: payloads can have the
/// beginning of the whole call as `date_started`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    pub(crate) earliest: DateTime<Utc>,
    pub(crate) latest: DateTime<Utc>,
}

impl Beginning {
    pub(crate) fn of(facts: &CallFacts) -> Option<Self> {
        let signs = [
            facts.rang_at,
            facts.connects.first().copied(),
            facts.holds.first().copied(),
            facts.resumes.first().copied(),
            facts.reported_connect,
        ];
        let exact = signs.into_iter().flatten().min().map(|at| Self { earliest: at, latest: at });
        exact.or_else(|| {
            let latest = facts.ended_at().or(facts.first_seen)?;
            let earliest = facts.first_seen.map_or(latest, |first| first.min(latest));
            Some(Self { earliest, latest })
        })
    }
}

/// The time in which a leg was up: a person talked on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: DateTime<Utc>,
    /// `None`: it is not over.
    pub(crate) until: Option<DateTime<Utc>>,
}

impl Span {
    /// Returns `None` for a leg that was never up, as far as is known. A group's leg can send a call on that no person
    /// has answered.
    pub(crate) fn of(facts: &CallFacts) -> Option<Self> {
        let routed =
            || (facts.leg() == Some(Leg::Group) && facts.was_sent_on()).then_some(facts.first_seen).flatten();
        let from = facts.own_answer().or(facts.proof().taken_at).or_else(routed)?;
        Some(Self { from, until: facts.ended_at() })
    }

    /// Whether the leg was up when another one began, or shortly before.
    pub(crate) fn covers(self, beginning: Beginning) -> bool {
        self.from <= beginning.latest + JITTER
            && self.until.is_none_or(|until| until + SLACK >= beginning.earliest)
    }
}

/// The legs of a user or group in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The user or group.
    pub target: i64,
    /// The beginning.
    pub from: DateTime<Utc>,
    /// The end.
    pub until: DateTime<Utc>,
}
