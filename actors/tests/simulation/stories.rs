//! The calls and messages of a simulation, and the webhooks about them: when each is sent, in which order, how often.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    id::DialpadCallId,
    model::{
        call::{CallEvent, Direction, EndKind, Knowledge, Leg, Origin, RawMeaning, Signal},
        message::{MessageEvent, MessageKnowledge},
    },
    ports::Inbound,
};

use crate::{clock::beginning, random::Random};

/// What the store refuses to write, as a database refuses what it can't represent.
pub(crate) const POISON: &str = "poison";
const USERS: [i64; 4] = [71, 72, 73, 74];
const HANGUP: Signal = Signal::Ended(EndKind::Hangup);

/// One webhook on its way.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// What makes two webhooks the same one.
    pub(crate) key: u16,
    /// When it is sent, in milliseconds after the beginning, unless the one before it in its lane is later.
    pub(crate) at: i64,
    pub(crate) content: Inbound,
}

/// Webhooks that are sent one after the other: each once the one before is answered.
pub(crate) type Lane = Vec<Delivery>;

/// Everything that happens in one simulation.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) lanes: Vec<Lane>,
    /// The calls whose webhooks are sent in order, with the events that they cause.
    pub(crate) in_order: BTreeMap<DialpadCallId, Vec<&'static str>>,
    /// Webhooks that each cause one event with this text, which the state of no call shows.
    pub(crate) probes: BTreeMap<u16, String>,
    /// Webhooks that the store refuses.
    pub(crate) poisoned: Vec<u16>,
    next_call: i64,
    next_key: u16,
}

/// A leg, and what happens to it in milliseconds after the beginning.
struct Plot {
    call: i64,
    knowledge: Knowledge,
    signals: Vec<(i64, Signal, Knowledge)>,
}

impl Plot {
    fn then(mut self, at: i64, signal: Signal) -> Self {
        self.signals.push((at, signal, self.knowledge.clone()));
        self
    }

    fn knowing(mut self, at: i64, signal: Signal, more: impl FnOnce(&mut Knowledge)) -> Self {
        let mut knowledge = self.knowledge.clone();
        more(&mut knowledge);
        self.signals.push((at, signal, knowledge));
        self
    }
}

fn instant(millis: i64) -> DateTime<Utc> {
    beginning() + TimeDelta::milliseconds(millis)
}

impl Script {
    /// Returns a few calls and messages, or, in a rush, many within a second.
    pub(crate) fn random(random: &mut Random, is_rush: bool) -> Self {
        let mut script = Self { next_call: 1, ..Self::default() };
        let (stories, period) =
            if is_rush { (random.between(20, 50), 1000) } else { (random.between(2, 12), 20_000) };
        for _ in 0..stories {
            let from = random.between(0, period);
            match random.below(8) {
                0 => script.add_group(random, from),
                1 => script.add_transfer(random, from),
                2 => script.add_message(random, from),
                3 => script.add_voicemail(random, from),
                4 if random.chance(300) => script.add_poison(random, from),
                _ => script.add_simple(random, from),
            }
        }
        script
    }

    fn plot(&mut self, user: i64, caller: &str) -> Plot {
        let call = self.next_call;
        self.next_call += 1;
        let knowledge = Knowledge {
            direction: Some(Direction::Inbound),
            from_number: Some(caller.to_owned()),
            to_number: Some("+14155550100".to_owned()),
            leg: Some(Leg::Direct),
            target_id: Some(user),
            dialpad_user_id: Some(user),
            ..Knowledge::default()
        };
        Plot { call, knowledge, signals: Vec::new() }
    }

    fn caller(random: &mut Random) -> String {
        format!("+1415555{:04}", random.below(40) + 1000)
    }

