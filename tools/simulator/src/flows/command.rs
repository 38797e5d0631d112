//! What the REST API does to a running call: hang it up, transfer it, park it, add somebody, record it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::leg::Leg;
use super::participants::{self, Direction, LegSpec, Party};
use super::playback::{Playback, scaled};
use super::timeline::{Step, TimedStep};

/// A change of a running call.
#[derive(Debug)]
pub(crate) enum Command {
    /// Ends all legs.
    HangUp,
    /// Ends a leg and continues the conversation on a leg of somebody else.
    Transfer { call_id: i64, to: Party, on_arrival: Arrival, ids: NewIds },
    /// Parks the customer of a leg.
    Park { call_id: i64 },
    /// Takes the customer of a leg out of the park.
    Unpark { call_id: i64 },
    /// Calls somebody who joins the conversation.
    AddParticipant { call_id: i64, party: Party, ids: NewIds },
    /// Starts or stops the recording of a leg.
    Record { call_id: i64, on: bool },
}

/// What happens when a transferred customer arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It rings, and somebody answers.
    Rings,
    /// The two are connected at once: they were on the phone already.
    IsConnected,
    /// The customer leaves a voicemail.
    Voicemail,
}

/// The ids that a command may give out: of a new leg, its recording, and the same of the agent of a group's leg.
pub(crate) type NewIds = [i64; 4];

impl Playback {
    /// Applies a command at `now`. Returns whether its first step is due at once, as [`wait`](Self::wait) says next.
    pub(crate) fn apply(&mut self, command: Command, now: DateTime<Utc>) -> bool {
        match command {
            Command::HangUp => self.hang_up(now),
            Command::Transfer { call_id, to, on_arrival, ids } => match self.live_leg(call_id) {
                Some(leg) => self.transfer(leg, to, on_arrival, ids, now),
                None => false,
            },
            Command::Park { call_id } => self.step_now(call_id, Step::Park, now),
            Command::Unpark { call_id } => self.step_now(call_id, Step::Resume, now),
            Command::AddParticipant { call_id, party, ids } => match self.live_leg(call_id) {
                Some(leg) => self.add_participant(leg, party, ids, now),
                None => false,
            },
            Command::Record { call_id, on } => {
                if let Some(leg) = self.live_leg(call_id) {
                    self.record(leg, on);
                }
                false
            }
        }
    }

    /// Hangs up at `now`: every live leg ends next, legs that have not started never do, and only recordings and voicemails
    /// follow. Returns whether there was a leg to end.
    pub(crate) fn hang_up(&mut self, now: DateTime<Utc>) -> bool {
        let live: Vec<usize> = (0..self.legs.len()).filter(|leg| self.legs[*leg].is_live()).collect();
        if live.is_empty() || self.upcoming.is_empty() {
            return false;
        }
        let mut waited = self.waited(now);
        let legs = &self.legs;
        self.upcoming.retain(|step| match step.step {
            Step::RecordingReady => legs[step.leg].answered,
            Step::VoicemailReady | Step::Transcribed => legs[step.leg].voicemail_started_at.is_some(),
            _ => false,
        });
        let ends = live.into_iter().map(|leg| TimedStep {
            after: std::mem::take(&mut waited),
            leg,
            step: Step::HangUp,
        });
        self.upcoming = ends.chain(std::mem::take(&mut self.upcoming)).collect();
        true
    }

    fn live_leg(&self, call_id: i64) -> Option<usize> {
        let leg = self.participants.legs.iter().position(|spec| spec.call_id == call_id)?;
        self.legs[leg].is_live().then_some(leg)
    }

    fn step_now(&mut self, call_id: i64, step: Step, now: DateTime<Utc>) -> bool {
        let Some(leg) = self.live_leg(call_id) else { return false };
        self.schedule(&[(0, leg, step)], now);
        true
    }

