//! Keeps a connection open, one after the other, and passes on what it says.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::Connector;

use crate::backoff::Backoff;
use crate::error::Stopped;
use crate::feed::{Heard, Notice, Places};
use crate::message::Message;
use crate::session::{End, Session};
use crate::snapshot::Pieces;
use crate::subscription::{Begin, Subscription};
use crate::tls;

type Tell = mpsc::Sender<Result<Heard, Stopped>>;

/// Works until the feed is dropped, or can't be followed any more. `acknowledged` is there where the server keeps the
/// place, and says what it is to be told.
pub(crate) async fn work(
    subscription: Subscription,
    places: Arc<Places>,
    acknowledged: Option<watch::Receiver<Option<u64>>>,
    tell: Tell,
) {
    let connector = subscription.address.is_encrypted().then(tls::connector);
    let mut worker =
        Worker { subscription, places, tell, acknowledged, connector, begun: false, pieces: None };
    if let Err(stopped) = worker.follow().await {
        if let Stopped::TakenOver(reason) = &stopped {
            worker.places.give_up();
            (worker.subscription.observer)(Notice::TakenOver { reason: reason.clone() });
        }
        // Nobody may be listening any more; then nobody misses it.
        let _ = worker.tell.send(Err(stopped)).await;
    }
}

struct Worker {
    subscription: Subscription,
    places: Arc<Places>,
    tell: Tell,
    acknowledged: Option<watch::Receiver<Option<u64>>>,
    connector: Option<Connector>,
    /// Whether the server has greeted once.
    begun: bool,
    /// What has come of the snapshot that this connection begins with, until it is complete.
    pieces: Option<Pieces>,
}

impl Worker {
    async fn follow(&mut self) -> Result<(), Stopped> {
        match self.subscription.begin {
            Begin::WhereItWas => self.places.recall().await.map_err(Stopped::Cursor)?,
            Begin::After(seq) => self.places.book().begin(seq),
            Begin::Now => {}
        }
        let mut backoff = Backoff::new(self.subscription.pace);
        loop {
            // A reader who takes nothing needs no connection: it would be closed for being slow.
            if self.tell.reserve().await.is_err() {
                return Ok(());
            }
            let began = Instant::now();
            let (reason, asked) = match self.connect().await {
                End::Broken { reason, wait } => (reason, wait),
                End::Stopped(stopped) => return Err(stopped),
                End::Unheard => return Ok(()),
            };
            let wait = backoff.wait(began.elapsed(), rand::random());
            let back_in = asked.map_or(wait, |asked| asked.max(wait));
            (self.subscription.observer)(Notice::Interrupted { reason, back_in });
            tokio::select! {
                () = sleep(back_in) => {}
                () = self.tell.closed() => return Ok(()),
            }
        }
    }

    /// One connection, to its end.
    async fn connect(&mut self) -> End {
        let resume_at = self.places.book().resume_at();
        let after = resume_at.or(match self.subscription.begin {
            Begin::After(seq) => Some(seq),
            Begin::WhereItWas | Begin::Now => None,
        });
        let mut wishes = self.subscription.wishes.clone();
        wishes.extend(after.map(|after| ("after".to_owned(), after.to_string())));
        // What had come of one on a broken connection is of another moment.
        self.pieces = (self.subscription.snapshot && after.is_none()).then(Pieces::default);
        wishes.extend(self.pieces.as_ref().map(|_| ("snapshot".to_owned(), "true".to_owned())));
        let address = self.subscription.address.asking(&wishes);
        let opened = tokio::select! {
            opened = Session::open(&address, &self.subscription.api_key, self.connector.clone()) => opened,
            () = self.tell.closed() => return End::Unheard,
        };
        let mut session = match opened {
            Ok(session) => session,
            Err(end) => return end,
        };
        let mut acknowledged = self.acknowledged.clone();
        let end = self.listen(&mut session, after, &mut acknowledged).await;
        if let End::Unheard = end {
            // What was done last is acknowledged before the goodbye. The server may be gone already.
            let _ = acknowledge(&mut session, &mut acknowledged).await;
            session.close().await;
        }
        end
    }

