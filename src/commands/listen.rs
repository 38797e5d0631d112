//! `cti-server listen`: prints the events of an app, or forwards them to a URL. It resumes after the last event, both after
//! a broken connection and in the next run. The cursor is stored in a file, or by the server for a consumer.
//!
//! | file | content |
//! |---|---|
//! | `args.rs` | the command line |
//! | `state.rs` | the cursor file between runs |
//! | `forward.rs` | forwards events, one after the other |

mod args;
mod forward;
mod state;

use std::io::{self, Write};
use std::pin::pin;
use std::time::Duration;

use cti_client::{FeedError, Gap, InvalidSubscription, InvalidUrl, Item, Notice};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::event::Event;
use super::output::{self, ColorChoice, Format};
use super::shutdown_signal::ShutdownSignal;
pub use args::ListenArgs;
use forward::Forwarder;
use state::StateError;

/// Why `listen` failed.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The server's address is invalid.
    #[error("--url: {0}")]
    Url(#[from] InvalidUrl),
    /// Options can't be combined.
    #[error(transparent)]
    Subscription(#[from] InvalidSubscription),
    /// The API key is empty.
    #[error("the API key is empty (--api-key or CTI_API_KEY)")]
    NoKey,
    /// The URL to forward to is invalid.
    #[error("--forward-to: is not an http(s) address")]
    ForwardTo,
    /// `--consumer` was combined with an option for a cursor of its own.
    #[error("--consumer: the server stores the cursor, and the consumer resumes from it; leave out {0}")]
    TwoCursors(&'static str),
    /// There is no folder for the cursor.
    #[error(transparent)]
    State(#[from] StateError),
    /// The server refused the request, or the cursor can't be used.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The output failed, or the cursor can't be saved.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ListenError {
    /// Returns the exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Url(_) | Self::Subscription(_) | Self::NoKey | Self::ForwardTo | Self::TwoCursors(_) => 2,
            Self::Feed(FeedError::TakenOver(_)) => 3,
            Self::State(_) | Self::Feed(_) | Self::Io(_) => 1,
        }
    }
}

/// How long the cursor may lag behind the output: saving it is slower than printing.
const MAX_SAVE_DELAY: Duration = Duration::from_millis(200);

/// Runs until a signal or a refusal.
///
/// # Errors
///
/// Fails if the server refuses, or the cursor can't be saved.
pub async fn run(args: ListenArgs) -> Result<(), ListenError> {
    let mut shutdown = ShutdownSignal::new()?;
    let color = ColorChoice::for_output(&io::stderr(), args.no_color);
    if args.api_key.expose_secret().is_empty() {
        return Err(ListenError::NoKey);
    }
    let forwarder = args.forward_to.clone().map(Forwarder::new).transpose()?;
    let (taken_over_tx, mut taken_over) = mpsc::unbounded_channel();
    let (subscription, cursor) = args.subscription()?;
    let subscription = subscription.on_notice(move |notice| match notice {
        // The receiver is gone only if the command is already ending.
        Notice::TakenOver { reason } => drop(taken_over_tx.send(reason)),
        notice => status(color, &notice.to_string()),
    });
    status(color, &format!("listening to {}; {cursor}", args.url));
    if let Some(forwarder) = &forwarder {
        status(color, &format!("forwarding events to {forwarder}"));
    }
    let mut listener = Listener {
        format: Format::choose(args.json, args.no_color),
        status_color: color,
        forwarder,
        feed: subscription.open()?,
        unsaved: None,
    };
    let result = tokio::select! {
        result = listener.follow() => result,
        // Handled at once, even while an event can't be forwarded: it belongs to the newer connection.
        Some(reason) = taken_over.recv() => Err(FeedError::TakenOver(reason).into()),
        () = shutdown.recv() => Ok(()),
    };
    let saved = listener.save().await;
    listener.feed.close().await;
    match result.and(saved.map_err(ListenError::Io)) {
        // The reader of our output (`| head`) closed it.
        Err(ListenError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

struct Listener {
    format: Format,
    status_color: ColorChoice,
    forwarder: Option<Forwarder>,
    feed: cti_client::Feed,
    /// The last processed event that is not saved yet, and since when.
    unsaved: Option<(u64, Instant)>,
}

impl Listener {
    /// Follows until the feed ends. Dropping the future loses nothing that was processed.
    async fn follow(&mut self) -> Result<(), ListenError> {
        loop {
            let unsaved_since = self.unsaved.map(|(_, since)| since);
            let due = pin!(async {
                match unsaved_since {
                    Some(since) => sleep_until(since + MAX_SAVE_DELAY).await,
                    None => std::future::pending().await,
                }
            });
            let item = tokio::select! {
                biased;
                () = due => {
                    self.save().await?;
                    continue;
                }
                item = self.feed.next() => item,
            };
            match item.transpose()? {
                Some(Item::Event(event)) => self.handle(&event).await?,
                Some(Item::Gap(gap)) => self.report(&gap, missing(&gap))?,
                Some(Item::EpochChanged(gap)) => self.report(&gap, restored(&gap))?,
                // It was not requested.
                Some(Item::Snapshot(_)) => {}
                None => return Ok(()),
            }
        }
    }

    async fn handle(&mut self, event: &cti_client::Event) -> Result<(), ListenError> {
        print(&match self.format {
            Format::Json => event.json.clone(),
            Format::Text(color) => line(color, event),
        })?;
        if let Some(forwarder) = &self.forwarder {
            forwarder.deliver(event, |failure| status(self.status_color, &failure)).await;
            self.feed.ack(event.seq).await?;
        } else {
            self.mark_processed(event.seq);
        }
        Ok(())
    }

    fn report(&mut self, gap: &Gap, meaning: String) -> Result<(), ListenError> {
        let Gap { reason, epoch, from_seq, to_seq, from_at, until_at, .. } = gap;
        if let Format::Json = self.format {
            let line = json!({
                "type": "gap", "reason": reason, "epoch": epoch, "from_seq": from_seq, "to_seq": to_seq,
                "from_at": from_at, "until_at": until_at,
            });
            print(&line.to_string())?;
        }
        status(self.status_color, &meaning);
        self.mark_processed(gap.resume_after());
        Ok(())
    }

    fn mark_processed(&mut self, seq: u64) {
        let since = self.unsaved.map_or_else(Instant::now, |(_, since)| since);
        self.unsaved = Some((seq, since));
    }

    async fn save(&mut self) -> io::Result<()> {
        if let Some((seq, _)) = self.unsaved {
            self.feed.ack(seq).await?;
            self.unsaved = None;
        }
        Ok(())
    }
}

fn missing(gap: &Gap) -> String {
    let Gap { reason, from_seq, to_seq, from_at, .. } = gap;
    let since = from_at.as_deref().unwrap_or("…");
    format!("events {from_seq} to {to_seq} are missing ({reason}): see GET /api/calls?since={since}")
}

fn restored(gap: &Gap) -> String {
    format!(
        "the server's database was restored, or has lost events: read everything again, such as GET /api/calls/active; \
         continuing after event {}",
        gap.resume_after()
    )
}

/// Formats one event, at the time of its cause, with its `seq` in the last column.
fn line(color: ColorChoice, event: &cti_client::Event) -> String {
    let at = event.timestamp.unwrap_or_default().saturating_mul(1_000_000);
    let shown: Event = serde_json::from_str(&event.json).unwrap_or_else(|_| Event::named(&event.kind));
    output::line(color, at, &shown, &format!("#{}", event.seq))
}

/// Writes a whole line at once, so that a reader never sees half of one.
fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}

/// Prints a status message to standard error. A closed standard error is ignored.
fn status(color: ColorChoice, text: &str) {
    let line = format!("{}\n", color.dim(&output::without_control_chars(text)));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
