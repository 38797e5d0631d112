//! Compares what was sent and acknowledged with what clients saw. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use crate::call::Step;

/// The outcome of a webhook for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered 200.
    Acknowledged,
    /// The sender gave up. The server may have stored it all the same.
    Unknown,
}

/// What was sent of each call, in the order of sending.
pub(crate) type Sent = BTreeMap<u32, Vec<(Step, Outcome)>>;

/// An event as a client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) seq: u64,
    pub(crate) event_id: Uuid,
    /// The number of the call; `None` for an event of something else.
    pub(crate) call: Option<u32>,
    pub(crate) step: Option<Step>,
    /// The call's status at the event.
    pub(crate) status: Option<String>,
}

/// Everything that the oracle compares.
pub(crate) struct Evidence<'a> {
    pub(crate) sent: &'a Sent,
    /// What a resuming WebSocket client received, in the order of arrival.
    pub(crate) socket: &'a [Seen],
    /// What `/api/events` lists.
    pub(crate) listed: &'a [Seen],
    /// The status of each call in `/api/calls`.
    pub(crate) statuses: &'a HashMap<u32, String>,
    /// Whether the webhooks of each call were sent in their order. Then each has an event, in the same order.
    pub(crate) in_order: bool,
}

/// The result of a comparison. Each entry is a sentence about one fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) sent: usize,
    pub(crate) acknowledged: usize,
    pub(crate) delivered: usize,
    pub(crate) lost: Vec<String>,
    pub(crate) duplicated: Vec<String>,
    pub(crate) out_of_order: Vec<String>,
    /// Calls whose status over REST is not that of their last event.
    pub(crate) stale: Vec<String>,
}

impl Verdict {
    pub(crate) fn of(evidence: &Evidence<'_>) -> Self {
        let mut verdict = Self::default();
        verdict.check_feed("the list of events", evidence.listed);
        verdict.check_feed("the WebSocket", evidence.socket);
        verdict.check_socket(evidence);
        let mut by_call: BTreeMap<u32, Vec<&Seen>> = BTreeMap::new();
        for seen in evidence.listed {
            if let Some(call) = seen.call {
                by_call.entry(call).or_default().push(seen);
            }
        }
        for (&call, steps) in evidence.sent {
            let seen = by_call.get(&call).map(Vec::as_slice).unwrap_or_default();
            verdict.check_call(call, steps, seen, evidence.in_order);
        }
        verdict.check_statuses(&by_call, evidence.statuses);
        verdict
    }

    /// Checks that `seq` counts from 1 without holes, and that no event comes under two numbers.
    fn check_feed(&mut self, place: &str, feed: &[Seen]) {
        let mut next = 1;
        let mut ids = HashMap::new();
        for seen in feed {
            if seen.seq < next {
                self.duplicated.push(format!("{place} has seq {} again", seen.seq));
            } else if seen.seq > next {
                self.lost.push(format!("{place} has no seq {next} to {}", seen.seq - 1));
            }
            next = next.max(seen.seq + 1);
            if let Some(before) = ids.insert(seen.event_id, seen.seq).filter(|before| *before != seen.seq) {
                self.duplicated.push(format!("{place} has one event as seq {before} and {}", seen.seq));
            }
        }
    }

    /// Checks that the WebSocket received what the list has.
    fn check_socket(&mut self, Evidence { socket, listed, .. }: &Evidence<'_>) {
        let received: HashMap<u64, &Seen> = socket.iter().map(|seen| (seen.seq, seen)).collect();
        for seen in *listed {
            match received.get(&seen.seq) {
                None => self.lost.push(format!("the WebSocket never received seq {}", seen.seq)),
                Some(other) if *other != seen => {
                    self.lost.push(format!("seq {} was another event on the WebSocket", seen.seq));
                }
                Some(_) => {}
            }
        }
        let last = listed.last().map_or(0, |seen| seen.seq);
        for seen in socket.iter().filter(|seen| seen.seq > last) {
            self.lost.push(format!("seq {} was received and is not in the list", seen.seq));
        }
    }

    fn check_call(&mut self, call: u32, sent: &[(Step, Outcome)], seen: &[&Seen], in_order: bool) {
        let found: Vec<Step> = seen.iter().filter_map(|seen| seen.step).collect();
        let count = |step: Step| found.iter().filter(|other| **other == step).count();
        let outcomes: BTreeMap<Step, Outcome> = sent.iter().copied().collect();
        self.sent += outcomes.len();
        for (&step, &outcome) in &outcomes {
            self.acknowledged += usize::from(outcome == Outcome::Acknowledged);
            self.delivered += usize::from(count(step) > 0);
            // The end of a hold that nobody heard of changes nothing.
            let is_silent =
                (step == Step::Resumed && count(Step::Held) == 0) || !(in_order || step.is_always_emitted());
            if count(step) == 0 && outcome == Outcome::Acknowledged && !is_silent {
                self.lost.push(format!("{step:?} of call {call} was acknowledged and not delivered"));
            }
        }
        for step in found.iter().collect::<BTreeSet<_>>() {
            if count(*step) > 1 {
                self.duplicated.push(format!("{step:?} of call {call} was emitted {} times", count(*step)));
            }
        }
        if in_order {
            let acknowledged = |step: &Step| outcomes.get(step) == Some(&Outcome::Acknowledged);
            let expected = sent.iter().map(|(step, _)| *step);
            let expected: Vec<Step> =
                expected.filter(|step| acknowledged(step) && count(*step) > 0).collect();
            let mut actual: Vec<Step> = Vec::new();
            for step in found.iter().copied().filter(acknowledged) {
                if !actual.contains(&step) {
                    actual.push(step);
                }
            }
            if expected != actual {
                self.out_of_order.push(format!("call {call}: sent {expected:?}, delivered {actual:?}"));
            }
        }
    }

