//! Webhooks whose requests wait for an answer: it is given once the unit of work that contains the webhook is durable.

use tokio::sync::oneshot;

use crate::{id::JournalId, ports::PendingEvent};

/// A webhook that is not in the journal, and its request.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) event: PendingEvent,
    pub(crate) request: Request,
}

/// The request of a webhook, which waits for its answer.
#[derive(Debug)]
pub(crate) struct Request(oneshot::Sender<Result<Stored, NotTaken>>);

/// The answer to a request, once there is one.
pub(crate) type Answer = oneshot::Receiver<Result<Stored, NotTaken>>;

/// How a webhook was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Under this id.
    New(JournalId),
    /// It was there before, under this id.
    Duplicate(JournalId),
}

/// The supervisor can't process the webhook now: it must be appended to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken;

/// Notifies a supervisor that enough webhooks wait.
#[derive(Debug)]
pub(crate) struct Enough(oneshot::Sender<()>);

impl Enough {
    /// Returns it, and what it notifies.
    pub(crate) fn new() -> (Self, oneshot::Receiver<()>) {
        let (sender, notified) = oneshot::channel();
        (Self(sender), notified)
    }

    pub(crate) fn notify(self) {
        // The supervisor may have gone on meanwhile.
        let _ = self.0.send(());
    }
}

impl Incoming {
    /// Returns a webhook and what its request waits for.
    pub(crate) fn new(event: PendingEvent) -> (Self, Answer) {
        let (sender, answer) = oneshot::channel();
        (Self { event, request: Request(sender) }, answer)
    }
}

impl Request {
    /// Whether somebody still waits for the answer.
    pub(crate) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    /// Answers that the webhook is durable.
    pub(crate) fn stored(self, stored: Stored) {
        // The request may have ended meanwhile; the webhook is durable all the same.
        let _ = self.0.send(Ok(stored));
    }

    /// Answers that the webhook must be appended to the journal.
    pub(crate) fn not_taken(self) {
        let _ = self.0.send(Err(NotTaken));
    }
}
