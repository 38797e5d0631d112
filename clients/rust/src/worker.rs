//! Keeps a connection open and passes its messages on as items.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::Connector;

use crate::cursor::Cursor;
use crate::error::FeedError;
use crate::feed::{Item, Notice, Progress};
use crate::message::Message;
use crate::session::{End, Session};
use crate::snapshot::PartialSnapshot;
use crate::subscription::{Start, Subscription};
use crate::tls;

type ItemSender = mpsc::Sender<Result<Item, FeedError>>;
/// The acknowledgement to send, if the server stores the cursor.
type Acknowledged = Option<watch::Receiver<Option<Cursor>>>;

/// Runs until the feed is dropped or fails. `acknowledged` is set if the server stores the cursor: it holds the
/// acknowledgement to send.
pub(crate) async fn run(
    subscription: Subscription,
    progress: Arc<Progress>,
    acknowledged: Acknowledged,
    items: ItemSender,
) {
    let connector = subscription.address.is_encrypted().then(tls::connector);
    let mut worker = Worker {
        subscription,
        progress,
        items,
        acknowledged,
        connector,
        has_connected: false,
        snapshot: None,
    };
    if let Err(error) = worker.follow().await {
        if let FeedError::TakenOver(reason) = &error {
            worker.progress.mark_taken_over();
            (worker.subscription.observer)(Notice::TakenOver { reason: reason.clone() });
        }
        // The feed may have been dropped.
        let _ = worker.items.send(Err(error)).await;
    }
}

struct Worker {
    subscription: Subscription,
    progress: Arc<Progress>,
    items: ItemSender,
    acknowledged: Acknowledged,
    connector: Option<Connector>,
    /// Whether a connection was open before.
    has_connected: bool,
    /// The parts of the snapshot that this connection starts with, until it is complete.
    snapshot: Option<PartialSnapshot>,
}

impl Worker {
    async fn follow(&mut self) -> Result<(), FeedError> {
        match &self.subscription.start {
            Start::Cursor => self.progress.load().await.map_err(FeedError::Cursor)?,
            Start::After(cursor) => self.progress.tracker().start_after(cursor.clone()),
            Start::Now => {}
        }
        let backoff = self.subscription.backoff;
        let mut failures = 0;
        loop {
            // While the queue is full no connection is needed: the server would close it as too slow.
            if self.items.reserve().await.is_err() {
                return Ok(());
            }
            let started = Instant::now();
            let (reason, asked) = match self.connect().await {
                End::Broken { reason, wait } => (reason, wait),
                End::Failed(error) => return Err(error),
                End::FeedDropped => return Ok(()),
            };
            failures = backoff.count_failure(failures, started.elapsed());
            let delay = backoff.delay(failures, rand::random());
            let retry_in = asked.map_or(delay, |asked| asked.max(delay));
            (self.subscription.observer)(Notice::Disconnected { reason, retry_in });
            tokio::select! {
                () = sleep(retry_in) => {}
                () = self.items.closed() => return Ok(()),
            }
        }
    }

    /// Runs one connection until it ends.
    async fn connect(&mut self) -> End {
        let resume_after = self.progress.tracker().resume_after();
        let after = resume_after.or_else(|| match &self.subscription.start {
            Start::After(cursor) => Some(cursor.clone()),
            Start::Cursor | Start::Now => None,
        });
        let mut parameters = self.subscription.parameters.clone();
        parameters.extend(after.iter().map(|after| ("after".to_owned(), after.to_string())));
        // The parts of a broken connection belong to an older snapshot.
        self.snapshot = (self.subscription.snapshot && after.is_none()).then(PartialSnapshot::default);
        parameters.extend(self.snapshot.as_ref().map(|_| ("snapshot".to_owned(), "true".to_owned())));
        let address = self.subscription.address.with_parameters(&parameters);
        let opened = tokio::select! {
            opened = Session::open(&address, &self.subscription.api_key, self.connector.clone()) => opened,
            () = self.items.closed() => return End::FeedDropped,
        };
        let mut session = match opened {
            Ok(session) => session,
            Err(end) => return end,
        };
        let mut acknowledged = self.acknowledged.clone();
        let end = self.listen(&mut session, after.as_ref(), &mut acknowledged).await;
        if let End::FeedDropped = end {
            // The last acknowledgement is sent before the close. The server may be gone already.
            let _ = self.acknowledge(&mut session, &mut acknowledged).await;
            session.close().await;
        }
        end
    }

