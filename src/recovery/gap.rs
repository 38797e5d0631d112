//! How a gap is recovered: which part of Dialpad's list it needs, which calls of the list were missed, and what to do
//! when Dialpad refuses the list. Pure.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::id::DialpadCallId;
use reqwest::StatusCode;
use serde_json::{Map, Value};

use crate::{
    backoff::Backoff,
    dialpad::{client::DialpadError, oauth::access::NoAccess},
    store::views::overdue::KnownCall,
    webhook::payload::Conclusion,
};

/// Dialpad filters its list by when calls began. Nearly all calls that end within a gap began within this time before
/// it.
const USUAL_CALL_LENGTH: TimeDelta = TimeDelta::hours(1);
/// From when a call begins at Dialpad until its first webhook arrives.
const FIRST_WEBHOOK_DELAY: TimeDelta = TimeDelta::minutes(5);
/// How far our clock and Dialpad's may differ. A call too many is better than one too few.
pub(crate) const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(30);
/// A client error that may pass is final after so many attempts.
const MAX_REFUSALS: u32 = 5;
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(600), jitter: 0.0 };

/// Returns where the list has to begin: early enough for calls of the usual length and for those that are known to have
/// been in progress, but no earlier than `max_call_length` before the gap.
pub(crate) fn list_from(
    since: DateTime<Utc>,
    oldest_live: Option<DateTime<Utc>>,
    max_call_length: TimeDelta,
) -> DateTime<Utc> {
    let usual = since - USUAL_CALL_LENGTH;
    let in_progress = oldest_live.map_or(usual, |first_seen| first_seen - FIRST_WEBHOOK_DELAY);
    usual.min(in_progress).max(since - max_call_length.max(USUAL_CALL_LENGTH))
}

/// When a call of the list must have ended to belong to the gap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
}

impl Window {
    /// Begins with the gap, or with the app's connection if that is earlier, less [`CLOCK_TOLERANCE`]. Ends
    /// `retry_period` ago: for what ended later, Dialpad may still retry its webhooks.
    pub(crate) fn new(
        gap_since: DateTime<Utc>,
        connected_at: DateTime<Utc>,
        now: DateTime<Utc>,
        retry_period: TimeDelta,
    ) -> Self {
        Self { since: gap_since.min(connected_at) - CLOCK_TOLERANCE, until: now - retry_period, now }
    }

    /// Whether Dialpad may still retry the webhooks of a call that ended at this instant. One that ended in the future
    /// has ended nevertheless: our clock is slow, and does not say when.
    fn is_recent(self, ended_at: DateTime<Utc>) -> bool {
        ended_at > self.until && ended_at <= self.now
    }
}

/// The missed calls of one page.
#[derive(Debug, PartialEq)]
pub(crate) struct MissedCalls<'a> {
    /// The oldest first; the list is the other way round.
    pub(crate) calls: Vec<MissedCall<'a>>,
    /// Whether the page has further calls that ended too recently to count as missed.
    pub(crate) has_recent: bool,
}

/// A call that no webhook, or not every webhook, reported.
#[derive(Debug, PartialEq)]
pub(crate) struct MissedCall<'a> {
    /// The call as Dialpad shows it.
    pub(crate) call: &'a Map<String, Value>,
    /// Whether its end was missed; else only its voicemail was.
    pub(crate) end_was_missed: bool,
}

