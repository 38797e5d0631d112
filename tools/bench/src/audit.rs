//! Checks exactly-once delivery: which events were acknowledged, which were delivered, and how they differ.

use serde::Serialize;

use super::events::Event;

/// A set of events.
#[derive(Debug, Default)]
pub(crate) struct EventSet(Vec<bool>);

impl EventSet {
    /// Adds an event; returns `false` if the set already had it.
    pub(crate) fn add(&mut self, event: Event) -> bool {
        let index = event.index();
        if self.0.len() <= index {
            self.0.resize(index + 1, false);
        }
        !std::mem::replace(&mut self.0[index], true)
    }

    /// Returns how many events of this set are not in `other`.
    fn missing_from(&self, other: &Self) -> u64 {
        let missing = |index: &usize| !other.0.get(*index).copied().unwrap_or(false);
        let ours = self.0.iter().enumerate().filter(|(_, marked)| **marked);
        ours.map(|(index, _)| index).filter(missing).count() as u64
    }
}

impl FromIterator<Event> for EventSet {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut set = Self::default();
        for event in events {
            set.add(event);
        }
        set
    }
}

/// Faults between the acknowledgements and one WebSocket; all zero without faults.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Acknowledged and never delivered.
    pub lost: u64,
    /// Delivered more than once.
    pub duplicated: u64,
    /// Delivered but never acknowledged, or not an event of the bench.
    pub unexpected: u64,
    /// Numbers that `seq` skipped.
    pub seq_holes: u64,
    /// Times that `seq` did not increase.
    pub seq_repeats: u64,
}

impl Audit {
    /// Compares the acknowledged events with the delivered ones, in the order of arrival.
    pub(crate) fn of(acknowledged: &EventSet, delivered: impl IntoIterator<Item = Event>) -> Self {
        let mut seen = EventSet::default();
        let duplicated = delivered.into_iter().filter(|event| !seen.add(*event)).count() as u64;
        Self {
            lost: acknowledged.missing_from(&seen),
            duplicated,
            unexpected: seen.missing_from(acknowledged),
            ..Self::default()
        }
    }

    /// Returns the number of faults of any kind.
    pub(crate) fn faults(&self) -> u64 {
        self.lost + self.duplicated + self.unexpected + self.seq_holes + self.seq_repeats
    }
}

impl std::ops::Add for Audit {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            unexpected: self.unexpected + other.unexpected,
            seq_holes: self.seq_holes + other.seq_holes,
            seq_repeats: self.seq_repeats + other.seq_repeats,
        }
    }
}

/// Checks the `seq` of one connection.
#[derive(Debug, Default)]
pub(crate) struct SeqCheck {
    /// The last one: the cursor to resume from.
    pub(crate) last: u64,
    /// Numbers skipped.
    pub(crate) holes: u64,
    /// Times that it did not increase.
    pub(crate) repeats: u64,
}

impl SeqCheck {
    /// Starts after the newest event at the time of the connection.
    pub(crate) fn after(head: u64) -> Self {
        Self { last: head, ..Self::default() }
    }

    /// Checks the next one.
    pub(crate) fn next(&mut self, seq: u64) {
        if seq > self.last {
            self.holes += seq - self.last - 1;
            self.last = seq;
        } else {
            self.repeats += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Phase;

    fn ring(call: u32) -> Event {
        Event { call, phase: Phase::Ring }
    }

    #[test]
    fn everything_delivered_once_is_no_fault() {
        let acknowledged = (0..5).map(ring).collect();
        let audit = Audit::of(&acknowledged, (0..5).rev().map(ring));
        assert_eq!(audit, Audit::default());
        assert_eq!(audit.faults(), 0);
    }

    #[test]
    fn lost_duplicated_and_unexpected_events_are_counted_apart() {
        let acknowledged = [ring(0), ring(1), ring(2)].into_iter().collect();
        let audit = Audit::of(&acknowledged, [ring(0), ring(0), ring(2), ring(9)]);
        assert_eq!(audit, Audit { lost: 1, duplicated: 1, unexpected: 1, ..Audit::default() });
        assert_eq!(audit.faults(), 3);
    }

    #[test]
    fn holes_and_repeats_of_seq_are_counted() {
        let mut check = SeqCheck::after(10);
        for seq in [11, 12, 15, 15, 16] {
            check.next(seq);
        }
        assert_eq!((check.last, check.holes, check.repeats), (16, 2, 1));
    }
}
