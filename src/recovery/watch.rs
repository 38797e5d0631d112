//! Which calls to ask Dialpad about, and what its answers mean. Pure.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::id::{AppId, DialpadCallId};
use serde_json::{Map, Value};

use super::length;
use crate::{
    dialpad::{client::DialpadError, oauth::access::NoAccess},
    webhook::payload::Conclusion,
};

/// A call that can't be asked about is taken for over after so many tries.
const MOST_TRIES: u32 = 3;
/// A call that goes on and on is asked about this often at least.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);
const LONGEST_RETRY: TimeDelta = TimeDelta::minutes(1);

/// What Dialpad says of a call of which nothing was heard for too long.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is over.
    Over(Map<String, Value>),
    /// It goes on.
    Live,
    /// There is no such call, or nobody to ask.
    Gone,
    /// Dialpad can't say.
    Unanswered,
    /// It is not to be asked now.
    NotNow,
}

impl Verdict {
    pub(crate) fn of(answer: Result<Option<Map<String, Value>>, DialpadError>) -> Self {
        match answer {
            Ok(Some(call)) if Conclusion::of(&call).is_some() => Self::Over(call),
            Ok(Some(_)) => Self::Live,
            Ok(None) => Self::Gone,
            Err(DialpadError::NoAccess(NoAccess::NotConnected | NoAccess::Expired)) => Self::Gone,
            // The database is ours: without it nothing can be said of the call.
            Err(DialpadError::RateLimited { .. } | DialpadError::NoAccess(NoAccess::Store(_))) => {
                Self::NotNow
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

/// What was found out about calls that are still overdue. It is only a memory of what to leave alone for a while: a
/// process that has none asks again.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    calls: HashMap<(AppId, DialpadCallId), Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    not_before: DateTime<Utc>,
    /// How often it turned out to be live.
    live: u32,
    /// Tries in a row without an answer.
    unanswered: u32,
}

impl Watch {
    /// Whether to ask about a call now.
    pub(crate) fn is_due(&self, app: AppId, call: DialpadCallId, now: DateTime<Utc>) -> bool {
        self.calls.get(&(app, call)).is_none_or(|asked| asked.not_before <= now)
    }

    /// Takes note that a call goes on; `limit` is after which time it was overdue. The pauses grow.
    pub(crate) fn note_live(&mut self, app: AppId, call: DialpadCallId, limit: Duration, now: DateTime<Utc>) {
        let asked = self.asked(app, call, now);
        let pause = length(limit.saturating_mul(2_u32.saturating_pow(asked.live)));
        asked.not_before = now + pause.min(LONGEST_PAUSE.max(length(limit)));
        asked.live = asked.live.saturating_add(1);
        asked.unanswered = 0;
    }

    /// Takes note that Dialpad could not say, and says whether that was once too often.
    pub(crate) fn note_unanswered(
        &mut self,
        app: AppId,
        call: DialpadCallId,
        limit: Duration,
        now: DateTime<Utc>,
    ) -> bool {
        let asked = self.asked(app, call, now);
        asked.unanswered += 1;
        asked.not_before = now + length(limit / 5).min(LONGEST_RETRY);
        asked.unanswered >= MOST_TRIES
    }

    /// Takes note that the end of a call was reported: it is told in a moment.
    pub(crate) fn note_reported(&mut self, app: AppId, call: DialpadCallId, now: DateTime<Utc>) {
        self.asked(app, call, now).not_before = now + LONGEST_RETRY;
    }

    /// Forgets the calls that are overdue no more.
    pub(crate) fn keep_only(&mut self, overdue: &HashSet<(AppId, DialpadCallId)>) {
        self.calls.retain(|call, _| overdue.contains(call));
    }

    fn asked(&mut self, app: AppId, call: DialpadCallId, now: DateTime<Utc>) -> &mut Asked {
        self.calls.entry((app, call)).or_insert(Asked { not_before: now, live: 0, unanswered: 0 })
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use serde_json::json;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(300);

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn verdict(call: Value) -> Verdict {
        Verdict::of(Ok(call.as_object().cloned()))
    }

    #[test]
    fn a_call_is_over_when_dialpad_shows_an_end() {
        for over in [json!({"call_id": "1", "state": "hangup"}), json!({"call_id": 1, "date_ended": "5"})] {
            assert!(matches!(verdict(over), Verdict::Over(_)));
        }
        assert_eq!(verdict(json!({"call_id": "1", "state": "connected"})), Verdict::Live);
        assert_eq!(verdict(json!({"call_id": "1", "state": "queued", "date_ended": null})), Verdict::Live);
        assert_eq!(Verdict::of(Ok(None)), Verdict::Gone);
    }

    #[test]
    fn whom_nobody_can_ask_about_is_gone_and_who_is_not_answered_for_is_not() {
        let failed = |error: DialpadError| Verdict::of(Err(error));
        assert_eq!(failed(NoAccess::NotConnected.into()), Verdict::Gone);
        assert_eq!(failed(NoAccess::Expired.into()), Verdict::Gone);
        assert_eq!(failed(DialpadError::Refused(StatusCode::FORBIDDEN)), Verdict::Unanswered);
        assert_eq!(failed(DialpadError::Unreachable("x".into())), Verdict::Unanswered);
        assert_eq!(failed(DialpadError::RateLimited { retry_after: LIMIT }), Verdict::NotNow);
    }

    #[test]
    fn a_call_that_goes_on_is_asked_about_less_and_less_often() {
        let (mut watch, app, call) = (Watch::default(), AppId::generate(), DialpadCallId(1));
        let mut asked = Vec::new();
        for minute in 0..300 {
            if watch.is_due(app, call, at(minute)) {
                watch.note_live(app, call, LIMIT, at(minute));
                asked.push(minute);
            }
        }
        assert_eq!(asked, [0, 5, 15, 35, 75, 135, 195, 255]);
    }

    #[test]
    fn three_tries_in_vain_are_enough() {
        let (mut watch, app, call) = (Watch::default(), AppId::generate(), DialpadCallId(1));
        assert!(!watch.note_unanswered(app, call, LIMIT, at(0)));
        assert!(!watch.is_due(app, call, at(0)));
        assert!(watch.is_due(app, call, at(1)));
        watch.note_live(app, call, LIMIT, at(1));
        assert!(!watch.note_unanswered(app, call, LIMIT, at(10)), "an answer in between counts");
        assert!(!watch.note_unanswered(app, call, LIMIT, at(11)));
        assert!(watch.note_unanswered(app, call, LIMIT, at(12)));
        watch.keep_only(&HashSet::new());
        assert!(watch.calls.is_empty());
    }
}
