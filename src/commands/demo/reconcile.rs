//! Compares the webhooks in the simulator's delivery log with the events that arrived on the socket. Pure.
//!
//! The n-th event of a type about one call matches the n-th webhook that must cause such an event: the webhooks of a call
//! are sent one after the other, so both orders are fixed. Either side may be known first: a webhook is logged once it was
//! acknowledged, and by then its event has often arrived.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use crate::commands::event::Event;
use cti_simulator::Delivery;

/// Emitted when facts arrive late; an event of this type needs no webhook.
const UPDATE_EVENT: &str = "call.updated";

/// Unmatched webhooks and events, and the totals. Times are microseconds since 1970.
pub(super) struct Reconciliation {
    /// The `seq` of the last event.
    last_seq: i64,
    /// The number of skipped `seq`.
    holes: u64,
    /// Events whose `seq` did not increase.
    repeats: u64,
    /// Events that need no webhook: updates, and events about the app.
    updates: u64,
    unmatched: HashMap<Key, Entries>,
    /// The latencies of matched events, from the sending of the webhook to the arrival.
    latencies: Vec<i64>,
    webhooks: u64,
}

/// The call or message, and the event type.
type Key = (i64, String);

/// What waits for its counterpart: webhooks or events, both only for updates that no webhook caused.
#[derive(Default)]
struct Entries {
    sent: VecDeque<i64>,
    arrived: VecDeque<Unmatched>,
}

struct Unmatched {
    at: i64,
    seq: i64,
}

/// How an event that arrived was matched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It matches a webhook, after this latency in microseconds.
    Matched(i64),
    /// Its webhook is not in the log yet.
    Early,
    /// It needs no webhook.
    Unsolicited,
    /// Its `seq` was received before.
    Repeated,
}

/// The match of an event that was [`Match::Early`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LateMatch {
    pub(super) seq: i64,
    pub(super) latency: i64,
}

/// The totals at the end.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Webhooks that were sent, including those that only add facts.
    pub(super) webhooks: u64,
    /// Events that webhooks had to cause.
    pub(super) events_sent: u64,
    /// Those that arrived.
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    /// Events that need no webhook.
    pub(super) updates: u64,
    /// From the first attempt to send the webhook to the arrival of the event.
    pub(super) median_latency_ms: Option<f64>,
    pub(super) worst_latency_ms: Option<f64>,
    /// The first few lost events, by type and id.
    pub(super) missing: Vec<String>,
}

impl Reconciliation {
    /// Starts with the events after `head`.
    pub(super) fn after(head: i64) -> Self {
        Self {
            last_seq: head,
            holes: 0,
            repeats: 0,
            updates: 0,
            unmatched: HashMap::new(),
            latencies: Vec::new(),
            webhooks: 0,
        }
    }

    /// Records a webhook, and matches it with an event that arrived before.
    pub(super) fn sent(&mut self, delivery: &Delivery) -> Option<LateMatch> {
        self.webhooks += 1;
        let kind = delivery.expected_event?.name();
        let subject = delivery.call_id.or(delivery.message_id)?;
        let key = (subject, kind.to_string());
        let entries = self.unmatched.entry(key.clone()).or_default();
        if kind == UPDATE_EVENT {
            // Updates that arrived before this webhook was sent have another cause.
            entries.arrived.retain(|waiting| waiting.at >= delivery.sent_at);
        }
        let Some(waiting) = entries.arrived.pop_front() else {
            entries.sent.push_back(delivery.sent_at);
            return None;
        };
        self.remove_if_empty(&key);
        if kind == UPDATE_EVENT {
            self.updates -= 1;
        }
        let latency = self.add_latency(delivery.sent_at, waiting.at);
        Some(LateMatch { seq: waiting.seq, latency })
    }

    /// Records an event.
    pub(super) fn arrived(&mut self, event: &Event, at: i64) -> Match {
        if event.seq <= self.last_seq {
            self.repeats += 1;
            return Match::Repeated;
        }
        self.holes += event.seq.abs_diff(self.last_seq + 1);
        self.last_seq = event.seq;
        let Some(subject) = event.subject() else {
            self.updates += 1;
            return Match::Unsolicited;
        };
        let key = (subject, event.kind.clone());
        let entries = self.unmatched.entry(key.clone()).or_default();
        if let Some(sent_at) = entries.sent.pop_front() {
            self.remove_if_empty(&key);
            return Match::Matched(self.add_latency(sent_at, at));
        }
        entries.arrived.push_back(Unmatched { at, seq: event.seq });
        if event.kind == UPDATE_EVENT {
            self.updates += 1;
            return Match::Unsolicited;
        }
        Match::Early
    }

    /// Returns whether all webhooks and events up to this time are matched.
    pub(super) fn is_settled(&self, until: i64) -> bool {
        self.missing(until).next().is_none() && self.unexpected(until) == 0
    }

    /// Returns the totals; unmatched webhooks and events after this time do not count.
    pub(super) fn summary(&self, until: i64) -> Summary {
        let missing: Vec<&Key> = self.missing(until).collect();
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
            events_sent: received + missing.len() as u64,
            received,
            // A hole in the feed is usually the event that a webhook misses: it is not counted twice.
            lost: self.holes.max(missing.len() as u64),
            duplicated: self.repeats + self.unexpected(until),
            updates: self.updates,
            median_latency_ms: sorted.get(sorted.len().saturating_sub(1) / 2).map(millis),
            worst_latency_ms: sorted.last().map(millis),
            missing: missing.iter().take(5).map(|(subject, kind)| format!("{kind} of {subject}")).collect(),
        }
    }

    fn missing(&self, until: i64) -> impl Iterator<Item = &Key> {
        self.unmatched.iter().flat_map(move |(key, entries)| {
            entries.sent.iter().filter(move |sent_at| **sent_at <= until).map(move |_| key)
        })
    }

    fn unexpected(&self, until: i64) -> u64 {
        let accounts = self.unmatched.iter().filter(|((_, kind), _)| kind != UPDATE_EVENT);
        accounts.flat_map(|(_, entries)| &entries.arrived).filter(|waiting| waiting.at <= until).count()
            as u64
    }

    /// Removes an empty entry, because a demo may run for weeks.
    fn remove_if_empty(&mut self, key: &Key) {
        if self
            .unmatched
            .get(key)
            .is_some_and(|entries| entries.sent.is_empty() && entries.arrived.is_empty())
        {
            self.unmatched.remove(key);
        }
    }

    fn add_latency(&mut self, sent_at: i64, arrived_at: i64) -> i64 {
        // The clock may have been set back in between.
        let latency = (arrived_at - sent_at).max(0);
        self.latencies.push(latency);
        latency
    }
}

#[cfg(test)]
mod tests;
