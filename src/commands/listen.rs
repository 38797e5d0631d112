//! `cti-server listen`: follows the events of an app on the terminal, or passes them on to an address, and goes on where
//! it was: after a broken connection, and after it was ended and started again. Where it was it keeps itself, or the
//! server for it, under the name of a consumer.
//!
//! | file | part |
//! |---|---|
//! | `args.rs` | the command line |
//! | `state.rs` | where the cursor is kept between runs |
//! | `forward.rs` | passes events on, one after the other |

mod args;
mod forward;
mod state;

use std::io::{self, Write};
use std::pin::pin;
use std::time::Duration;

use cti_client::{Gap, Heard, InvalidSubscription, InvalidUrl, Notice, Stopped};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::event::Event;
use super::interruption::Interruption;
use super::picture::{self, Look, Paint};
pub use args::ListenArgs;
use forward::Forwarder;
use state::StateError;

/// Why it ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// There is no server at such an address.
    #[error("--url: {0}")]
    Url(#[from] InvalidUrl),
    /// What is asked for does not go together.
    #[error(transparent)]
    Subscription(#[from] InvalidSubscription),
    /// There is nothing to authenticate with.
    #[error("the API key is empty (--api-key or CTI_API_KEY)")]
    NoKey,
    /// Events can't be posted there.
    #[error("--forward-to: is not an http(s) address")]
    ForwardTo,
    /// The server keeps the cursor, and yet there is to be another one.
    #[error(
        "--consumer: the server keeps the cursor then, and the consumer goes on where it stands; leave out {0}"
    )]
    TwoCursors(&'static str),
    /// There is no place for the cursor.
    #[error(transparent)]
    State(#[from] StateError),
    /// The server does not want us, or the cursor can't be used.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Nothing can be printed, or the cursor can't be kept.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ListenError {
    /// What to exit with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Url(_) | Self::Subscription(_) | Self::NoKey | Self::ForwardTo | Self::TwoCursors(_) => 2,
            Self::Stopped(Stopped::TakenOver(_)) => 3,
            Self::State(_) | Self::Stopped(_) | Self::Io(_) => 1,
        }
    }
}

/// How long the cursor may lag behind what is printed: writing it is slow beside printing.
const KEEP_WITHIN: Duration = Duration::from_millis(200);

/// Runs until it is ended, or refused.
///
/// # Errors
///
/// The server refuses, or the cursor can't be kept.
pub async fn run(args: ListenArgs) -> Result<(), ListenError> {
    let mut interruption = Interruption::new()?;
    let hint = Paint::on(&io::stderr(), args.no_color);
    if args.api_key.expose_secret().is_empty() {
        return Err(ListenError::NoKey);
    }
    let forwarder = args.forward_to.clone().map(Forwarder::to).transpose()?;
    let (tell, mut taken_over) = mpsc::unbounded_channel();
    let (subscription, keeper) = args.subscription()?;
    let subscription = subscription.observed_by(move |notice| match notice {
        // Nobody is listening any more where it is ending anyway.
        Notice::TakenOver { reason } => drop(tell.send(reason)),
        notice => say(hint, &notice.to_string()),
    });
    say(hint, &format!("listening to {}; {keeper}", args.url));
    if let Some(forwarder) = &forwarder {
        say(hint, &format!("passing events on to {forwarder}"));
    }
    let mut listener = Listener {
        look: Look::choose(args.json, args.no_color),
        hint,
        forwarder,
        feed: subscription.open()?,
        unsaved: None,
    };
    let followed = tokio::select! {
        followed = listener.follow() => followed,
        // Told at once, even while an event that is the newer one's now can't be passed on.
        Some(reason) = taken_over.recv() => Err(Stopped::TakenOver(reason).into()),
        () = interruption.comes() => Ok(()),
    };
    let saved = listener.save().await;
    listener.feed.close().await;
    match followed.and(saved.map_err(ListenError::Io)) {
        // Whoever closes our output (`| head`) has seen enough.
        Err(ListenError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

struct Listener {
    look: Look,
    hint: Paint,
    forwarder: Option<Forwarder>,
    feed: cti_client::Feed,
    /// What was dealt with and is not kept yet, and since when.
    unsaved: Option<(u64, Instant)>,
}

impl Listener {
    /// Until the feed ends. Dropping the future loses nothing that was dealt with.
    async fn follow(&mut self) -> Result<(), ListenError> {
        loop {
            let unsaved_since = self.unsaved.map(|(_, since)| since);
            let due = pin!(async {
                match unsaved_since {
                    Some(since) => sleep_until(since + KEEP_WITHIN).await,
                    None => std::future::pending().await,
                }
            });
            let heard = tokio::select! {
                biased;
                () = due => {
                    self.save().await?;
                    continue;
                }
                heard = self.feed.next() => heard,
            };
            match heard.transpose()? {
                Some(Heard::Event(event)) => self.take(&event).await?,
                Some(Heard::Gap(gap)) => self.report(&gap)?,
                // It was not asked for.
                Some(Heard::Snapshot(_)) => {}
                None => return Ok(()),
            }
        }
    }

    async fn take(&mut self, event: &cti_client::Event) -> Result<(), ListenError> {
        print(&match self.look {
            Look::Json => event.json.clone(),
            Look::Text(paint) => line(paint, event),
        })?;
        if let Some(forwarder) = &self.forwarder {
            forwarder.deliver(event, |failure| say(self.hint, &failure)).await;
            self.feed.done(event.seq).await?;
        } else {
            self.dealt_with(event.seq);
        }
        Ok(())
    }

    fn report(&mut self, gap: &Gap) -> Result<(), ListenError> {
        let Gap { reason, from_seq, to_seq, .. } = gap;
        if let Look::Json = self.look {
            print(
                &json!({"type": "gap", "reason": reason, "from_seq": from_seq, "to_seq": to_seq}).to_string(),
            )?;
        }
        say(
            self.hint,
            &format!("events {from_seq} to {to_seq} are missing ({reason}): see GET /api/calls?since=…"),
        );
        self.dealt_with(gap.go_on_from());
        Ok(())
    }

    fn dealt_with(&mut self, seq: u64) {
        let since = self.unsaved.map_or_else(Instant::now, |(_, since)| since);
        self.unsaved = Some((seq, since));
    }

    async fn save(&mut self) -> io::Result<()> {
        if let Some((seq, _)) = self.unsaved {
            self.feed.done(seq).await?;
            self.unsaved = None;
        }
        Ok(())
    }
}

/// One event for people, at the instant of what caused it, with its place in the feed.
fn line(paint: Paint, event: &cti_client::Event) -> String {
    let at = event.timestamp.unwrap_or_default().saturating_mul(1_000_000);
    let shown: Event = serde_json::from_str(&event.json).unwrap_or_else(|_| Event::named(&event.kind));
    picture::line(paint, at, &shown, &format!("#{}", event.seq))
}

/// One write for a whole line: whoever reads it never sees half of one.
fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}

/// Tells the person what happens. Without anybody to tell there is nobody to miss it.
fn say(paint: Paint, text: &str) {
    let line = format!("{}\n", paint.dim(&picture::harmless(text)));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