/// Returns the calls of a page whose end, or whose voicemail, is not known.
pub(crate) fn missed_calls<'a>(
    page: &'a [(Conclusion, Map<String, Value>)],
    window: Window,
    known: &HashMap<DialpadCallId, KnownCall>,
) -> MissedCalls<'a> {
    let mut missed = MissedCalls { calls: Vec::new(), has_recent: false };
    // A call without an end time began within the list, and counts.
    let in_gap = |end: &Conclusion| end.at.is_none_or(|at| at >= window.since);
    for (end, call) in page.iter().rev().filter(|(end, _)| in_gap(end)) {
        let known = known.get(&end.call);
        let end_was_missed = !known.is_some_and(|known| known.is_over);
        let voicemail_was_missed = end.left_a_message && !known.is_some_and(|known| known.has_voicemail);
        if !end_was_missed && !voicemail_was_missed {
            continue;
        }
        if end.at.is_some_and(|at| window.is_recent(at)) {
            missed.has_recent = true;
        } else {
            missed.calls.push(MissedCall { call, end_was_missed });
        }
    }
    missed
}

/// What to do about a gap after a failure.
#[derive(Debug, PartialEq)]
pub(crate) enum NextStep {
    /// Continue after a pause.
    RetryLater {
        /// The pause.
        pause: Duration,
        /// Whether it counts as a failure: the pauses grow with their number.
        is_failure: bool,
        /// Whether to read the list from its beginning.
        from_the_beginning: bool,
    },
    /// The app is not connected, so no webhook can have been missed.
    Drop,
    /// No retry can succeed; the reason, for administrators.
    GiveUp(String),
}

