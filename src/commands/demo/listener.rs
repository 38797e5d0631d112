//! The CRM of the demo: follows an app's events with the client that CRMs use, and notes when each of them arrived.

use std::time::Duration;

use cti_client::{InvalidSubscription, InvalidUrl, Notice, Stopped, Subscription};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::commands::event::Arrival;
use cti_simulator::clock;

/// How long the first connection may take.
const GREETED_WITHIN: Duration = Duration::from_secs(10);

/// A CRM at work.
pub(super) struct Listener {
    /// The place of the newest event before ours.
    head: i64,
    feed: cti_client::Feed,
    interruptions: mpsc::UnboundedReceiver<String>,
}

/// What a listener has to report.
#[derive(Debug)]
pub(super) enum Heard {
    /// An event.
    Event(Box<Arrival>),
    /// The connection broke, for this reason; it is being opened again.
    Interrupted(String),
    /// Nothing more will come.
    Gone(ListenError),
}

/// Why there are no events to be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// There is no server at such an address.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// What was asked for does not go together.
    #[error(transparent)]
    Subscription(#[from] InvalidSubscription),
    /// The server did not greet.
    #[error("the WebSocket is not open within {} s", GREETED_WITHIN.as_secs())]
    NotGreeted,
    /// The server does not want us.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A message is no event.
    #[error("unreadable event ({error}): {text}")]
    Unreadable {
        /// What is wrong with it.
        error: serde_json::Error,
        /// The message.
        text: String,
    },
    /// The server says that events are missing, on a feed that is as young as the demo.
    #[error("the server does not know its events any more: {0}")]
    Gap(String),
    /// Nothing more will come.
    #[error("the feed ended")]
    Ended,
}

impl Listener {
    /// Connects; when this returns, every event from then on will be heard.
    pub(super) async fn open(base_url: &str, api_key: &str) -> Result<Self, ListenError> {
        let (greet, greeting) = oneshot::channel();
        let greet = std::sync::Mutex::new(Some(greet));
        let (tell, interruptions) = mpsc::unbounded_channel();
        let observer = move |notice: Notice| match notice {
            Notice::Connected { seq, .. } => {
                let first = greet.lock().ok().and_then(|mut greet| greet.take());
                // Whoever waited for the greeting may have given up.
                first.map(|greet| greet.send(seq));
            }
            Notice::Interrupted { reason, .. } => {
                // Nobody may be listening any more; then nobody misses it.
                let _ = tell.send(reason);
            }
            _ => {}
        };
        let feed = Subscription::new(base_url, api_key)?.observed_by(observer).open()?;
        let greeted = timeout(GREETED_WITHIN, greeting).await.ok().and_then(Result::ok);
        let head = greeted.and_then(|seq| i64::try_from(seq).ok()).ok_or(ListenError::NotGreeted)?;
        Ok(Self { head, feed, interruptions })
    }

    /// The place in the feed behind which its events begin.
    pub(super) fn head(&self) -> i64 {
        self.head
    }

    /// What comes next. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Heard {
        let heard = tokio::select! {
            heard = self.feed.next() => heard,
            Some(reason) = self.interruptions.recv() => return Heard::Interrupted(reason),
        };
        // Taken before anything else is done with it: it ends the measured way.
        let at = clock::now().timestamp_micros();
        match heard {
            Some(Ok(cti_client::Heard::Event(event))) => match serde_json::from_str(&event.json) {
                Ok(read) => Heard::Event(Box::new(Arrival { at, text: event.json, event: read })),
                Err(error) => Heard::Gone(ListenError::Unreadable { error, text: event.json }),
            },
            Some(Ok(cti_client::Heard::Snapshot(_))) => {
                unreachable!("one comes to nobody who has not asked for it")
            }
            Some(Ok(cti_client::Heard::Gap(gap))) => Heard::Gone(ListenError::Gap(gap.reason)),
            Some(Err(stopped)) => Heard::Gone(stopped.into()),
            None => Heard::Gone(ListenError::Ended),
        }
    }

    /// Says goodbye to the server.
    pub(super) async fn close(self) {
        self.feed.close().await;
    }
}
