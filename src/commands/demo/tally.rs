//! Accounts for every event: what the simulator's book says must be told against what arrived on the socket. Pure.
//!
//! The n-th event of a type about one call answers the n-th webhook that must cause such an event; the steps of a call
//! are sent one after the other, so neither order is a matter of chance. Either side may be known first: the book gets
//! its line when the webhook was acknowledged, and by then the event has often arrived.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use crate::commands::event::Event;
use cti_simulator::Delivery;

/// Told whenever something became known late. Nobody has to cause it for it to be right.
const KNOWLEDGE: &str = "call.updated";

/// Open accounts, and what is known of the closed ones. Times are microseconds since 1970.
pub(super) struct Tally {
    /// The place of the newest event that was seen.
    last_seq: i64,
    /// Places that were passed over.
    holes: u64,
    /// Events whose place had been taken or passed before.
    repeats: u64,
    /// Events that only brought knowledge, or that are about no call or message.
    asides: u64,
    open: HashMap<Account, Entries>,
    /// Of each event that answered a webhook: from the sending to the arrival.
    latencies: Vec<i64>,
    webhooks: u64,
}

/// The call or message, and the type of event.
type Account = (i64, String);

/// What still waits for its counterpart; never both sides at once, except where knowledge came unasked.
#[derive(Default)]
struct Entries {
    sent: VecDeque<i64>,
    arrived: VecDeque<Waiting>,
}

struct Waiting {
    at: i64,
    seq: i64,
}

/// What an event that arrived means for the account.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It answers a webhook, after so many microseconds.
    Answer(i64),
    /// Its webhook is not in the book yet.
    Early,
    /// It needs no webhook.
    Aside,
    /// It was told before.
    Repeated,
}

/// The webhook of an event that was [`Standing::Early`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) seq: i64,
    pub(super) latency: i64,
}

/// How the account stands at the end.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Webhooks that were sent, with those that only add knowledge.
    pub(super) webhooks: u64,
    /// Events that webhooks had to cause.
    pub(super) events_sent: u64,
    /// Those of them that arrived.
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    /// Events besides, which need no webhook of their own.
    pub(super) updates: u64,
    /// From the first attempt to send the webhook until the event was read from the socket.
    pub(super) median_latency_ms: Option<f64>,
    pub(super) worst_latency_ms: Option<f64>,
    /// The first few that were lost, by type and id.
    pub(super) missing: Vec<String>,
}

impl Tally {
    /// An empty account of the events behind this place.
    pub(super) fn behind(head: i64) -> Self {
        Self {
            last_seq: head,
            holes: 0,
            repeats: 0,
            asides: 0,
            open: HashMap::new(),
            latencies: Vec::new(),
            webhooks: 0,
        }
    }

    /// Enters a webhook, and finds the event that has answered it already.
    pub(super) fn sent(&mut self, delivery: &Delivery) -> Option<Answered> {
        self.webhooks += 1;
        let kind = delivery.expected_event?.name();
        let subject = delivery.call_id.or(delivery.message_id)?;
        let account = (subject, kind.to_string());
        let entries = self.open.entry(account.clone()).or_default();
        if kind == KNOWLEDGE {
            // What came before this webhook was sent is not its doing.
            entries.arrived.retain(|waiting| waiting.at >= delivery.sent_at);
        }
        let Some(waiting) = entries.arrived.pop_front() else {
            entries.sent.push_back(delivery.sent_at);
            return None;
        };
        self.settle(&account);
        if kind == KNOWLEDGE {
            self.asides -= 1;
        }
        let latency = self.measured(delivery.sent_at, waiting.at);
        Some(Answered { seq: waiting.seq, latency })
    }

    /// Enters an event.
    pub(super) fn arrived(&mut self, event: &Event, at: i64) -> Standing {
        if event.seq <= self.last_seq {
            self.repeats += 1;
            return Standing::Repeated;
        }
        self.holes += event.seq.abs_diff(self.last_seq + 1);
        self.last_seq = event.seq;
        let Some(subject) = event.subject() else {
            self.asides += 1;
            return Standing::Aside;
        };
        let account = (subject, event.kind.clone());
        let entries = self.open.entry(account.clone()).or_default();
        if let Some(sent_at) = entries.sent.pop_front() {
            self.settle(&account);
            return Standing::Answer(self.measured(sent_at, at));
        }
        entries.arrived.push_back(Waiting { at, seq: event.seq });
        if event.kind == KNOWLEDGE {
            self.asides += 1;
            return Standing::Aside;
        }
        Standing::Early
    }

    /// Whether everything that was sent or had arrived until then has found its counterpart.
    pub(super) fn is_settled(&self, until: i64) -> bool {
        self.untold(until).next().is_none() && self.unasked(until) == 0
    }

    /// The account as of then: what was sent or arrived later and has no counterpart does not count.
    pub(super) fn summary(&self, until: i64) -> Summary {
        let untold: Vec<&Account> = self.untold(until).collect();
        let received = self.latencies.len() as u64;
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let millis = |micros: &i64| {
            #[expect(clippy::cast_precision_loss, reason = "a latency is far shorter than 2^53 µs")]
            let micros = *micros as f64;
            micros / 1_000.0
        };
        Summary {
            webhooks: self.webhooks,
            events_sent: received + untold.len() as u64,
            received,
            // A hole in the feed is most often the very event that a webhook misses: it is not counted twice.
            lost: self.holes.max(untold.len() as u64),
            duplicated: self.repeats + self.unasked(until),
            updates: self.asides,
            median_latency_ms: sorted.get(sorted.len().saturating_sub(1) / 2).map(millis),
            worst_latency_ms: sorted.last().map(millis),
            missing: untold.iter().take(5).map(|(subject, kind)| format!("{kind} of {subject}")).collect(),
        }
    }

    fn untold(&self, until: i64) -> impl Iterator<Item = &Account> {
        self.open.iter().flat_map(move |(account, entries)| {
            entries.sent.iter().filter(move |sent_at| **sent_at <= until).map(move |_| account)
        })
    }

    fn unasked(&self, until: i64) -> u64 {
        let accounts = self.open.iter().filter(|((_, kind), _)| kind != KNOWLEDGE);
        accounts.flat_map(|(_, entries)| &entries.arrived).filter(|waiting| waiting.at <= until).count()
            as u64
    }

    /// A demo may run for weeks: accounts in balance are not kept.
    fn settle(&mut self, account: &Account) {
        if self.open.get(account).is_some_and(|entries| entries.sent.is_empty() && entries.arrived.is_empty())
        {
            self.open.remove(account);
        }
    }

    fn measured(&mut self, sent_at: i64, arrived_at: i64) -> i64 {
        // A clock that was set back in between must not make anything faster than light.
        let latency = (arrived_at - sent_at).max(0);
        self.latencies.push(latency);
        latency
    }
}

#[cfg(test)]
mod tests;