    fn check_statuses(&mut self, by_call: &BTreeMap<u32, Vec<&Seen>>, statuses: &HashMap<u32, String>) {
        for (call, seen) in by_call {
            let Some(last) = seen.iter().rev().find_map(|seen| seen.status.as_ref()) else { continue };
            match statuses.get(call) {
                Some(status) if status == last => {}
                other => self.stale.push(format!(
                    "call {call} is {} over REST and {last} in its last event",
                    other.map_or("absent", String::as_str)
                )),
            }
        }
    }

    /// Returns the sentences, by kind of fault.
    pub(crate) fn faults(&self) -> [&[String]; 4] {
        [&self.lost, &self.duplicated, &self.out_of_order, &self.stale]
    }

    /// Whether nothing was found.
    pub(crate) fn is_clean(&self) -> bool {
        self.faults().iter().all(|kind| kind.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        sent: Sent,
        feed: Vec<Seen>,
        socket: Option<Vec<Seen>>,
        statuses: HashMap<u32, String>,
    }

    impl Case {
        /// Two calls that went well.
        fn sound() -> Self {
            let mut case =
                Self { sent: Sent::new(), feed: Vec::new(), socket: None, statuses: HashMap::new() };
            for step in Step::ALL {
                for call in [1, 2] {
                    case.sent.entry(call).or_default().push((step, Outcome::Acknowledged));
                    let seq = case.feed.len() as u64 + 1;
                    let event_id = Uuid::from_u128(seq.into());
                    let status = Some(if step == Step::Ended { "ended" } else { "active" }.to_owned());
                    case.feed.push(Seen { seq, event_id, call: Some(call), step: Some(step), status });
                }
            }
            case.statuses = [(1, "ended".to_owned()), (2, "ended".to_owned())].into();
            case
        }

        fn renumber(&mut self) {
            for (seq, seen) in (1..).zip(&mut self.feed) {
                seen.seq = seq;
            }
        }

        fn verdict(&self) -> Verdict {
            Verdict::of(&Evidence {
                sent: &self.sent,
                socket: self.socket.as_ref().unwrap_or(&self.feed),
                listed: &self.feed,
                statuses: &self.statuses,
                in_order: true,
            })
        }
    }

    #[test]
    fn nothing_is_found_where_everything_was_delivered_once() {
        let verdict = Case::sound().verdict();
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.sent, verdict.acknowledged, verdict.delivered), (14, 14, 14));
    }

    #[test]
    fn a_planted_loss_is_found() {
        let mut case = Case::sound();
        case.feed.remove(4);
        case.renumber();
        let verdict = case.verdict();
        assert_eq!(verdict.lost.len(), 1, "{verdict:?}");
        assert!(verdict.lost[0].contains("Started of call 1"));
    }

    #[test]
    fn a_webhook_that_was_never_acknowledged_may_be_missing() {
        let mut case = Case::sound();
        case.feed.remove(4);
        case.renumber();
        case.sent.get_mut(&1).unwrap()[2].1 = Outcome::Unknown;
        assert!(case.verdict().is_clean(), "{:?}", case.verdict());
    }

    #[test]
    fn a_planted_repetition_is_found() {
        let mut case = Case::sound();
        let mut again = case.feed[2].clone();
        again.event_id = Uuid::from_u128(99);
        case.feed.push(again);
        case.renumber();
        let verdict = case.verdict();
        assert_eq!(verdict.duplicated, ["FirstNote of call 1 was emitted 2 times"]);
        assert_eq!((verdict.lost.len(), verdict.out_of_order.len()), (0, 0));
    }

    #[test]
    fn a_planted_swap_is_found() {
        let mut case = Case::sound();
        let (early, late) = (case.feed[4].step, case.feed[6].step);
        (case.feed[4].step, case.feed[6].step) = (late, early);
        let verdict = case.verdict();
        assert_eq!(verdict.out_of_order.len(), 1, "{verdict:?}");
        assert_eq!((verdict.lost.len(), verdict.duplicated.len()), (0, 0));
    }

    #[test]
    fn what_a_client_misses_or_gets_again_is_found() {
        let mut case = Case::sound();
        let mut socket = case.feed.clone();
        socket.remove(3);
        socket.push(socket[5].clone());
        case.socket = Some(socket);
        let verdict = case.verdict();
        assert_eq!(verdict.lost, ["the WebSocket has no seq 4 to 4", "the WebSocket never received seq 4"]);
        assert_eq!(verdict.duplicated, ["the WebSocket has seq 7 again"]);
    }

    #[test]
    fn an_event_that_changed_or_vanished_after_it_was_received_is_found() {
        let mut case = Case::sound();
        let mut socket = case.feed.clone();
        socket[0].event_id = Uuid::from_u128(77);
        case.socket = Some(socket);
        case.feed.pop();
        let lost = case.verdict().lost;
        assert!(lost.iter().any(|fault| fault.contains("another event")), "{lost:?}");
        assert!(lost.iter().any(|fault| fault.contains("not in the list")), "{lost:?}");
    }

    #[test]
    fn a_call_that_differs_from_its_last_event_is_found() {
        let mut case = Case::sound();
        case.statuses.insert(2, "active".to_owned());
        assert_eq!(case.verdict().stale, ["call 2 is active over REST and ended in its last event"]);
    }
}
