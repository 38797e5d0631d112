//! What a feed knows of its places: on its own in the order of `seq`, or sharing a consumer, where others have the rest.
//! Pure.

use crate::ledger::Ledger;
use crate::share::Share;

/// One of the two.
#[derive(Debug)]
pub(crate) enum Book {
    Own(Ledger),
    Shared(Share),
}

impl Book {
    /// Begins behind this place, which is known to be dealt with.
    pub(crate) fn begin(&mut self, at: u64) {
        match self {
            Self::Own(ledger) => ledger.begin(at),
            Self::Shared(_) => {}
        }
    }

    /// A connection stands, which asked to resume behind `after`. `head` is the newest event, `acked` where the server
    /// has this consumer, `is_first` whether it is the feed's first one.
    pub(crate) fn connected(&mut self, after: Option<u64>, head: u64, acked: Option<u64>, is_first: bool) {
        match (self, acked) {
            (Self::Shared(share), _) => share.begin(),
            // The server knows better, until there is something that it may not have heard of.
            (Self::Own(ledger), Some(acked)) if is_first => ledger.begin(acked),
            // From here on nothing may be missed, whatever breaks before the first event comes.
            (Self::Own(ledger), _) if after.is_none() => ledger.begin(head),
            (Self::Own(_), _) => {}
        }
    }

    /// Where a connection resumes; `None`: where the server says.
    pub(crate) fn resume_at(&self) -> Option<u64> {
        match self {
            Self::Own(ledger) => ledger.resume_at(),
            Self::Shared(_) => None,
        }
    }

    /// What is dealt with, as it is kept or acknowledged.
    pub(crate) fn kept(&mut self) -> Option<u64> {
        match self {
            Self::Own(ledger) => ledger.kept(),
            Self::Shared(share) => share.acknowledged(),
        }
    }

    /// Gives out an event. False if it was given out before.
    #[must_use]
    pub(crate) fn give(&mut self, seq: u64) -> bool {
        match self {
            Self::Own(ledger) => ledger.give(seq),
            Self::Shared(share) => share.give(seq),
        }
    }

    /// Gives out a gap, or a snapshot.
    pub(crate) fn give_place(&mut self, at: u64) {
        match self {
            Self::Own(ledger) => ledger.give_place(at),
            // A gap is told to each of those who share; nobody has to deal with it for the others.
            Self::Shared(_) => {}
        }
    }

    /// Nothing up to here is for this subscription.
    pub(crate) fn pass(&mut self, at: u64) {
        match self {
            Self::Own(ledger) => ledger.pass(at),
            Self::Shared(_) => {}
        }
    }

    /// This is dealt with, and all that came before.
    pub(crate) fn done(&mut self, seq: u64) {
        match self {
            Self::Own(ledger) => ledger.done(seq),
            Self::Shared(share) => share.done(seq),
        }
    }
}
