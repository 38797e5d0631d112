//! One human call, derived from its legs. Pure; the events, the REST answers and the store all show this.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    id::{DialpadCallId, VoicemailId},
    model::call::{CALL_RECORDING, Direction, Leg, Outcome, Recording, Snapshot, Status, StoredCall},
};

/// What an interaction shows of one of its legs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of a call's fields")]
pub struct LegShown {
    pub call: DialpadCallId,
    pub leg: Option<Leg>,
    pub status: Status,
    pub outcome: Option<Outcome>,
    pub direction: Option<Direction>,
    pub from_number: Option<String>,
    pub to_number: Option<String>,
    pub is_internal: Option<bool>,
    pub dialpad_user_id: Option<i64>,
    pub ringing_at: Option<DateTime<Utc>>,
    pub answered_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub duration_seconds: Option<i64>,
    pub talk_seconds: Option<i64>,
    pub hold_seconds: Option<i64>,
    pub recording_url: Option<String>,
    pub recordings: Vec<Recording>,
    pub voicemail: Option<VoicemailShown>,
}

/// The voicemail of an interaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoicemailShown {
    /// The server's id.
    pub voicemail_id: VoicemailId,
    /// Dialpad's id.
    pub dialpad_voicemail_id: Option<String>,
    /// Where the audio is.
    pub recording_url: Option<String>,
    /// The transcript of the audio.
    pub transcript: Option<String>,
    /// The length of the audio.
    pub duration_seconds: Option<i64>,
    /// When it was left.
    pub received_at: Option<DateTime<Utc>>,
}

/// A part of the recording of one leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Dialpad's id of the leg.
    pub call_id: DialpadCallId,
    /// The part. Earlier versions stored its address alone.
    #[serde(flatten)]
    pub recording: Recording,
}

/// One human call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The status of the leg that has come furthest.
    pub status: Status,
    /// How it ended; `None` until every leg has ended.
    pub outcome: Option<Outcome>,
    /// The direction of the leg that began first.
    pub direction: Option<Direction>,
    /// The number outside the company.
    pub external_number: Option<String>,
    /// Whether every leg is within the company; `None` where that is not known of all.
    pub is_internal: Option<bool>,
    /// The Dialpad user who answered first.
    pub answered_by: Option<i64>,
    /// When a person answered.
    pub answered_at: Option<DateTime<Utc>>,
    /// When the last leg ended; `None` until every leg has ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The time from the beginning of the first leg to the end.
    pub duration_seconds: Option<i64>,
    /// The talk of all persons; `None` before the end.
    pub talk_seconds: Option<i64>,
    /// The holds of all persons; `None` before the end.
    pub hold_seconds: Option<i64>,
    /// The voicemail.
    pub voicemail: Option<VoicemailShown>,
    /// The recordings of all legs.
    pub recordings: Vec<Part>,
    /// The legs, oldest first.
    pub calls: Vec<DialpadCallId>,
    /// The users of its legs.
    pub users: Vec<i64>,
}

impl Summary {
    /// Derives an interaction from its legs, oldest first. Returns `None` without any.
    #[must_use]
    pub fn of(legs: &[LegShown]) -> Option<Self> {
        legs.first()?;
        let has = |status: &Status| legs.iter().any(|leg| leg.status == *status);
        let status = [Status::Active, Status::Held, Status::Ringing].into_iter().find(has);
        let status = status.unwrap_or(Status::Ended);
        let is_over = status == Status::Ended;
        // The leg of a person says best when they answered; the leg of a group only repeats it.
        let answered = legs.iter().filter(|leg| leg.answered_at.is_some());
        let answer = answered.min_by_key(|leg| (leg.is_of_group(), leg.answered_at));
        let mut by_time: Vec<&LegShown> = legs.iter().collect();
        by_time.sort_by_key(|leg| (leg.began_at().is_none(), leg.began_at()));
        let ended_at = legs.iter().filter_map(|leg| leg.ended_at).max().filter(|_| is_over);
        let began_at = legs.iter().filter_map(LegShown::began_at).min();
        let duration = ended_at.zip(began_at).map(|(end, begin)| (end - begin).num_milliseconds());
        let mut users: Vec<i64> = legs.iter().filter_map(|leg| leg.dialpad_user_id).collect();
        users.sort_unstable();
        users.dedup();
        Some(Self {
            status,
            outcome: outcome(legs).filter(|_| is_over),
            direction: by_time.iter().find_map(|leg| leg.direction),
            external_number: by_time.iter().find_map(|leg| leg.external_number()).map(str::to_owned),
            is_internal: is_internal(legs),
            answered_by: answer.and_then(|leg| leg.dialpad_user_id),
            answered_at: answer.and_then(|leg| leg.answered_at),
            ended_at,
            duration_seconds: duration.map(|ms| ms.saturating_add(500).div_euclid(1000).max(0)),
            talk_seconds: of_persons(legs, |leg| leg.talk_seconds).filter(|_| is_over),
            hold_seconds: of_persons(legs, |leg| leg.hold_seconds).filter(|_| is_over),
            voicemail: by_time.iter().find_map(|leg| leg.voicemail.clone()),
            recordings: recordings(&by_time),
            calls: legs.iter().map(|leg| leg.call).collect(),
            users,
        })
    }

