//! What a gap asks for: which part of Dialpad's list, which calls of it, and what to do when Dialpad does not give it.
//! Pure.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::id::DialpadCallId;
use reqwest::StatusCode;
use serde_json::{Map, Value};

use crate::{
    dialpad::{client::DialpadError, oauth::access::NoAccess},
    store::views::overdue::KnownCall,
    webhook::payload::Conclusion,
};

/// Dialpad lists calls by when they began. Nearly all that end within a gap began within this time before it.
const USUAL_LENGTH: TimeDelta = TimeDelta::hours(1);
/// From when a call enters Dialpad until it is first heard of.
const HEARD_OF_LATER: TimeDelta = TimeDelta::minutes(5);
/// Our clock and Dialpad's may differ by so much. A call too many is better than one too few.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(2);
/// A refusal that may pass is taken for final after so many turns.
const MOST_REFUSALS: u32 = 5;
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Since when the calls began that may have ended in a gap: usual ones, and those that are known to have been under
/// way, unless they are longer than any call is taken to be.
pub(crate) fn list_from(
    since: DateTime<Utc>,
    oldest_live: Option<DateTime<Utc>>,
    longest: TimeDelta,
) -> DateTime<Utc> {
    let usual = since - USUAL_LENGTH;
    let under_way = oldest_live.map_or(usual, |first_seen| first_seen - HEARD_OF_LATER);
    usual.min(under_way).max(since - longest.max(USUAL_LENGTH))
}

/// When a call of the list must have ended to count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Window {
    /// What ended earlier in the gap, or since the app was connected, was for us to hear; by clocks that may differ. What
    /// ended a moment ago is left to Dialpad's own retries.
    pub(crate) fn new(
        gap_since: DateTime<Utc>,
        connected_at: DateTime<Utc>,
        now: DateTime<Utc>,
        retries: TimeDelta,
    ) -> Self {
        Self { since: gap_since.min(connected_at) - CLOCKS_DIFFER, until: now - retries }
    }
}

/// What of a page is news.
#[derive(Debug, PartialEq)]
pub(crate) struct MissedCalls<'a> {
    /// Calls to report, the oldest first: the list is the other way round.
    pub(crate) missed: Vec<Missed<'a>>,
    /// Whether others may have been missed, which ended only a moment ago.
    pub(crate) more_to_come: bool,
}

/// A call of the list that is news.
#[derive(Debug, PartialEq)]
pub(crate) struct Missed<'a> {
    /// The call as Dialpad shows it.
    pub(crate) call: &'a Map<String, Value>,
    /// Whether even its end had been missed, and not only its voicemail.
    pub(crate) end_was_missed: bool,
}

/// The calls of a page that are not known to be over, or left a message that is not known.
pub(crate) fn news<'a>(
    page: &'a [(Conclusion, Map<String, Value>)],
    window: Window,
    known: &HashMap<DialpadCallId, KnownCall>,
) -> MissedCalls<'a> {
    let mut news = MissedCalls { missed: Vec::new(), more_to_come: false };
    // One that does not say when it ended began within the list's time, and counts.
    let in_gap = |end: &Conclusion| end.at.is_none_or(|at| at >= window.since);
    for (end, call) in page.iter().rev().filter(|(end, _)| in_gap(end)) {
        let known = known.get(&end.call);
        let end_was_missed = !known.is_some_and(|known| known.is_over);
        let voicemail_was_missed = end.left_a_message && !known.is_some_and(|known| known.has_voicemail);
        if !end_was_missed && !voicemail_was_missed {
            continue;
        }
        if end.at.is_none_or(|at| at <= window.until) {
            news.missed.push(Missed { call, end_was_missed });
        } else {
            news.more_to_come = true;
        }
    }
    news
}

/// What to do after a turn that failed.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Come back after this time.
    Later {
        /// How long.
        pause: Duration,
        /// Whether it counts as a failure: the pauses grow with them.
        is_failure: bool,
        /// Whether to begin the list anew.
        from_the_beginning: bool,
    },
    /// There is nobody to ask; nothing is missed then either.
    Drop,
    /// It will never work.
    GiveUp(String),
}

