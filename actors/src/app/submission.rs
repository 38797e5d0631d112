//! A webhook on its way through an app's supervisor, as its request sees it.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    inbox::SharedInbox,
    incoming::{Answer, NotTaken, Stored},
};
use crate::id::JournalId;

/// A webhook that was submitted to an app's supervisor. Once this is dropped, a supervisor that has not begun with it
/// skips it.
#[derive(Debug)]
pub struct Submission {
    id: JournalId,
    answer: Answer,
    inbox: SharedInbox,
}

impl Submission {
    pub(crate) fn new(id: JournalId, answer: Answer, inbox: SharedInbox) -> Self {
        Self { id, answer, inbox }
    }

    /// Waits until the webhook is durable.
    ///
    /// # Errors
    /// The supervisor has not begun with it within `take_timeout`, has ended, or could not write it. If it has died over
    /// the webhook, the webhook may be in the journal, under its id.
    pub async fn stored(mut self, take_timeout: Duration) -> Result<Stored, NotTaken> {
        let answered = match timeout(take_timeout, &mut self.answer).await {
            Ok(answered) => answered,
            Err(_) if self.inbox.lock().withdraw(self.id) => return Err(NotTaken),
            Err(_) => self.answer.await,
        };
        // The sender is gone where the supervisor has died.
        answered.unwrap_or(Err(NotTaken))
    }
}
