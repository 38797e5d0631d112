//! What is shown of a call: everything here is derived from its facts, nothing is stored.

use chrono::{DateTime, Utc};

use super::{
    event::{Direction, EndKind, Leg},
    facts::CallFacts,
    recording::Recording,
    status::{Outcome, Status},
};
use crate::model::latest::value;

/// A call as it is shown. Seconds are whole, rounded half up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The status. A call of which nothing live is known (only a recording, for instance) counts as ended.
    pub status: Status,
    /// The outcome; `None` until it is over.
    pub outcome: Option<Outcome>,
    /// The direction.
    pub direction: Option<Direction>,
    /// The calling number.
    pub from_number: Option<String>,
    /// The called number.
    pub to_number: Option<String>,
    /// The Dialpad user of the leg.
    pub dialpad_user_id: Option<i64>,
    /// When it began to ring.
    pub ringing_at: Option<DateTime<Utc>>,
    /// When a person answered.
    pub answered_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The whole length: as reported, otherwise from the first sign of the call to its end.
    pub duration_seconds: Option<i64>,
    /// Answered time without holds; 0 if not answered, `None` before the end.
    pub talk_seconds: Option<i64>,
    /// All holds together; 0 if not answered, `None` before the end.
    pub hold_seconds: Option<i64>,
    /// Where the recording is.
    pub recording_url: Option<String>,
    /// All parts of the recording.
    pub recordings: Vec<Recording>,
    /// The name of the person on the other side.
    pub contact_name: Option<String>,
    /// The user or group of the leg.
    pub target_id: Option<i64>,
    /// The name of the user or group of the leg.
    pub target_name: Option<String>,
    /// Whether both sides are in the company.
    pub is_internal: Option<bool>,
    /// Whether the caller asked the queue to be called back.
    pub callback_requested: Option<bool>,
    /// What was passed when the call was placed, as JSON.
    pub custom_data: Option<String>,
    /// The kind of leg.
    pub leg: Option<Leg>,
    /// Whether it ended unanswered because another person took the call.
    pub answered_elsewhere: bool,
    /// Whether the caller was sent to voicemail.
    pub is_voicemail: bool,
    /// The voicemail, once it exists.
    pub voicemail: Option<Voicemail>,
}

/// The message that a caller left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voicemail {
    /// Dialpad's id of it.
    pub dialpad_voicemail_id: Option<String>,
    /// Where the audio is.
    pub recording_url: Option<String>,
    /// The transcript.
    pub transcript: Option<String>,
    /// The length.
    pub duration_seconds: Option<i64>,
    /// When it was left.
    pub received_at: DateTime<Utc>,
}

impl CallFacts {
    /// Whether anything but by-products (a recording, a transcript) was seen of the call.
    #[must_use]
    pub fn was_witnessed(&self) -> bool {
        self.is_over() || self.was_live()
    }

    fn was_live(&self) -> bool {
        self.rang_at.is_some() || self.voicemail_started || self.was_connected()
    }

    fn was_connected(&self) -> bool {
        !(self.connects.is_empty() && self.holds.is_empty() && self.resumes.is_empty())
            || self.reported_connect.is_some()
    }

    pub(crate) fn is_over(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Returns the call as it is shown.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let status = self.status();
        let over = self.is_over();
        Snapshot {
            status,
            outcome: over.then(|| self.outcome()),
            direction: self.shown_direction(),
            from_number: value(&self.from_number),
            to_number: value(&self.to_number),
            dialpad_user_id: value(&self.dialpad_user_id),
            ringing_at: self.ringing_at(),
            answered_at: self.answered_at(),
            ended_at: self.ended_at(),
            duration_seconds: self.duration_seconds(),
            talk_seconds: over.then(|| seconds(self.talk_ms())),
            hold_seconds: over.then(|| seconds(self.hold_ms())),
            recording_url: value(&self.recording_url).or_else(|| value(&self.recording_spare_url)),
            recordings: self.recordings.shown(),
            contact_name: value(&self.contact_name),
            target_id: value(&self.target_id),
            target_name: value(&self.target_name),
            is_internal: value(&self.is_internal),
            callback_requested: value(&self.callback_requested),
            custom_data: value(&self.custom_data),
            leg: value(&self.leg),
            answered_elsewhere: self.proof().answered_elsewhere && self.answered_at().is_none(),
            is_voicemail: self.voicemail_started || self.voicemail_left.is_some(),
            voicemail: self.voicemail(),
        }
    }

    fn status(&self) -> Status {
        if self.is_over() || !self.was_live() {
            return Status::Ended;
        }
        if self.answered_at().is_none() {
            return Status::Ringing;
        }
        if self.is_on_hold() { Status::Held } else { Status::Active }
    }

    /// An explicit resume ends a hold of the same time (the workflow's clock ticks in seconds); a `connected` ends only a
    /// hold before it, because the hold of a call that was answered in that second comes after.
    fn is_on_hold(&self) -> bool {
        let Some(hold) = self.holds.last() else { return false };
        let resumed = self.resumes.last().is_some_and(|resume| resume >= hold);
        let reconnected = self.connects.last().is_some_and(|connect| connect > hold);
        !(resumed || reconnected)
    }

