//! What is shown of a call: everything here is derived from its facts, nothing is stored.
//!
//! What is reported goes before what is measured, each cell tested in `tests/call_model/precedence.rs`:
//!
//! | of a call that is over | is, in this order |
//! |---|---|
//! | answered | a length of talk above 0; not, if a voicemail was left and the length of talk is 0 or empty; a connection (of a group's leg: with an operator's leg named, or proven by the leg of a person) |
//! | `answered_at` | the proof of a person's leg; the reported time; the time of the first `connected`; the end less talk and holds |
//! | `ended_at` | the reported time; the time of the signal of the most trusted kind |
//! | `duration_seconds` | the reported length; from the first sign to the end |
//! | `hold_seconds` | the reported length; the holds one by one |
//! | `talk_seconds` | the reported length, of a group's leg only what a person can have talked; from the answer to the end without holds |

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    event::{Direction, EndKind, Leg},
    facts::CallFacts,
    millis::Millis,
    recording::Recording,
    status::{DialpadState, Outcome, Status},
};
use crate::model::latest::value;

/// A call as it is shown. Seconds are whole, rounded half up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The status.
    pub status: Status,
    /// The newest live state in Dialpad's own words, where they were used.
    pub dialpad_state: Option<DialpadState>,
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
    /// When a person answered. `None` if nobody did, or if only a recording is known of the call.
    pub answered_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The whole length: as reported, otherwise from the first sign of the call to its end.
    pub duration_seconds: Option<i64>,
    /// Answered time without holds; 0 if not answered, `None` before the end, or if it is unknown when it was answered.
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
    /// Whether anything is known that makes it a call: without that, nothing of it is shown or stored.
    #[must_use]
    pub fn was_witnessed(&self) -> bool {
        self.is_over() || self.was_live()
    }

    pub(super) fn was_live(&self) -> bool {
        self.rang_at.is_some() || self.voicemail_started || self.was_connected()
    }

    fn was_connected(&self) -> bool {
        !(self.connects.is_empty() && self.holds.is_empty() && self.resumes.is_empty())
            || self.reported_connect.is_some()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.has_ended() || self.presumed_end().is_some()
    }

    /// Returns the call as it is shown.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let status = self.status();
        let over = self.is_over();
        Snapshot {
            status,
            dialpad_state: value(&self.dialpad_state),
            outcome: over.then(|| self.outcome()),
            direction: self.shown_direction(),
            from_number: value(&self.from_number),
            to_number: value(&self.to_number),
            dialpad_user_id: value(&self.dialpad_user_id),
            ringing_at: self.ringing_at(),
            answered_at: self.answered_at(),
            ended_at: self.ended_at(),
            duration_seconds: self.duration_seconds(),
            talk_seconds: self.talk().filter(|_| over).map(Millis::seconds),
            hold_seconds: over.then(|| self.hold().seconds()),
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
            is_voicemail: self.voicemail_started || self.has_voicemail(),
            voicemail: self.voicemail(),
        }
    }

    pub(super) fn status(&self) -> Status {
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
        let resumed =
            [self.resumes.last(), self.talks.last()].into_iter().flatten().any(|resume| resume >= hold);
        let reconnected = self.connects.last().is_some_and(|connect| connect > hold);
        !(resumed || reconnected)
    }

    pub(crate) fn direction(&self) -> Option<Direction> {
        value(&self.direction)
    }

    /// Returns the direction. A voicemail means an inbound call, even if no payload says so: the workflow's voicemails do
    /// not.
    fn shown_direction(&self) -> Option<Direction> {
        self.direction().or_else(|| self.has_voicemail().then_some(Direction::Inbound))
    }

    /// Returns the number on the other side.
    pub(crate) fn external_number(&self) -> Option<String> {
        match value(&self.direction) {
            Some(Direction::Outbound) => value(&self.to_number),
            Some(Direction::Inbound) | None => value(&self.from_number),
        }
    }

    /// Returns the number that an inbound caller called.
    pub(crate) fn called_number(&self) -> Option<String> {
        value(&self.to_number)
    }

    /// A caller in a group's menu is on the way to a person, like when it rings.
    pub(crate) fn ringing_at(&self) -> Option<DateTime<Utc>> {
        let in_menu = self.connects.first().filter(|_| value(&self.leg) == Some(Leg::Group));
        self.rang_at.or(in_menu.copied())
    }

    pub(super) fn answered_at(&self) -> Option<DateTime<Utc>> {
        self.proof().taken_at.or_else(|| self.own_answer())
    }

    /// Returns when a person answered, by the leg's own webhooks. A length of talk proves it, whatever else is missing. A
    /// voicemail without talk disproves it: it was the greeting that answered.
    pub(crate) fn own_answer(&self) -> Option<DateTime<Utc>> {
        let talk = value(&self.talk_ms).filter(|_| self.is_over());
        match talk {
            Some(talk) if talk > Millis::ZERO => self.connected_at(Some(talk)),
            Some(_) => self.connected_at(None).filter(|_| !self.was_left_a_message()),
            None => {
                let is_disproved = self.was_left_a_message() && self.lacks_talk && self.is_over();
                self.connected_at(None).filter(|_| !is_disproved)
            }
        }
    }

    /// Returns when the two sides were connected; `talk` is a length that proves that they were. On a group's leg a
    /// connection can be a menu: it counts only if an operator's leg is named, and Dialpad's own time of it only if it is
    /// not that of the menu.
    fn connected_at(&self, talk: Option<Millis>) -> Option<DateTime<Utc>> {
        let began_to_talk = || self.ended_at().zip(talk).map(|(end, talk)| self.before(end, talk));
        let first_sign =
            [self.connects.first(), self.holds.first(), self.resumes.first()].into_iter().flatten().min();
        let connect = self.reported_connect.or(self.connects.first().copied()).or(first_sign.copied());
        if value(&self.leg) != Some(Leg::Group) {
            return connect.or_else(began_to_talk);
        }
        let is_menu = |connect: &DateTime<Utc>| self.menu_at.is_some_and(|menu| *connect <= menu);
        let taken = self.operator_connect.filter(|connect| !is_menu(connect)).or(self.operator_seen);
        taken.or_else(began_to_talk).or(connect.filter(|_| self.operator_call_id.is_some()))
    }

    /// Whether the caller certainly left a message: a transcript alone can be that of the conversation.
    fn was_left_a_message(&self) -> bool {
        self.voicemail_left.is_some() || (self.voicemail_started && self.transcribed_at.is_some())
    }

    /// Returns the time this long before the end, holds not counted; but not before the first sign of the call.
    fn before(&self, end: DateTime<Utc>, talk: Millis) -> DateTime<Utc> {
        let length = TimeDelta::from(talk + value(&self.hold_ms).unwrap_or_default());
        let begin = end.checked_sub_signed(length).unwrap_or(end);
        let first = [self.rang_at, self.first_seen].into_iter().flatten().max();
        first.map_or(begin, |first| begin.max(first)).min(end)
    }

    pub(crate) fn ended_at(&self) -> Option<DateTime<Utc>> {
        if !self.has_ended() {
            return self.presumed_end();
        }
        self.reported_end.or_else(|| self.ends.values().next().copied())
    }

    /// Returns when the caller left a message. Where nothing else says so, a transcript does, if no person answered.
    fn message_at(&self) -> Option<DateTime<Utc>> {
        if !self.was_left_a_message() && self.answered_at().is_some() {
            return None;
        }
        [self.voicemail_left, self.transcribed_at].into_iter().flatten().min()
    }

    fn outcome(&self) -> Outcome {
        if self.answered_at().is_some() {
            Outcome::Answered
        } else if self.has_voicemail() {
            Outcome::Voicemail
        } else if self.ends.contains_key(&EndKind::Unseen) {
            // Only its recording is known, and only a conversation is recorded.
            Outcome::Answered
        } else if self.ends.contains_key(&EndKind::Rejected) {
            Outcome::Rejected
        } else if value(&self.direction) == Some(Direction::Outbound) || self.caller_gave_up() {
            Outcome::Abandoned
        } else {
            Outcome::Missed
        }
    }

    /// Whether a group's leg was hung up and never rang a person: the caller left a menu or a queue. A caller who was sent
    /// to voicemail and left nothing was missed.
    fn caller_gave_up(&self) -> bool {
        value(&self.leg) == Some(Leg::Group)
            && !self.ends.contains_key(&EndKind::Missed)
            && !self.voicemail_started
    }

    fn duration_seconds(&self) -> Option<i64> {
        let ended_at = self.ended_at()?;
        let measured = || self.first_seen.map(|first| Millis::from(ended_at - first).or_zero());
        value(&self.duration_ms).or_else(measured).map(Millis::seconds)
    }

    fn hold(&self) -> Millis {
        if self.answered_at().is_none() {
            return Millis::ZERO;
        }
        value(&self.hold_ms).unwrap_or_else(|| self.measured_hold())
    }

    /// Each hold lasts until the next resume or connect after it, or the end; holds within a hold add nothing.
    fn measured_hold(&self) -> Millis {
        let Some(ended_at) = self.ended_at() else { return Millis::ZERO };
        let mut total = Millis::ZERO;
        let mut covered_until = None;
        for hold in &self.holds {
            if covered_until.is_some_and(|until| *hold < until) {
                continue;
            }
            let resume = self.resumes.range(*hold..).next();
            let talk = self.talks.range(*hold..).next();
            let connect = self.connects.range(*hold..).find(|connect| *connect > hold);
            let until = [resume, talk, connect].into_iter().flatten().min().copied().unwrap_or(ended_at);
            let until = until.min(ended_at);
            total = total + Millis::from(until - *hold).or_zero();
            covered_until = Some(until);
        }
        total
    }

    /// Returns the answered time without holds. What is reported of a group's leg can contain its menu and its queue: only
    /// as much counts as a person can have talked.
    fn talk(&self) -> Option<Millis> {
        let ended_at = self.ended_at()?;
        let Some(answered_at) = self.answered_at() else {
            return Some(Millis::ZERO).filter(|_| self.outcome() != Outcome::Answered);
        };
        let measured = || (Millis::from(ended_at - answered_at) - self.hold()).or_zero();
        let reported = value(&self.talk_ms);
        if value(&self.leg) != Some(Leg::Group) {
            return Some(reported.unwrap_or_else(measured));
        }
        let reported = reported.filter(|talk| *talk > Millis::ZERO);
        Some(reported.map_or_else(measured, |talk| talk.min(measured())))
    }

    /// Whether there is a voicemail, deleted or not.
    pub(super) fn has_voicemail(&self) -> bool {
        self.message_at().is_some()
    }

    fn voicemail(&self) -> Option<Voicemail> {
        let left = self.message_at().filter(|_| !self.voicemail_deleted);
        left.map(|received_at| Voicemail {
            dialpad_voicemail_id: value(&self.voicemail_id),
            recording_url: value(&self.voicemail_url).or_else(|| value(&self.voicemail_spare_url)),
            transcript: value(&self.voicemail_transcript),
            duration_seconds: value(&self.voicemail_duration_ms).map(Millis::seconds),
            received_at,
        })
    }
}