    /// A call that is answered, with holds and a recording.
    fn add_simple(&mut self, random: &mut Random, from: i64) {
        let user = random.one_of(&USERS);
        let mut at = from;
        let mut plot = self.plot(user, &Self::caller(random)).then(at, Signal::Ringing);
        at += random.between(200, 3000);
        plot = plot.then(at, Signal::Connected);
        let mut expected = vec!["call.ring", "call.started"];
        for _ in 0..random.below(3) {
            plot = plot.then(at + 500, Signal::Held).then(at + 900, Signal::Resumed);
            expected.extend(["call.held", "call.resumed"]);
            at += 1000;
        }
        if random.chance(600) {
            plot = self.probe(plot, at + 100);
        }
        at += random.between(200, 5000);
        plot = plot.then(at, HANGUP);
        expected.push("call.ended");
        if random.chance(400) {
            let call = plot.call;
            plot = plot.knowing(at + 1500, Signal::Learned, |knowledge| {
                knowledge.recording_url = Some(format!("https://dialpad.test/r/{call}"));
                knowledge.ended_at = Some(instant(at));
            });
        }
        let call = DialpadCallId(plot.call);
        if self.add(random, vec![plot]) {
            self.in_order.insert(call, expected);
        }
    }

    /// A webhook of which nothing remains but its own event: it is seen when it is processed twice, or not at all.
    fn probe(&mut self, plot: Plot, at: i64) -> Plot {
        let state = format!("probe_{}_{}", plot.call, plot.signals.len());
        plot.then(at, Signal::Raw { state, payload: Box::default(), meaning: RawMeaning::Nothing })
    }

    fn add_voicemail(&mut self, random: &mut Random, from: i64) {
        let user = random.one_of(&USERS);
        let plot = self.plot(user, &Self::caller(random));
        let call = plot.call;
        let plot = plot
            .then(from, Signal::Ringing)
            .then(from + 2000, Signal::VoicemailStarted)
            .knowing(from + 4000, Signal::VoicemailLeft, |knowledge| {
                knowledge.voicemail_url = Some(format!("https://dialpad.test/v/{call}"));
                knowledge.voicemail_id = Some(format!("v{call}"));
            })
            .then(from + 4100, HANGUP);
        self.add(random, vec![plot]);
    }

    /// A call of a group: it rings two people, and one of them takes it.
    fn add_group(&mut self, random: &mut Random, from: i64) {
        let caller = Self::caller(random);
        let mut group = self.plot(900, &caller);
        group.knowledge.leg = Some(Leg::Group);
        group.knowledge.dialpad_user_id = None;
        let entry = group.call;
        let mut legs = Vec::new();
        for user in [USERS[0], USERS[1]] {
            let mut leg = self.plot(user, &caller);
            leg.knowledge.leg = Some(Leg::User);
            leg.knowledge.entry_point_call_id = Some(entry);
            legs.push(leg.then(from + 300, Signal::Ringing));
        }
        let loser = legs.pop().map(|leg| leg.then(from + 2500, Signal::Ended(EndKind::Missed)));
        let winner = legs.pop().map(|leg| leg.then(from + 2000, Signal::Connected).then(from + 7000, HANGUP));
        let operator = winner.as_ref().map(|leg| leg.call);
        let group = group
            .then(from, Signal::Ringing)
            .knowing(from + 2100, Signal::Connected, |knowledge| knowledge.operator_call_id = operator)
            .then(from + 7100, HANGUP);
        let plots = [Some(group), winner, loser].into_iter().flatten().collect();
        self.add(random, plots);
    }

    /// A call that one user sends on to another.
    fn add_transfer(&mut self, random: &mut Random, from: i64) {
        // A number of its own: of two transfers of one caller at the same time nobody could say which is which.
        let caller = format!("+1628555{:04}", self.next_call + 1000);
        let first = self
            .plot(USERS[2], &caller)
            .then(from, Signal::Ringing)
            .then(from + 1000, Signal::Connected)
            .knowing(from + 6000, HANGUP, |knowledge| knowledge.is_transferred = Some(true));
        let mut second = self.plot(USERS[3], &caller);
        second.knowledge.transferred_from = Some(USERS[2]);
        let second = second
            .then(from + 6200, Signal::Ringing)
            .then(from + 7000, Signal::Connected)
            .then(from + 9000, HANGUP);
        self.add(random, vec![first, second]);
    }

