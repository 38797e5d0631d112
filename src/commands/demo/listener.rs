//! The CRM of the demo: follows an app's events with the Rust client, and records when each arrived.

use std::time::Duration;

use cti_client::{FeedError, InvalidSubscription, InvalidUrl, Notice, Subscription};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::commands::event::Arrival;
use cti_simulator::clock;

/// How long the first connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connected CRM.
pub(super) struct Listener {
    /// The `seq` of the newest event at the time of the connection.
    head: i64,
    feed: cti_client::Feed,
    disconnections: mpsc::UnboundedReceiver<String>,
}

/// What a listener reports.
#[derive(Debug)]
pub(super) enum Incoming {
    /// An event.
    Event(Box<Arrival>),
    /// The connection broke, for this reason; it is being reopened.
    Disconnected(String),
    /// The feed ended.
    Failed(ListenError),
}

/// Why the feed ended.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The server's address is invalid.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// Options can't be combined.
    #[error(transparent)]
    Subscription(#[from] InvalidSubscription),
    /// The server did not send `connected` in time.
    #[error("the WebSocket is not open within {} s", CONNECT_TIMEOUT.as_secs())]
    NotConnected,
    /// The server refused the connection.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A message is not an event.
    #[error("unreadable event ({error}): {text}")]
    Unreadable {
        /// The error.
        error: serde_json::Error,
        /// The message.
        text: String,
    },
    /// The server reports missing events, although the feed is as young as the demo.
    #[error("the server no longer stores the events: {0}")]
    Gap(String),
    /// The feed ended without an error.
    #[error("the feed ended")]
    Ended,
}

impl Listener {
    /// Connects; every event after the return is received.
    pub(super) async fn open(base_url: &str, api_key: &str) -> Result<Self, ListenError> {
        let (connected_tx, connected_rx) = oneshot::channel();
        let connected_tx = std::sync::Mutex::new(Some(connected_tx));
        let (disconnected_tx, disconnections) = mpsc::unbounded_channel();
        let observer = move |notice: Notice| match notice {
            Notice::Connected { seq, .. } => {
                let first = connected_tx.lock().ok().and_then(|mut sender| sender.take());
                // The receiver may have timed out.
                first.map(|sender| sender.send(seq));
            }
            Notice::Disconnected { reason, .. } => {
                // The receiver may be gone.
                let _ = disconnected_tx.send(reason);
            }
            _ => {}
        };
        let feed = Subscription::new(base_url, api_key)?.on_notice(observer).open()?;
        let connected = timeout(CONNECT_TIMEOUT, connected_rx).await.ok().and_then(Result::ok);
        let head = connected.and_then(|seq| i64::try_from(seq).ok()).ok_or(ListenError::NotConnected)?;
        Ok(Self { head, feed, disconnections })
    }

    /// Returns the `seq` of the newest event at the time of the connection.
    pub(super) fn head(&self) -> i64 {
        self.head
    }

    /// Returns what comes next. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Incoming {
        let incoming = tokio::select! {
            incoming = self.feed.next() => incoming,
            Some(reason) = self.disconnections.recv() => return Incoming::Disconnected(reason),
        };
        // The clock is read first: it ends the measured latency.
        let at = clock::now().timestamp_micros();
        match incoming {
            Some(Ok(cti_client::Item::Event(event))) => match serde_json::from_str(&event.json) {
                Ok(read) => Incoming::Event(Box::new(Arrival { at, text: event.json, event: read })),
                Err(error) => Incoming::Failed(ListenError::Unreadable { error, text: event.json }),
            },
            Some(Ok(cti_client::Item::Snapshot(_))) => {
                unreachable!("a snapshot comes only if it is requested")
            }
            Some(Ok(cti_client::Item::Gap(gap) | cti_client::Item::EpochChanged(gap))) => {
                Incoming::Failed(ListenError::Gap(gap.reason))
            }
            Some(Err(error)) => Incoming::Failed(error.into()),
            None => Incoming::Failed(ListenError::Ended),
        }
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        self.feed.close().await;
    }
}