    fn transfer(
        &mut self,
        leg: usize,
        to: Party,
        on_arrival: Arrival,
        [call_id, media_id, agent_call_id, agent_media_id]: NewIds,
        now: DateTime<Utc>,
    ) -> bool {
        let source = &self.participants.legs[leg];
        let (direction, target, contact) = match to.kind {
            "local" => (Direction::Outbound, source.target.clone(), to),
            _ => (Direction::Inbound, to, source.contact.clone()),
        };
        let is_group = target.is_group();
        let new = LegSpec {
            recorded: on_arrival == Arrival::Rings && !is_group,
            operator_call_id: (is_group && on_arrival == Arrival::Rings).then_some(agent_call_id),
            transferred_from: Some(source.target.clone()),
            transferred_call_id: Some(source.call_id),
            custom_data: source.custom_data.clone(),
            ..LegSpec::new((call_id, media_id), direction, target, contact)
        };
        let (group, contact, sender) = (new.target.clone(), new.contact.clone(), source.target.id);
        self.upcoming.retain(|step| step.leg != leg || step.step == Step::RecordingReady);
        let new = self.add_leg(new);
        let mut steps = vec![(0, leg, Step::TransferAway)];
        match on_arrival {
            Arrival::Voicemail => steps.extend([
                (300, new, Step::PickUp),
                (1_000, new, Step::LeaveVoicemail),
                (9_000, new, Step::HangUp),
                (3_000, new, Step::VoicemailReady),
                (5_000, new, Step::Transcribed),
            ]),
            Arrival::IsConnected => steps.extend([(100, new, Step::Answer), (40_000, new, Step::HangUp)]),
            Arrival::Rings if is_group => {
                let agent = participants::users().find(|user| user.id != sender).expect("several users");
                let agent = LegSpec {
                    entry_point_call_id: Some(call_id),
                    entry_point: Some(group),
                    recorded: true,
                    ..LegSpec::new((agent_call_id, agent_media_id), Direction::Inbound, agent, contact)
                };
                let agent = self.add_leg(agent);
                steps.extend([
                    (300, new, Step::PickUp),
                    (1_000, new, Step::Queue),
                    (2_000, agent, Step::Ring),
                    (4_000, agent, Step::Answer),
                    (50, new, Step::Answer),
                    (40_000, agent, Step::HangUp),
                    (100, new, Step::HangUp),
                    (5_000, agent, Step::RecordingReady),
                ]);
            }
            Arrival::Rings => steps.extend([
                (300, new, Step::Ring),
                (4_000, new, Step::Answer),
                (40_000, new, Step::HangUp),
                (5_000, new, Step::RecordingReady),
            ]),
        }
        self.schedule(&steps, now);
        true
    }

    fn add_participant(
        &mut self,
        leg: usize,
        party: Party,
        [call_id, media_id, ..]: NewIds,
        now: DateTime<Utc>,
    ) -> bool {
        let caller = self.participants.legs[leg].target.clone();
        let new = self.add_leg(LegSpec::new((call_id, media_id), Direction::Outbound, caller, party));
        let steps = [(0, new, Step::Ring), (4_000, new, Step::Answer), (30_000, new, Step::HangUp)];
        self.schedule(&steps, now);
        true
    }

    /// A recorded leg has a recording a few seconds after its end.
    fn record(&mut self, leg: usize, on: bool) {
        let spec = &mut self.participants.legs[leg];
        // What was recorded before stays.
        spec.recorded |= on;
        let is_ready = |step: &TimedStep| step.leg == leg && step.step == Step::RecordingReady;
        let end = self.upcoming.iter().rposition(|step| step.leg == leg && step.step == Step::HangUp);
        if let Some(end) = end.filter(|_| on && !self.upcoming.iter().any(is_ready)) {
            let after = scaled(Duration::from_secs(5), self.options.time_scale);
            if let Some(next) = self.upcoming.get_mut(end + 1) {
                next.after = next.after.saturating_sub(after);
            }
            self.upcoming.insert(end + 1, TimedStep { after, leg, step: Step::RecordingReady });
        }
    }

    fn add_leg(&mut self, spec: LegSpec) -> usize {
        self.participants.legs.push(spec);
        self.legs.push(Leg::default());
        self.legs.len() - 1
    }

    /// Adds steps (the delay after the one before in milliseconds, leg, step) to the remaining ones, from `now` on.
    fn schedule(&mut self, steps: &[(u64, usize, Step)], now: DateTime<Utc>) {
        let waited = self.waited(now);
        let mut at = Duration::ZERO;
        let added = steps.iter().map(|&(after, leg, step)| {
            at += scaled(Duration::from_millis(after), self.options.time_scale);
            (at, leg, step)
        });
        let mut all: Vec<(Duration, usize, Step)> = added.collect();
        let mut at = Duration::ZERO;
        all.extend(self.upcoming.iter().map(|step| {
            at += step.after;
            (at.saturating_sub(waited), step.leg, step.step)
        }));
        // Stable: of two steps at one time, the added one comes first.
        all.sort_by_key(|(at, ..)| *at);
        let mut before = Duration::ZERO;
        let mut waited = Some(waited);
        self.upcoming = all
            .into_iter()
            .map(|(at, leg, step)| {
                let after = at - std::mem::replace(&mut before, at) + waited.take().unwrap_or_default();
                TimedStep { after, leg, step }
            })
            .collect();
    }

