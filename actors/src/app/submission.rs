//! A webhook on its way through an app's supervisor, as its request sees it.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    inbox::SharedInbox,
    incoming::{Answer, NotTaken, Stored, Unanswered},
};
use crate::{error::StoreError, id::JournalId};

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

    /// Waits until the webhook is durable. [`NotTaken`]: the supervisor has not begun with it within `take_timeout`, or
    /// has ended. If it has died over the webhook, the webhook may be in the journal, under its id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn stored(mut self, take_timeout: Duration) -> Result<Result<Stored, NotTaken>, StoreError> {
        let answered = match timeout(take_timeout, &mut self.answer).await {
            Ok(answered) => answered,
            Err(_) if self.inbox.lock().withdraw(self.id) => return Ok(Err(NotTaken)),
            Err(_) => self.answer.await,
        };
        match answered {
            Ok(Ok(stored)) => Ok(Ok(stored)),
            Ok(Err(Unanswered::Failed(failure))) => Err(failure),
            // The sender is gone where the supervisor has died.
            Ok(Err(Unanswered::NotTaken)) | Err(_) => Ok(Err(NotTaken)),
        }
    }
}
