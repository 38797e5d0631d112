//! The progress of a feed: with a consumer of its own in the order of `seq`, or sharing a consumer, where other connections
//! receive the rest. Pure.

use crate::ledger::Ledger;
use crate::shared_ledger::SharedLedger;

/// The progress of a feed.
#[derive(Debug)]
pub(crate) enum Tracker {
    Exclusive(Ledger),
    Shared(SharedLedger),
}

impl Tracker {
    /// Starts after this event, up to which everything is processed.
    pub(crate) fn start_after(&mut self, at: u64) {
        match self {
            Self::Exclusive(ledger) => ledger.start_after(at),
            Self::Shared(_) => {}
        }
    }

    /// Records a new connection that asked to resume after `after`. `head` is the newest event, `acked` the consumer's
    /// cursor on the server, `is_first` whether it is the feed's first connection.
    pub(crate) fn connected(&mut self, after: Option<u64>, head: u64, acked: Option<u64>, is_first: bool) {
        match (self, acked) {
            (Self::Shared(ledger), _) => ledger.new_connection(),
            // The server's cursor counts until there may be acknowledgements that it has not received.
            (Self::Exclusive(ledger), Some(acked)) if is_first => ledger.start_after(acked),
            // From here on nothing may be missed, even if the connection breaks before the first event.
            (Self::Exclusive(ledger), _) if after.is_none() => ledger.start_after(head),
            (Self::Exclusive(_), _) => {}
        }
    }

    /// Returns the event after which a connection resumes; `None`: the server decides.
    pub(crate) fn resume_after(&self) -> Option<u64> {
        match self {
            Self::Exclusive(ledger) => ledger.resume_after(),
            Self::Shared(_) => None,
        }
    }

    /// Returns the last event to save or to acknowledge.
    pub(crate) fn acked(&mut self) -> Option<u64> {
        match self {
            Self::Exclusive(ledger) => ledger.acked(),
            Self::Shared(ledger) => ledger.acked(),
        }
    }

    /// Records an event that is delivered. Returns `false` if it was delivered before.
    #[must_use]
    pub(crate) fn deliver(&mut self, seq: u64) -> bool {
        match self {
            Self::Exclusive(ledger) => ledger.deliver(seq),
            Self::Shared(ledger) => ledger.deliver(seq),
        }
    }

    /// Records a gap or a snapshot that is delivered: the feed continues after `at`.
    pub(crate) fn jump_to(&mut self, at: u64) {
        match self {
            Self::Exclusive(ledger) => ledger.jump_to(at),
            // Every connection of a shared consumer is told of a gap; none has to acknowledge it.
            Self::Shared(_) => {}
        }
    }

    /// Records that no event up to `at` matches the subscription.
    pub(crate) fn skip_to(&mut self, at: u64) {
        match self {
            Self::Exclusive(ledger) => ledger.skip_to(at),
            Self::Shared(_) => {}
        }
    }

    /// Records that everything up to this event is processed.
    pub(crate) fn ack(&mut self, seq: u64) {
        match self {
            Self::Exclusive(ledger) => ledger.ack(seq),
            Self::Shared(ledger) => ledger.ack(seq),
        }
    }
}