    /// Derives an interaction from its calls. Returns `None` without any.
    #[must_use]
    pub fn of_calls(calls: &[StoredCall]) -> Option<Self> {
        let mut legs: Vec<&StoredCall> = calls.iter().collect();
        legs.sort_by_key(|leg| leg.id);
        let shown: Vec<LegShown> =
            legs.into_iter().map(|leg| LegShown::of(leg, &leg.facts.snapshot())).collect();
        Self::of(&shown)
    }

    /// Returns it without the person outside: the number, the recordings and the content of the voicemail.
    pub(crate) fn without_person(&self) -> Self {
        let voicemail = self.voicemail.clone().map(|voicemail| VoicemailShown {
            recording_url: None,
            transcript: None,
            ..voicemail
        });
        Self { external_number: None, recordings: Vec::new(), voicemail, ..self.clone() }
    }

    /// Returns the names on the wire of the fields that differ.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> Vec<&'static str> {
        let Self {
            status,
            outcome,
            direction,
            external_number,
            is_internal,
            answered_by,
            answered_at,
            ended_at,
            duration_seconds,
            talk_seconds,
            hold_seconds,
            voicemail,
            recordings,
            calls,
            users: _,
        } = before;
        [
            ("status", *status != self.status),
            ("outcome", *outcome != self.outcome),
            ("direction", *direction != self.direction),
            ("external_number", *external_number != self.external_number),
            ("is_internal", *is_internal != self.is_internal),
            ("answered_by", *answered_by != self.answered_by),
            ("started_at", *answered_at != self.answered_at),
            ("answered_at", *answered_at != self.answered_at),
            ("ended_at", *ended_at != self.ended_at),
            ("duration_seconds", *duration_seconds != self.duration_seconds),
            ("talk_seconds", *talk_seconds != self.talk_seconds),
            ("hold_seconds", *hold_seconds != self.hold_seconds),
            ("voicemail", *voicemail != self.voicemail),
            ("recordings", *recordings != self.recordings),
            ("calls", *calls != self.calls),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }

    /// Returns the user whom it concerns: who answered, otherwise the only one whom it rang.
    #[must_use]
    pub fn user(&self) -> Option<i64> {
        match self.users[..] {
            _ if self.answered_by.is_some() => self.answered_by,
            [only] => Some(only),
            _ => None,
        }
    }
}

impl LegShown {
    /// Returns what an interaction shows of a leg.
    #[must_use]
    pub fn of(call: &StoredCall, snapshot: &Snapshot) -> Self {
        let voicemail = call.voicemail_id.zip(snapshot.voicemail.as_ref());
        Self {
            call: call.dialpad_call_id,
            leg: snapshot.leg,
            status: snapshot.status,
            outcome: snapshot.outcome,
            direction: snapshot.direction,
            from_number: snapshot.from_number.clone(),
            to_number: snapshot.to_number.clone(),
            is_internal: snapshot.is_internal,
            dialpad_user_id: snapshot.dialpad_user_id,
            ringing_at: snapshot.ringing_at,
            answered_at: snapshot.answered_at,
            ended_at: snapshot.ended_at,
            duration_seconds: snapshot.duration_seconds,
            talk_seconds: snapshot.talk_seconds,
            hold_seconds: snapshot.hold_seconds,
            recording_url: snapshot.recording_url.clone(),
            recordings: snapshot.recordings.clone(),
            voicemail: voicemail.map(|(id, voicemail)| VoicemailShown {
                voicemail_id: id,
                dialpad_voicemail_id: voicemail.dialpad_voicemail_id.clone(),
                recording_url: voicemail.recording_url.clone(),
                transcript: voicemail.transcript.clone(),
                duration_seconds: voicemail.duration_seconds,
                received_at: Some(voicemail.received_at),
            }),
        }
    }

