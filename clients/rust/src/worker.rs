//! Keeps a connection open, one after the other, and passes on what it says.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::Connector;

use crate::backoff::Backoff;
use crate::error::Stopped;
use crate::feed::{Heard, Notice, Places};
use crate::message::Message;
use crate::session::{End, Session};
use crate::subscription::{Begin, Subscription};
use crate::tls;

type Tell = mpsc::Sender<Result<Heard, Stopped>>;

/// Works until the feed is dropped, or can't be followed any more.
pub(crate) async fn work(subscription: Subscription, places: Arc<Places>, tell: Tell) {
    let connector = subscription.address.is_encrypted().then(tls::connector);
    let worker = Worker { subscription, places, tell, connector };
    if let Err(stopped) = worker.follow().await {
        // Nobody may be listening any more; then nobody misses it.
        let _ = worker.tell.send(Err(stopped)).await;
    }
}

struct Worker {
    subscription: Subscription,
    places: Arc<Places>,
    tell: Tell,
    connector: Option<Connector>,
}

impl Worker {
    async fn follow(&self) -> Result<(), Stopped> {
        match self.subscription.begin {
            Begin::WhereItWas => self.places.recall().await.map_err(Stopped::Cursor)?,
            Begin::After(seq) => self.places.ledger().begin(seq),
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
    async fn connect(&self) -> End {
        let after = self.places.ledger().resume_at();
        let mut wishes = self.subscription.wishes.clone();
        wishes.extend(after.map(|after| ("after".to_owned(), after.to_string())));
        let address = self.subscription.address.asking(&wishes);
        let opened = tokio::select! {
            opened = Session::open(&address, &self.subscription.api_key, self.connector.clone()) => opened,
            () = self.tell.closed() => return End::Unheard,
        };
        let mut session = match opened {
            Ok(session) => session,
            Err(end) => return end,
        };
        // How long the server asks to wait, once it has said that it is about to stop.
        let mut asked = None;
        loop {
            let said = tokio::select! {
                said = session.next() => said,
                () = self.tell.closed() => {
                    session.close().await;
                    return End::Unheard;
                }
            };
            let taken = match said {
                Ok(Message::Reconnect { after }) => {
                    asked = Some(after);
                    Ok(())
                }
                Ok(message) => self.take(message, after).await,
                Err(end) => Err(end),
            };
            match taken {
                Ok(()) => {}
                Err(End::Broken { reason, wait }) => return End::Broken { reason, wait: wait.or(asked) },
                Err(end) => return end,
            }
        }
    }

    async fn take(&self, message: Message, after: Option<u64>) -> Result<(), End> {
        match message {
            Message::Connected { seq } => {
                (self.subscription.observer)(Notice::Connected { after, seq });
                if after.is_none() {
                    // From here on nothing may be missed, whatever breaks before the first event comes.
                    self.places.ledger().begin(seq);
                }
                self.places.keep().await.map_err(|error| End::Stopped(Stopped::Cursor(error)))?;
            }
            Message::Event(event) => {
                let room = self.tell.reserve().await.map_err(|_| End::Unheard)?;
                if self.places.ledger().give(event.seq) {
                    room.send(Ok(Heard::Event(event)));
                }
            }
            Message::Gap(gap) => {
                let room = self.tell.reserve().await.map_err(|_| End::Unheard)?;
                self.places.ledger().give_gap(gap.go_on_from());
                room.send(Ok(Heard::Gap(gap)));
            }
            Message::Cursor { seq } => {
                self.places.ledger().pass(seq);
                if let Err(error) = self.places.keep().await {
                    (self.subscription.observer)(Notice::NotKept(error));
                }
            }
            Message::Reconnect { .. } | Message::Unknown => {}
        }
        Ok(())
    }
}