    async fn listen(
        &mut self,
        session: &mut Session,
        after: Option<u64>,
        acknowledged: &mut Option<watch::Receiver<Option<u64>>>,
    ) -> End {
        // How long the server asks to wait, once it has said that it is about to stop.
        let mut asked = None;
        loop {
            let said = tokio::select! {
                said = session.next() => said,
                () = changed(acknowledged) => {
                    match acknowledge(session, acknowledged).await {
                        Ok(()) => continue,
                        Err(end) => return end,
                    }
                }
                () = self.tell.closed() => return End::Unheard,
            };
            let taken = match said {
                Ok(Message::Reconnect { after }) => {
                    asked = Some(after);
                    Ok(())
                }
                Ok(message) => self.take(message, after, acknowledged).await,
                Err(end) => Err(end),
            };
            match taken {
                Ok(()) => {}
                Err(End::Broken { reason, wait }) => return End::Broken { reason, wait: wait.or(asked) },
                Err(end) => return end,
            }
        }
    }

    async fn take(
        &mut self,
        message: Message,
        after: Option<u64>,
        acknowledged: &mut Option<watch::Receiver<Option<u64>>>,
    ) -> Result<(), End> {
        match message {
            Message::Connected { seq, acked } => {
                (self.subscription.observer)(Notice::Connected { after: acked.or(after), seq });
                // A feed that begins with a snapshot has begun when that is whole.
                if self.pieces.is_none() {
                    self.places.book().connected(after, seq, acked, !self.begun);
                }
                self.begun = true;
                // The last acknowledgement may have been lost with the connection.
                acknowledged.iter_mut().for_each(watch::Receiver::mark_changed);
                self.places.keep().await.map_err(|error| End::Stopped(Stopped::Cursor(error)))?;
            }
            Message::Event(event) => {
                let room = self.tell.reserve().await.map_err(|_| End::Unheard)?;
                if self.places.book().give(event.seq) {
                    room.send(Ok(Heard::Event(event)));
                } else {
                    self.keep().await;
                    // Its acknowledgement was lost.
                    acknowledged.iter_mut().for_each(watch::Receiver::mark_changed);
                }
            }
            Message::Snapshot(piece) => {
                if let Some(snapshot) = self.pieces.as_mut().and_then(|pieces| pieces.add(piece)) {
                    let room = self.tell.reserve().await.map_err(|_| End::Unheard)?;
                    self.pieces = None;
                    self.places.book().give_place(snapshot.seq);
                    room.send(Ok(Heard::Snapshot(snapshot)));
                }
            }
            Message::Gap(gap) => {
                let room = self.tell.reserve().await.map_err(|_| End::Unheard)?;
                self.places.book().give_place(gap.go_on_from());
                room.send(Ok(Heard::Gap(gap)));
            }
            Message::Cursor { seq } => {
                self.places.book().pass(seq);
                self.keep().await;
            }
            Message::Reconnect { .. } | Message::Unknown => {}
        }
        Ok(())
    }

    /// Keeps what moved without anybody's doing. What fails is tried again with the next one.
    async fn keep(&self) {
        if let Err(error) = self.places.keep().await {
            (self.subscription.observer)(Notice::NotKept(error));
        }
    }
}

/// Waits until there is something new to acknowledge.
async fn changed(acknowledged: &mut Option<watch::Receiver<Option<u64>>>) {
    let changed = match acknowledged {
        Some(acknowledged) => acknowledged.changed().await,
        None => std::future::pending().await,
    };
    if changed.is_err() {
        // Nobody can say anything new any more.
        std::future::pending().await
    }
}

/// Acknowledges what is new.
async fn acknowledge(
    session: &mut Session,
    acknowledged: &mut Option<watch::Receiver<Option<u64>>>,
) -> Result<(), End> {
    let seq = acknowledged.as_mut().and_then(|acknowledged| *acknowledged.borrow_and_update());
    match seq {
        Some(seq) => session.acknowledge(seq).await,
        None => Ok(()),
    }
}
