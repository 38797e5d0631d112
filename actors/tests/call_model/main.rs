//! The model of a call, which is pure: the same webhooks make the same call, and tell the same of it once.

#[path = "../arrivals/mod.rs"]
mod arrivals;
mod order;
mod precedence;
mod stories;
mod voicemails;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    id::DialpadCallId,
    model::call::{
        CallChange, CallEvent, CallFacts, Direction, Knowledge, Leg, Origin, Signal, Transition, apply,
    },
};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200 + second)
}

fn event(second: i64, signal: Signal) -> CallEvent {
    let knowledge = Knowledge {
        direction: Some(Direction::Inbound),
        from_number: Some("+14155551234".into()),
        to_number: Some("+14155555678".into()),
        leg: Some(Leg::Direct),
        ..Knowledge::default()
    };
    CallEvent {
        dialpad_call_id: DialpadCallId(7),
        at: at(second),
        signal,
        knowledge,
        origin: Origin::Webhook,
    }
}

/// Returns the finding that the call is presumed over, which knew news up to this second.
fn presumed(second: i64, last_news: i64) -> CallEvent {
    CallEvent {
        knowledge: Knowledge::default(),
        origin: Origin::Presumption,
        ..event(second, Signal::PresumedOver { last_news: at(last_news) })
    }
}

fn apply_webhook(facts: &CallFacts, event: &CallEvent) -> Transition {
    apply(facts, &event.clone().into())
}

/// Applies webhooks in order and gives the facts and everything that was emitted.
fn tell(events: &[CallEvent]) -> (CallFacts, Vec<CallChange>) {
    let mut emitted = Vec::new();
    let facts = events.iter().fold(CallFacts::default(), |facts, event| {
        let transition = apply_webhook(&facts, event);
        emitted.extend(transition.changes);
        transition.facts
    });
    (facts, emitted)
}

/// All orders of a few webhooks.
fn permutations(items: &[CallEvent]) -> Vec<Vec<CallEvent>> {
    let Some((last, rest)) = items.split_last() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for shorter in permutations(rest) {
        for place in 0..=shorter.len() {
            let mut longer = shorter.clone();
            longer.insert(place, last.clone());
            all.push(longer);
        }
    }
    all
}