    /// Returns how long ago the latest step was. A scaled flow has times of its own, which must not jump.
    fn waited(&self, now: DateTime<Utc>) -> Duration {
        let longest = self.upcoming.front().map_or(Duration::ZERO, |next| next.after);
        (now - self.at).to_std().unwrap_or_default().min(longest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::{Family, Flow, FlowOptions, Overrides};
    use super::*;

    fn options() -> FlowOptions {
        FlowOptions {
            start: "2024-01-01T12:00:00Z".parse().expect("a time"),
            organization_id: None,
            media_base: "https://dialpad.example".to_owned(),
            time_scale: 1.0,
            overrides: Overrides::default(),
        }
    }

    /// Plays an answered call until it is connected, applies a command two seconds later, and returns what follows of each
    /// leg: its target's type and its states.
    fn after(command: impl FnOnce(i64) -> Command) -> Vec<(String, String)> {
        let mut call = Playback::new(Flow::Answered, Family::Dialpad, 7, options());
        let (_, connected) = (call.next(), call.next());
        assert!(connected.is_some());
        let command = command(call.call_id());
        let is_due = !matches!(command, Command::Record { .. });
        let now = call.at + Duration::from_secs(2);
        assert_eq!(call.apply(command, now), is_due);
        let mut legs: Vec<(Value, String, String)> = Vec::new();
        let mut at = call.at;
        for played in call.by_ref() {
            at += played.after;
            let payload = played.webhook.expect("a webhook").payload;
            assert_eq!(payload["event_timestamp"], at.timestamp_millis());
            let state = payload["state"].as_str().expect("a state");
            match legs.iter_mut().find(|(leg, ..)| *leg == payload["call_id"]) {
                Some((.., states)) => *states += &format!(" {state}"),
                None => {
                    let kind = payload["target"]["type"].as_str().expect("a type").to_owned();
                    legs.push((payload["call_id"].clone(), kind, state.to_owned()));
                }
            }
        }
        legs.into_iter().map(|(_, kind, states)| (kind, states)).collect()
    }

    fn legs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(kind, states)| ((*kind).to_owned(), (*states).to_owned())).collect()
    }

    fn transfer(to: Party, on_arrival: Arrival) -> Vec<(String, String)> {
        after(|call_id| Command::Transfer { call_id, to, on_arrival, ids: [1, 2, 3, 4] })
    }

    #[test]
    fn a_transfer_ends_the_leg_and_starts_one_of_the_target() {
        let colleague = || participants::user_by_id(555).expect("the user of the documents");
        assert_eq!(
            transfer(colleague(), Arrival::Rings),
            legs(&[("user", "hangup recording"), ("user", "ringing connected hangup recording")])
        );
        assert_eq!(
            transfer(colleague(), Arrival::Voicemail),
            legs(&[
                ("user", "hangup recording"),
                ("user", "preanswer voicemail hangup voicemail_uploaded transcription")
            ])
        );
        assert_eq!(
            transfer(participants::outside("+14155559999"), Arrival::Rings),
            legs(&[("user", "hangup recording"), ("user", "calling connected hangup recording")])
        );
        assert_eq!(
            transfer(participants::centre(), Arrival::Rings),
            legs(&[
                ("user", "hangup recording"),
                ("call_center", "preanswer queued connected hangup"),
                ("user", "ringing connected hangup recording")
            ])
        );
    }

    #[test]
    fn a_parked_call_and_a_third_party_leave_the_rest_of_the_call_as_it_is() {
        let parked = after(|call_id| Command::Park { call_id });
        assert_eq!(parked, legs(&[("user", "parked hangup recording")]));
        let ids = [1, 2, 3, 4];
        let party = participants::outside("+14155559999");
        let joined = after(|call_id| Command::AddParticipant { call_id, party, ids });
        assert_eq!(joined, legs(&[("user", "calling connected hangup"), ("user", "hangup recording")]));
    }

    #[test]
    fn recording_twice_makes_one_recording() {
        let recorded = after(|call_id| Command::Record { call_id, on: true });
        assert_eq!(recorded, legs(&[("user", "hangup recording")]));
    }
}