    fn add_message(&mut self, random: &mut Random, from: i64) {
        let id = format!("m{}", self.next_call);
        self.next_call += 1;
        let said = |at: i64, status: &str| {
            let knowledge = MessageKnowledge {
                direction: Some(Direction::Outbound),
                from_number: Some("+14155550100".to_owned()),
                to_number: Some("+14155551234".to_owned()),
                text: Some("hello".to_owned()),
                status: Some(status.to_owned()),
                dialpad_user_id: Some(USERS[0]),
                ..MessageKnowledge::default()
            };
            let event = MessageEvent { dialpad_message_id: id.clone(), at: instant(at), knowledge };
            (at, Inbound::Message(event))
        };
        let webhooks = vec![said(from, "pending"), said(from + 400, "sent"), said(from + 900, "delivered")];
        self.send(random, vec![webhooks]);
    }

    fn add_poison(&mut self, random: &mut Random, from: i64) {
        let plot = self.plot(USERS[0], POISON).then(from, Signal::Ringing);
        self.poisoned.push(self.next_key);
        self.add(random, vec![plot]);
    }

    /// Returns whether the webhooks of each leg are sent in order.
    fn add(&mut self, random: &mut Random, plots: Vec<Plot>) -> bool {
        let webhooks = plots.into_iter().map(|plot| {
            let event = |(at, signal, knowledge): (i64, Signal, Knowledge)| {
                let dialpad_call_id = DialpadCallId(plot.call);
                let origin = Origin::Webhook;
                let event = CallEvent { dialpad_call_id, at: instant(at), signal, knowledge, origin };
                (at, Inbound::Call(event))
            };
            plot.signals.into_iter().map(event).collect()
        });
        let webhooks = webhooks.collect();
        self.send(random, webhooks)
    }

    fn send(&mut self, random: &mut Random, legs: Vec<Vec<(i64, Inbound)>>) -> bool {
        let is_in_order = random.chance(600);
        for webhooks in legs {
            let mut lane = Lane::new();
            for (at, content) in webhooks {
                let key = self.next_key;
                self.next_key += 1;
                if let Inbound::Call(CallEvent { signal: Signal::Raw { state, .. }, .. }) = &content {
                    self.probes.insert(key, state.clone());
                }
                lane.push(Delivery { key, at, content });
            }
            if is_in_order {
                self.repeat_within(random, &mut lane);
                self.lanes.push(lane);
            } else {
                self.scatter(random, lane);
            }
        }
        is_in_order
    }

    /// Sends some webhooks of a lane again, after themselves.
    fn repeat_within(&mut self, random: &mut Random, lane: &mut Lane) {
        if !random.chance(400) {
            return;
        }
        for _ in 0..random.between(1, 3) {
            let first = random.below(lane.len() as u64) as usize;
            let again = random.between(first as i64 + 1, lane.len() as i64) as usize;
            let at = lane[again - 1].at;
            let repeated = Delivery { at, ..lane[first].clone() };
            lane.insert(again, repeated);
        }
    }

    /// Sends webhooks in any order, late, and several times at once.
    fn scatter(&mut self, random: &mut Random, mut lane: Lane) {
        random.shuffle(&mut lane);
        for delivery in lane {
            let copies = if random.chance(250) { random.between(2, 5) } else { 1 };
            for _ in 0..copies {
                let late =
                    if random.chance(300) { random.between(0, 30_000) } else { random.between(0, 1500) };
                self.lanes.push(vec![Delivery { at: delivery.at + late, ..delivery.clone() }]);
            }
        }
    }
}
