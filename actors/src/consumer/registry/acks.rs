//! Acknowledgements by requests: they may name a connection of another process.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Consumers;
use crate::{
    consumer::progress::Counted,
    error::StoreError,
    id::{Seq, SessionId},
    ports::{Acked, StoredSharing},
};

/// How long an acknowledgement waits for the process that has its connection: longer than it takes until a dead one is taken
/// out.
const ACK_TIMEOUT: Duration = Duration::from_secs(6);
const POLL_INTERVAL: Duration = Duration::from_millis(40);

impl Consumers {
    /// Acknowledges everything up to `seq`. Where several connections share the work, it is everything up to there that
    /// was delivered to `connection`. Without connections, the cursor moves as asked. It never goes back. When this returns,
    /// that is durable.
    ///
    /// # Errors
    /// The store failed, or the process that has the connection did not take the acknowledgement in time.
    pub async fn ack(
        &self,
        name: &str,
        connection: Option<SessionId>,
        seq: Seq,
    ) -> Result<Acked, StoreError> {
        if let Some(Counted::Yes { .. }) = self.count_ack(name, connection, seq) {
            self.cursor_store.flush(&[self]).await?;
            if self.entries.lock().contains_key(name) {
                return Ok(Acked::Counted);
            }
            // Another process holds it, as the flush has found out.
        }
        self.ack_elsewhere(name, connection, seq).await
    }

    async fn ack_elsewhere(
        &self,
        name: &str,
        connection: Option<SessionId>,
        seq: Seq,
    ) -> Result<Acked, StoreError> {
        let deadline = Instant::now() + ACK_TIMEOUT;
        let mut is_left = false;
        while Instant::now() < deadline {
            let Some(found) = self.log.sharing(self.app_id, name).await? else { return Ok(Acked::Unknown) };
            let Some((known, mut sharing)) = found.live_sharing() else {
                if self.log.advance_consumer(self.app_id, name, seq).await? {
                    return Ok(Acked::Counted);
                }
                continue;
            };
            match connection {
                None if sharing.connections() > 0 => return Ok(Acked::Ambiguous),
                None => {
                    sharing.advance(seq);
                    sharing.is_current = true;
                    if self.save_alone(name, known, sharing).await? {
                        return Ok(Acked::Counted);
                    }
                    continue;
                }
                // It has left, or the process that had it is gone: what it had goes to others.
                Some(member) if !sharing.has_member(member) => return Ok(Acked::Counted),
                Some(member) if is_left => {
                    if !sharing.acks.contains(&(member, seq)) {
                        return Ok(Acked::Counted);
                    }
                }
                Some(member) => {
                    if sharing.leave_ack(member, seq) {
                        is_left = self.save_alone(name, known, sharing).await?;
                        self.cursor_store.announcements().consumers(self.app_id);
                    }
                }
            }
            sleep(POLL_INTERVAL).await;
        }
        Err(StoreError::Unavailable(
            "the server that has the connection did not take the acknowledgement".into(),
        ))
    }
}

impl StoredSharing {
    /// Returns what processes share, and its version; `None` if the consumer is not shared. Processes of which nothing was heard
    /// for long are not among them.
    fn live_sharing(self) -> Option<(i64, crate::model::sharing::Sharing)> {
        let mut sharing = self.sharing?;
        if !self.is_live {
            let dead: Vec<_> = sharing.processes.keys().copied().collect();
            dead.into_iter().for_each(|process| sharing.remove(process));
        }
        Some((self.version, sharing))
    }
}