pub(crate) fn after_failure(error: &DialpadError, failures: u32, has_cursor: bool) -> Next {
    let pause = SHORTEST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
    let later = Next::Later { pause, is_failure: true, from_the_beginning: false };
    match error {
        DialpadError::RateLimited { retry_after } | DialpadError::CircuitOpen { retry_after } => {
            let pause = (*retry_after).max(Duration::from_secs(1));
            Next::Later { pause, is_failure: false, from_the_beginning: false }
        }
        DialpadError::NoAccess(NoAccess::NotConnected) => Next::Drop,
        DialpadError::Refused(StatusCode::FORBIDDEN) => Next::GiveUp(
            "Dialpad does not give the list of calls (403): the scope calls:list is missing, or whoever connected \
             the app is no administrator of the company"
                .to_owned(),
        ),
        // The cursor may be too old; the beginning of the list is always there.
        DialpadError::Refused(StatusCode::BAD_REQUEST) if has_cursor => {
            Next::Later { pause, is_failure: true, from_the_beginning: true }
        }
        // A token that is taken no more may be renewed, or the app be connected anew.
        DialpadError::Refused(status) if status.is_client_error() && *status != StatusCode::UNAUTHORIZED => {
            if failures + 1 < MOST_REFUSALS { later } else { Next::GiveUp(error.to_string()) }
        }
        DialpadError::Refused(_)
        | DialpadError::Unreachable(_)
        | DialpadError::InvalidResponse
        | DialpadError::NoAccess(_) => later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn ended(call: i64, minute: i64) -> (Conclusion, Map<String, Value>) {
        let mut shown = Map::new();
        shown.insert("call_id".to_owned(), call.into());
        (Conclusion { call: DialpadCallId(call), at: Some(at(minute)), left_a_message: call > 100 }, shown)
    }

    #[test]
    fn the_list_begins_before_the_gap_and_at_the_oldest_call_under_way() {
        let longest = TimeDelta::hours(4);
        let minutes_before =
            |oldest: Option<i64>| (at(1000) - list_from(at(1000), oldest.map(at), longest)).num_minutes();
        assert_eq!(minutes_before(None), 60);
        assert_eq!(minutes_before(Some(990)), 60);
        assert_eq!(minutes_before(Some(900)), 105);
        assert_eq!(minutes_before(Some(0)), 240);
        let short = list_from(at(1000), Some(at(0)), TimeDelta::seconds(1));
        assert_eq!(short, at(940), "however short calls are taken to be");
    }

    #[test]
    fn what_is_known_and_what_lies_outside_is_no_news() {
        let page = [ended(4, 50), ended(103, 45), ended(102, 40), ended(2, 30), ended(1, 7)];
        let over = |has_voicemail| KnownCall { is_over: true, has_voicemail };
        let live = KnownCall { is_over: false, has_voicemail: false };
        let known = [(4, over(false)), (103, over(true)), (102, over(false)), (2, live)];
        let known = known.map(|(call, known)| (DialpadCallId(call), known)).into();
        let told = |gap_since, connected_at| {
            let window = Window::new(at(gap_since), at(connected_at), at(61), TimeDelta::minutes(1));
            let MissedCalls { missed, more_to_come } = news(&page, window, &known);
            assert!(!more_to_come);
            missed
                .iter()
                .map(|it| (it.call["call_id"].as_i64().unwrap_or(0), it.end_was_missed))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(10, 20), [(2, true), (102, false)]);
        assert_eq!(told(10, 5), [(1, true), (2, true), (102, false)], "it was connected when call 1 ended");
        assert_eq!(told(36, 90), [(102, false)], "it was connected anew since then");
    }

    #[test]
    fn what_ended_a_moment_ago_is_looked_for_again() {
        let window = Window::new(at(10), at(0), at(60), TimeDelta::minutes(1));
        let mut page = [ended(2, 60), ended(1, 59)];
        let found = news(&page, window, &HashMap::new());
        assert_eq!((found.missed.len(), found.more_to_come), (1, true));
        let known = [(DialpadCallId(2), KnownCall { is_over: true, has_voicemail: false })].into();
        assert!(!news(&page, window, &known).more_to_come);

        // Nor is one looked for again and again that never says when it ended.
        page[0].0.at = None;
        let found = news(&page, window, &HashMap::new());
        assert_eq!((found.missed.len(), found.more_to_come), (2, false));
    }

    #[test]
    fn failures_pause_longer_and_longer() {
        let pause = |failures| match after_failure(&DialpadError::InvalidResponse, failures, false) {
            Next::Later { pause, is_failure: true, from_the_beginning: false } => pause.as_secs(),
            other => panic!("expected a pause, got {other:?}"),
        };
        assert_eq!([pause(0), pause(1), pause(2), pause(9), pause(u32::MAX)], [5, 10, 20, 600, 600]);
    }

    #[test]
    fn a_missing_scope_is_given_up_and_others_refusals_are_after_a_while() {
        let refused = |status| DialpadError::Refused(StatusCode::from_u16(status).expect("a status"));
        assert!(
            matches!(after_failure(&refused(403), 0, false), Next::GiveUp(why) if why.contains("calls:list"))
        );
        assert!(matches!(after_failure(&refused(404), 3, false), Next::Later { .. }));
        assert!(matches!(after_failure(&refused(404), 4, false), Next::GiveUp(_)));
        assert!(matches!(after_failure(&refused(401), 99, false), Next::Later { .. }));
        assert!(matches!(after_failure(&refused(500), 99, false), Next::Later { .. }));
        let cursor = after_failure(&refused(400), 0, true);
        assert!(matches!(cursor, Next::Later { from_the_beginning: true, .. }));
    }

    #[test]
    fn who_is_not_connected_misses_nothing_and_who_has_expired_waits() {
        let not_connected = DialpadError::NoAccess(NoAccess::NotConnected);
        assert_eq!(after_failure(&not_connected, 0, false), Next::Drop);
        assert!(matches!(after_failure(&NoAccess::Expired.into(), 0, false), Next::Later { .. }));
        let limited = DialpadError::RateLimited { retry_after: Duration::from_secs(7) };
        let Next::Later { pause, is_failure, .. } = after_failure(&limited, 3, true) else {
            panic!("expected a pause")
        };
        assert_eq!((pause.as_secs(), is_failure), (7, false));
    }
}