    async fn listen(
        &mut self,
        session: &mut Session,
        after: Option<&Cursor>,
        acknowledged: &mut Acknowledged,
    ) -> End {
        // How long the server asks to wait, once it has announced its stop.
        let mut asked = None;
        // Before, it is not known whether the feed is still in the epoch of what was acknowledged.
        let mut is_connected = false;
        loop {
            let message = tokio::select! {
                message = session.next() => message,
                () = changed(acknowledged), if is_connected => {
                    match self.acknowledge(session, acknowledged).await {
                        Ok(()) => continue,
                        Err(end) => return end,
                    }
                }
                () = self.items.closed() => return End::FeedDropped,
            };
            let handled = match message {
                Ok(Message::Reconnect { after }) => {
                    asked = Some(after);
                    Ok(())
                }
                Ok(message) => {
                    is_connected |= matches!(message, Message::Connected { .. });
                    self.handle(message, after, acknowledged).await
                }
                Err(end) => Err(end),
            };
            match handled {
                Ok(()) => {}
                Err(End::Broken { reason, wait }) => return End::Broken { reason, wait: wait.or(asked) },
                Err(end) => return end,
            }
        }
    }

    async fn handle(
        &mut self,
        message: Message,
        after: Option<&Cursor>,
        acknowledged: &mut Acknowledged,
    ) -> Result<(), End> {
        match message {
            Message::Connected { epoch, seq, acked } => {
                let resumed = acked.or(after.map(|after| after.seq));
                (self.subscription.observer)(Notice::Connected { after: resumed, seq });
                // A feed with a snapshot starts once the snapshot is complete.
                if self.snapshot.is_some() {
                    self.progress.tracker().set_epoch(epoch);
                } else {
                    self.progress.tracker().connected(after, epoch, seq, acked, !self.has_connected);
                }
                self.has_connected = true;
                // The last acknowledgement may have been lost with the connection.
                acknowledged.iter_mut().for_each(watch::Receiver::mark_changed);
                self.progress.save().await.map_err(|error| End::Failed(FeedError::Cursor(error)))?;
            }
            Message::Event(event) => {
                let permit = self.items.reserve().await.map_err(|_| End::FeedDropped)?;
                if self.progress.tracker().deliver(event.seq) {
                    permit.send(Ok(Item::Event(event)));
                } else {
                    self.save().await;
                    // Its acknowledgement was lost.
                    acknowledged.iter_mut().for_each(watch::Receiver::mark_changed);
                }
            }
            Message::Snapshot(part) => {
                if let Some(snapshot) = self.snapshot.as_mut().and_then(|snapshot| snapshot.add(part)) {
                    let permit = self.items.reserve().await.map_err(|_| End::FeedDropped)?;
                    self.snapshot = None;
                    self.progress.tracker().jump_to(snapshot.seq);
                    permit.send(Ok(Item::Snapshot(snapshot)));
                }
            }
            Message::Gap(gap) => {
                let permit = self.items.reserve().await.map_err(|_| End::FeedDropped)?;
                let at = gap.resume_after();
                if gap.is_epoch_change() {
                    self.progress.tracker().change_epoch(gap.epoch.clone(), at);
                    permit.send(Ok(Item::EpochChanged(gap)));
                } else {
                    self.progress.tracker().jump_to(at);
                    permit.send(Ok(Item::Gap(gap)));
                }
            }
            Message::Cursor { seq } => {
                self.progress.tracker().skip_to(seq);
                self.save().await;
            }
            Message::Reconnect { .. } | Message::Unknown => {}
        }
        Ok(())
    }

    /// Sends the acknowledgement, if there is one. One of another epoch is about other events.
    async fn acknowledge(&self, session: &mut Session, acknowledged: &mut Acknowledged) -> Result<(), End> {
        let cursor = acknowledged.as_mut().and_then(|acknowledged| acknowledged.borrow_and_update().clone());
        let cursor = cursor.filter(|cursor| cursor.epoch.as_deref() == self.progress.tracker().epoch());
        match cursor {
            Some(cursor) => session.acknowledge(cursor.seq).await,
            None => Ok(()),
        }
    }

    /// Saves a cursor that moved without an acknowledgement. If that fails, the next save tries again.
    async fn save(&self) {
        if let Err(error) = self.progress.save().await {
            (self.subscription.observer)(Notice::CursorNotSaved(error));
        }
    }
}

/// Waits for a new acknowledgement to send.
async fn changed(acknowledged: &mut Acknowledged) {
    let changed = match acknowledged {
        Some(acknowledged) => acknowledged.changed().await,
        None => std::future::pending().await,
    };
    if changed.is_err() {
        // The feed was dropped: there will be no more acknowledgements.
        std::future::pending().await
    }
}