    /// Returns the parts of its recording; its address as the only one, if no more is known.
    fn parts(&self) -> Vec<Recording> {
        if !self.recordings.is_empty() {
            return self.recordings.clone();
        }
        let only = |url: &String| Recording {
            id: None,
            url: Some(url.clone()),
            kind: CALL_RECORDING.to_owned(),
            duration_seconds: None,
            started_at: None,
        };
        self.recording_url.iter().map(only).collect()
    }

    fn is_of_group(&self) -> bool {
        self.leg == Some(Leg::Group)
    }

    fn external_number(&self) -> Option<&str> {
        match self.direction {
            Some(Direction::Outbound) => self.to_number.as_deref(),
            Some(Direction::Inbound) | None => self.from_number.as_deref(),
        }
    }

    /// Returns when the leg began: its reported length may reach back further than its first ring.
    fn began_at(&self) -> Option<DateTime<Utc>> {
        let reported = self.ended_at.zip(self.duration_seconds);
        let by_length =
            reported.and_then(|(end, seconds)| end.checked_sub_signed(TimeDelta::try_seconds(seconds)?));
        [self.ringing_at, self.answered_at, by_length].into_iter().flatten().min()
    }
}

/// Returns the best outcome of any leg: a call that was answered on one leg was answered, and a voicemail was left on it
/// if on any.
fn outcome(legs: &[LegShown]) -> Option<Outcome> {
    let best_first =
        [Outcome::Answered, Outcome::Voicemail, Outcome::Rejected, Outcome::Missed, Outcome::Abandoned];
    best_first.into_iter().find(|outcome| legs.iter().any(|leg| leg.outcome == Some(*outcome)))
}

/// Returns whether the whole call was within the company: a leg with somebody outside proves that it was not.
fn is_internal(legs: &[LegShown]) -> Option<bool> {
    if legs.iter().any(|leg| leg.is_internal == Some(false)) {
        return Some(false);
    }
    legs.iter().all(|leg| leg.is_internal == Some(true)).then_some(true)
}

/// Adds up a length over the legs of persons. The leg of a group repeats theirs; it counts only where no person's leg
/// was answered, because it may never have been received.
fn of_persons(legs: &[LegShown], length: impl Fn(&LegShown) -> Option<i64>) -> Option<i64> {
    let is_answer = |leg: &&LegShown| !leg.is_of_group() && leg.answered_at.is_some();
    if legs.iter().any(|leg| is_answer(&leg)) {
        return Some(legs.iter().filter(is_answer).filter_map(&length).sum());
    }
    legs.iter().filter_map(length).max()
}

fn recordings(legs: &[&LegShown]) -> Vec<Part> {
    let mut recordings: Vec<Part> = Vec::new();
    for leg in legs {
        for recording in leg.parts() {
            // A group's leg can have the same recording as that of the person who took it.
            if recordings.iter().all(|known| !known.recording.is_same(&recording)) {
                recordings.push(Part { call_id: leg.call, recording });
            }
        }
    }
    recordings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_that_an_earlier_version_stored_is_read() {
        let stored = json!({"status": "ended", "outcome": "answered", "direction": "inbound",
            "external_number": "+14155551234", "recordings": [{"call_id": 7, "url": "https://dialpad.com/r/1"}],
            "calls": [7], "users": [555]});
        let summary: Summary = serde_json::from_value(stored).expect("it is read");
        assert_eq!(summary.is_internal, None);
        let [part] = &summary.recordings[..] else { panic!("one recording: {summary:?}") };
        assert_eq!(
            (part.call_id, part.recording.url.as_deref()),
            (DialpadCallId(7), Some("https://dialpad.com/r/1"))
        );
        let again = serde_json::to_value(&summary).expect("it is written");
        assert_eq!(serde_json::from_value::<Summary>(again).expect("it is read"), summary);
    }
}