/// Decides what to do after a failure. `failures` are the earlier ones in a row.
pub(crate) fn after_failure(error: &DialpadError, failures: u32, has_cursor: bool) -> NextStep {
    let pause = BACKOFF.ceiling(failures.saturating_add(1));
    let retry_later = NextStep::RetryLater { pause, is_failure: true, from_the_beginning: false };
    match error {
        DialpadError::RateLimited { retry_after } | DialpadError::CircuitOpen { retry_after } => {
            let pause = (*retry_after).max(Duration::from_secs(1));
            NextStep::RetryLater { pause, is_failure: false, from_the_beginning: false }
        }
        DialpadError::NoAccess(NoAccess::NotConnected) => NextStep::Drop,
        DialpadError::Refused(StatusCode::FORBIDDEN) => NextStep::GiveUp(
            "Dialpad refuses the list of calls (403): the scope calls:list is missing, or the person who connected \
             the app is not an administrator of the company"
                .to_owned(),
        ),
        // The cursor may be too old; the beginning of the list is always there.
        DialpadError::Refused(StatusCode::BAD_REQUEST) if has_cursor => {
            NextStep::RetryLater { pause, is_failure: true, from_the_beginning: true }
        }
        // After a 401 the token may be refreshed, or the app be connected again.
        DialpadError::Refused(status) if status.is_client_error() && *status != StatusCode::UNAUTHORIZED => {
            if failures + 1 < MAX_REFUSALS { retry_later } else { NextStep::GiveUp(error.to_string()) }
        }
        DialpadError::Refused(_)
        | DialpadError::Unreachable(_)
        | DialpadError::InvalidResponse
        | DialpadError::NoAccess(_) => retry_later,
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
        let max_call_length = TimeDelta::hours(4);
        let minutes_before = |oldest: Option<i64>| {
            (at(1000) - list_from(at(1000), oldest.map(at), max_call_length)).num_minutes()
        };
        assert_eq!(minutes_before(None), 60);
        assert_eq!(minutes_before(Some(990)), 60);
        assert_eq!(minutes_before(Some(900)), 105);
        assert_eq!(minutes_before(Some(0)), 240);
        let short = list_from(at(1000), Some(at(0)), TimeDelta::seconds(1));
        assert_eq!(short, at(940), "however short calls may be");
    }

    #[test]
    fn a_known_call_and_one_outside_of_the_gap_are_not_missed() {
        let page = [ended(4, 150), ended(103, 145), ended(102, 140), ended(2, 130), ended(1, 67)];
        let over = |has_voicemail| KnownCall { is_over: true, has_voicemail };
        let live = KnownCall { is_over: false, has_voicemail: false };
        let known = [(4, over(false)), (103, over(true)), (102, over(false)), (2, live)];
        let known = known.map(|(call, known)| (DialpadCallId(call), known)).into();
        let missed = |gap_since, connected_at| {
            let window = Window::new(at(gap_since), at(connected_at), at(161), TimeDelta::minutes(1));
            let MissedCalls { calls, has_recent } = missed_calls(&page, window, &known);
            assert!(!has_recent);
            calls
                .iter()
                .map(|missed| (missed.call["call_id"].as_i64().unwrap_or(0), missed.end_was_missed))
                .collect::<Vec<_>>()
        };
        assert_eq!(missed(110, 120), [(2, true), (102, false)]);
        assert_eq!(
            missed(110, 65),
            [(1, true), (2, true), (102, false)],
            "it was connected when call 1 ended"
        );
        assert_eq!(missed(165, 190), [(102, false)], "it was connected anew since then");
    }

    #[test]
    fn a_call_that_ended_a_moment_ago_is_left_for_later() {
        let window = Window::new(at(10), at(0), at(60), TimeDelta::minutes(1));
        let mut page = [ended(2, 60), ended(1, 59)];
        let missed = missed_calls(&page, window, &HashMap::new());
        assert_eq!((missed.calls.len(), missed.has_recent), (1, true));
        let known = [(DialpadCallId(2), KnownCall { is_over: true, has_voicemail: false })].into();
        assert!(!missed_calls(&page, window, &known).has_recent);

        let ahead = [ended(3, 70)];
        let missed = missed_calls(&ahead, window, &HashMap::new());
        assert_eq!((missed.calls.len(), missed.has_recent), (1, false), "our clock is slow");

        // A call that never gets an end time is not left for later again and again.
        page[0].0.at = None;
        let missed = missed_calls(&page, window, &HashMap::new());
        assert_eq!((missed.calls.len(), missed.has_recent), (2, false));
    }

    #[test]
    fn pauses_grow_with_failures() {
        let pause = |failures| match after_failure(&DialpadError::InvalidResponse, failures, false) {
            NextStep::RetryLater { pause, is_failure: true, from_the_beginning: false } => pause.as_secs(),
            other => panic!("expected a pause, got {other:?}"),
        };
        assert_eq!([pause(0), pause(1), pause(2), pause(9), pause(u32::MAX)], [5, 10, 20, 600, 600]);
    }

    #[test]
    fn a_missing_scope_is_given_up_at_once_and_other_refusals_after_five() {
        let refused = |status| DialpadError::Refused(StatusCode::from_u16(status).expect("a status"));
        assert!(
            matches!(after_failure(&refused(403), 0, false), NextStep::GiveUp(why) if why.contains("calls:list"))
        );
        assert!(matches!(after_failure(&refused(404), 3, false), NextStep::RetryLater { .. }));
        assert!(matches!(after_failure(&refused(404), 4, false), NextStep::GiveUp(_)));
        assert!(matches!(after_failure(&refused(401), 99, false), NextStep::RetryLater { .. }));
        assert!(matches!(after_failure(&refused(500), 99, false), NextStep::RetryLater { .. }));
        let cursor = after_failure(&refused(400), 0, true);
        assert!(matches!(cursor, NextStep::RetryLater { from_the_beginning: true, .. }));
    }

    #[test]
    fn an_app_without_a_connection_misses_nothing_and_expired_tokens_wait() {
        let not_connected = DialpadError::NoAccess(NoAccess::NotConnected);
        assert_eq!(after_failure(&not_connected, 0, false), NextStep::Drop);
        assert!(matches!(after_failure(&NoAccess::Expired.into(), 0, false), NextStep::RetryLater { .. }));
        let limited = DialpadError::RateLimited { retry_after: Duration::from_secs(7) };
        let NextStep::RetryLater { pause, is_failure, .. } = after_failure(&limited, 3, true) else {
            panic!("expected a pause")
        };
        assert_eq!((pause.as_secs(), is_failure), (7, false));
    }
}
