//! Which overdue calls to request from Dialpad, and what the answers mean. Pure.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use cti_actors::id::{AppId, DialpadCallId};
use serde_json::{Map, Value};

use super::time_delta;
use crate::{
    backoff::Backoff,
    dialpad::{client::DialpadError, oauth::access::NoAccess},
    webhook::payload::Conclusion,
};

/// After so many attempts without an answer in a row, a call is presumed ended.
const MAX_ATTEMPTS: u32 = 3;
/// The longest pause before a call in progress is requested again, unless its limit is longer.
const MAX_PAUSE: Duration = Duration::from_secs(3600);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(60);

/// What Dialpad's answer says about an overdue call.
#[derive(Debug, PartialEq)]
pub(crate) enum CallCheck {
    /// It has ended; the call as Dialpad shows it.
    Ended(Map<String, Value>),
    /// It is in progress.
    InProgress,
    /// Dialpad has no such call, or the app has no access to Dialpad.
    NotFound,
    /// There was no usable answer.
    Unanswered,
    /// It could not be requested now.
    Postponed,
}

impl CallCheck {
    pub(crate) fn of(answer: Result<Option<Map<String, Value>>, DialpadError>) -> Self {
        match answer {
            Ok(Some(call)) if Conclusion::of(&call).is_some() => Self::Ended(call),
            Ok(Some(_)) => Self::InProgress,
            Ok(None) => Self::NotFound,
            Err(DialpadError::NoAccess(NoAccess::NotConnected | NoAccess::Expired)) => Self::NotFound,
            // A failure of our own database says nothing about the call.
            Err(DialpadError::RateLimited { .. } | DialpadError::NoAccess(NoAccess::Store(_))) => {
                Self::Postponed
            }
            Err(
                DialpadError::Unreachable(_)
                | DialpadError::Refused(_)
                | DialpadError::CircuitOpen { .. }
                | DialpadError::InvalidResponse
                | DialpadError::NoAccess(NoAccess::Degraded(_)),
            ) => Self::Unanswered,
        }
    }
}

/// When each overdue call may be requested again. It is not stored: a process that knows nothing requests the calls
/// again.
#[derive(Debug, Default)]
pub(crate) struct CheckSchedule {
    calls: HashMap<(AppId, DialpadCallId), CheckedCall>,
}

#[derive(Clone, Copy, Debug)]
struct CheckedCall {
    not_before: DateTime<Utc>,
    /// How often it was in progress.
    in_progress: u32,
    /// Attempts in a row without an answer.
    unanswered: u32,
}

impl CheckSchedule {
    /// Returns whether to request a call now.
    pub(crate) fn is_due(&self, app: AppId, call: DialpadCallId, now: DateTime<Utc>) -> bool {
        self.calls.get(&(app, call)).is_none_or(|checked| checked.not_before <= now)
    }

    /// Records that a call is in progress. `limit` is the time without news after which the call was overdue; the
    /// pauses begin with it and double.
    pub(crate) fn note_in_progress(
        &mut self,
        app: AppId,
        call: DialpadCallId,
        limit: Duration,
        now: DateTime<Utc>,
    ) {
        let pauses = Backoff { initial: limit, max: MAX_PAUSE.max(limit), jitter: 0.0 };
        let checked = self.entry(app, call, now);
        checked.in_progress = checked.in_progress.saturating_add(1);
        checked.unanswered = 0;
        checked.not_before = now + time_delta(pauses.ceiling(checked.in_progress));
    }

    /// Records that there was no usable answer. Returns whether that was the last attempt.
    pub(crate) fn note_unanswered(
        &mut self,
        app: AppId,
        call: DialpadCallId,
        limit: Duration,
        now: DateTime<Utc>,
    ) -> bool {
        let checked = self.entry(app, call, now);
        checked.unanswered += 1;
        checked.not_before = now + time_delta((limit / 5).min(MAX_RETRY_PAUSE));
        checked.unanswered >= MAX_ATTEMPTS
    }

    /// Records that the end of a call was reported. The call stays overdue until the engine has processed that.
    pub(crate) fn note_reported(&mut self, app: AppId, call: DialpadCallId, now: DateTime<Utc>) {
        self.entry(app, call, now).not_before = now + time_delta(MAX_RETRY_PAUSE);
    }

    /// Forgets the calls that are no longer overdue.
    pub(crate) fn retain(&mut self, overdue: &HashSet<(AppId, DialpadCallId)>) {
        self.calls.retain(|call, _| overdue.contains(call));
    }

    fn entry(&mut self, app: AppId, call: DialpadCallId, now: DateTime<Utc>) -> &mut CheckedCall {
        self.calls.entry((app, call)).or_insert(CheckedCall {
            not_before: now,
            in_progress: 0,
            unanswered: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use reqwest::StatusCode;
    use serde_json::json;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(300);

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn check(call: Value) -> CallCheck {
        CallCheck::of(Ok(call.as_object().cloned()))
    }

    #[test]
    fn a_call_has_ended_when_dialpad_shows_an_end() {
        for ended in [json!({"call_id": "1", "state": "hangup"}), json!({"call_id": 1, "date_ended": "5"})] {
            assert!(matches!(check(ended), CallCheck::Ended(_)));
        }
        assert_eq!(check(json!({"call_id": "1", "state": "connected"})), CallCheck::InProgress);
        assert_eq!(
            check(json!({"call_id": "1", "state": "queued", "date_ended": null})),
            CallCheck::InProgress
        );
        assert_eq!(CallCheck::of(Ok(None)), CallCheck::NotFound);
    }

    #[test]
    fn without_access_a_call_is_not_found_and_without_an_answer_it_is_unanswered() {
        let failed = |error: DialpadError| CallCheck::of(Err(error));
        assert_eq!(failed(NoAccess::NotConnected.into()), CallCheck::NotFound);
        assert_eq!(failed(NoAccess::Expired.into()), CallCheck::NotFound);
        assert_eq!(failed(DialpadError::Refused(StatusCode::FORBIDDEN)), CallCheck::Unanswered);
        assert_eq!(failed(DialpadError::Unreachable("x".into())), CallCheck::Unanswered);
        assert_eq!(failed(DialpadError::RateLimited { retry_after: LIMIT }), CallCheck::Postponed);
    }

    #[test]
    fn a_call_in_progress_is_requested_less_and_less_often() {
        let mut schedule = CheckSchedule::default();
        let (app, call) = (AppId::generate(), DialpadCallId(1));
        let mut requested = Vec::new();
        for minute in 0..300 {
            if schedule.is_due(app, call, at(minute)) {
                schedule.note_in_progress(app, call, LIMIT, at(minute));
                requested.push(minute);
            }
        }
        assert_eq!(requested, [0, 5, 15, 35, 75, 135, 195, 255]);
    }

    #[test]
    fn three_attempts_without_an_answer_are_enough() {
        let mut schedule = CheckSchedule::default();
        let (app, call) = (AppId::generate(), DialpadCallId(1));
        assert!(!schedule.note_unanswered(app, call, LIMIT, at(0)));
        assert!(!schedule.is_due(app, call, at(0)));
        assert!(schedule.is_due(app, call, at(1)));
        schedule.note_in_progress(app, call, LIMIT, at(1));
        assert!(!schedule.note_unanswered(app, call, LIMIT, at(10)), "an answer in between counts");
        assert!(!schedule.note_unanswered(app, call, LIMIT, at(11)));
        assert!(schedule.note_unanswered(app, call, LIMIT, at(12)));
        schedule.retain(&HashSet::new());
        assert!(schedule.calls.is_empty());
    }
}
