//! The books of exactly-once: which events were acknowledged, which were told, and what differs.

use serde::Serialize;

use super::events::Event;

/// A set of events.
#[derive(Debug, Default)]
pub(crate) struct Marks(Vec<bool>);

impl Marks {
    /// Adds an event; `false` if it was there already.
    pub(crate) fn add(&mut self, event: Event) -> bool {
        let index = event.index();
        if self.0.len() <= index {
            self.0.resize(index + 1, false);
        }
        !std::mem::replace(&mut self.0[index], true)
    }

    /// How many events are here and not in `other`.
    fn beyond(&self, other: &Self) -> u64 {
        let missing = |index: &usize| !other.0.get(*index).copied().unwrap_or(false);
        let ours = self.0.iter().enumerate().filter(|(_, marked)| **marked);
        ours.map(|(index, _)| index).filter(missing).count() as u64
    }
}

impl FromIterator<Event> for Marks {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        let mut marks = Self::default();
        for event in events {
            marks.add(event);
        }
        marks
    }
}

/// What went wrong between the acknowledgements and one WebSocket; all zero when nothing did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Acknowledged and never told.
    pub lost: u64,
    /// Told more than once.
    pub duplicated: u64,
    /// Told although nobody was promised it: never acknowledged, or none of the bench's events.
    pub unasked: u64,
    /// Numbers that `seq` jumped over.
    pub seq_holes: u64,
    /// Times that `seq` did not grow.
    pub seq_repeats: u64,
}

impl Audit {
    /// Compares what was acknowledged with what was told, in the order of arrival.
    pub(crate) fn of(acknowledged: &Marks, told: impl IntoIterator<Item = Event>) -> Self {
        let mut seen = Marks::default();
        let duplicated = told.into_iter().filter(|event| !seen.add(*event)).count() as u64;
        Self {
            lost: acknowledged.beyond(&seen),
            duplicated,
            unasked: seen.beyond(acknowledged),
            ..Self::default()
        }
    }

    /// The number of faults of any kind.
    pub(crate) fn faults(&self) -> u64 {
        self.lost + self.duplicated + self.unasked + self.seq_holes + self.seq_repeats
    }
}

impl std::ops::Add for Audit {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            unasked: self.unasked + other.unasked,
            seq_holes: self.seq_holes + other.seq_holes,
            seq_repeats: self.seq_repeats + other.seq_repeats,
        }
    }
}

/// Follows the `seq` of one connection.
#[derive(Debug, Default)]
pub(crate) struct SeqWatch {
    /// The last one seen: a cursor to resume behind.
    pub(crate) last: u64,
    /// Numbers jumped over.
    pub(crate) holes: u64,
    /// Times that it did not grow.
    pub(crate) repeats: u64,
}

impl SeqWatch {
    /// Starts behind the head that the server named when the connection opened.
    pub(crate) fn behind(head: u64) -> Self {
        Self { last: head, ..Self::default() }
    }

    /// Takes the next one.
    pub(crate) fn see(&mut self, seq: u64) {
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
    fn everything_told_once_is_no_fault() {
        let acknowledged = (0..5).map(ring).collect();
        let audit = Audit::of(&acknowledged, (0..5).rev().map(ring));
        assert_eq!(audit, Audit::default());
        assert_eq!(audit.faults(), 0);
    }

    #[test]
    fn lost_duplicated_and_unasked_events_are_told_apart() {
        let acknowledged = [ring(0), ring(1), ring(2)].into_iter().collect();
        let audit = Audit::of(&acknowledged, [ring(0), ring(0), ring(2), ring(9)]);
        assert_eq!(audit, Audit { lost: 1, duplicated: 1, unasked: 1, ..Audit::default() });
        assert_eq!(audit.faults(), 3);
    }

    #[test]
    fn seq_is_contiguous_or_it_is_noticed() {
        let mut watch = SeqWatch::behind(10);
        for seq in [11, 12, 15, 15, 16] {
            watch.see(seq);
        }
        assert_eq!((watch.last, watch.holes, watch.repeats), (16, 2, 1));
    }
}