    pub(crate) fn direction(&self) -> Option<Direction> {
        value(&self.direction)
    }

    /// Returns the direction. A voicemail means an inbound call, even if no payload says so: the workflow's voicemails do
    /// not.
    fn shown_direction(&self) -> Option<Direction> {
        self.direction().or_else(|| self.voicemail_left.map(|_| Direction::Inbound))
    }

    /// Returns the number on the other side.
    pub(crate) fn external_number(&self) -> Option<String> {
        match value(&self.direction) {
            Some(Direction::Outbound) => value(&self.to_number),
            Some(Direction::Inbound) | None => value(&self.from_number),
        }
    }

    /// A caller in a group's menu is on the way to a person, like when it rings.
    pub(crate) fn ringing_at(&self) -> Option<DateTime<Utc>> {
        let in_menu = self.connects.first().filter(|_| value(&self.leg) == Some(Leg::Group));
        self.rang_at.or(in_menu.copied())
    }

    fn answered_at(&self) -> Option<DateTime<Utc>> {
        self.proof().taken_at.or_else(|| self.own_answer())
    }

    /// Returns when a person answered, by the leg's own webhooks. On a group's leg `connected` can be a menu: a person
    /// answered only if an operator's leg is named.
    pub(crate) fn own_answer(&self) -> Option<DateTime<Utc>> {
        if value(&self.leg) == Some(Leg::Group) && self.operator_call_id.is_none() {
            return None;
        }
        let first_sign =
            [self.connects.first(), self.holds.first(), self.resumes.first()].into_iter().flatten().min();
        self.reported_connect.or(self.connects.first().copied()).or(first_sign.copied())
    }

    fn ended_at(&self) -> Option<DateTime<Utc>> {
        self.is_over().then(|| self.reported_end.or_else(|| self.ends.values().next().copied())).flatten()
    }

    fn outcome(&self) -> Outcome {
        if self.answered_at().is_some() {
            Outcome::Answered
        } else if self.voicemail_started || self.voicemail_left.is_some() {
            Outcome::Voicemail
        } else if self.ends.contains_key(&EndKind::Rejected) {
            Outcome::Rejected
        } else if value(&self.direction) == Some(Direction::Outbound) || self.caller_gave_up() {
            Outcome::Abandoned
        } else {
            Outcome::Missed
        }
    }

    /// Whether a group's leg was hung up and never rang a person: the caller left a menu or a queue.
    fn caller_gave_up(&self) -> bool {
        value(&self.leg) == Some(Leg::Group) && !self.ends.contains_key(&EndKind::Missed)
    }

    fn duration_seconds(&self) -> Option<i64> {
        let ended_at = self.ended_at()?;
        let measured = || self.first_seen.map(|first| (ended_at - first).num_milliseconds());
        value(&self.duration_ms).or_else(measured).map(seconds)
    }

    fn hold_ms(&self) -> i64 {
        if self.answered_at().is_none() {
            return 0;
        }
        value(&self.hold_ms).unwrap_or_else(|| self.measured_hold_ms())
    }

    /// Each hold lasts until the next resume or connect after it, or the end; holds within a hold add nothing.
    fn measured_hold_ms(&self) -> i64 {
        let Some(ended_at) = self.ended_at() else { return 0 };
        let mut total = 0;
        let mut covered_until = None;
        for hold in &self.holds {
            if covered_until.is_some_and(|until| *hold < until) {
                continue;
            }
            let resume = self.resumes.range(*hold..).next();
            let connect = self.connects.range(*hold..).find(|connect| *connect > hold);
            let until = [resume, connect].into_iter().flatten().min().copied().unwrap_or(ended_at);
            let until = until.min(ended_at);
            total += (until - *hold).num_milliseconds().max(0);
            covered_until = Some(until);
        }
        total
    }

    fn talk_ms(&self) -> i64 {
        let (Some(answered_at), Some(ended_at)) = (self.answered_at(), self.ended_at()) else { return 0 };
        let measured = || (ended_at - answered_at).num_milliseconds() - self.hold_ms();
        value(&self.talk_ms).unwrap_or_else(measured).max(0)
    }

    fn voicemail(&self) -> Option<Voicemail> {
        let left = self.voicemail_left.filter(|_| !self.voicemail_deleted);
        left.map(|received_at| Voicemail {
            dialpad_voicemail_id: value(&self.voicemail_id),
            recording_url: value(&self.voicemail_url).or_else(|| value(&self.voicemail_spare_url)),
            transcript: value(&self.voicemail_transcript),
            duration_seconds: value(&self.voicemail_duration_ms).map(seconds),
            received_at,
        })
    }
}

pub(super) fn seconds(milliseconds: i64) -> i64 {
    milliseconds.saturating_add(500).div_euclid(1000)
}
