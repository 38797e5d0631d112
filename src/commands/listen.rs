//! `cti-server listen`: follows the events of an app on the terminal, or passes them on to an address, and goes on where
//! it was: after a broken connection, and after it was ended and started again.
//!
//! | file | part |
//! |---|---|
//! | `state.rs` | where the cursor is kept between runs |
//! | `forward.rs` | passes events on, one after the other |

mod forward;
mod state;

use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

use cti_client::{FileCursor, Gap, Heard, InvalidSubscription, InvalidUrl, Stopped, Subscription};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::event::Event;
use super::interruption::Interruption;
use super::picture::{self, Look, Paint};
use forward::Forwarder;
use state::StateError;

/// What `--help` says at the end.
const EXIT_CODES: &str = "Events go to standard output, everything else to standard error.
Exit codes: 0 it was ended (Ctrl-C, SIGTERM, a closed output); 1 the server refuses the key or the request, or the cursor
can't be kept; 2 the command line is wrong.";

/// Follows the events of an app on the terminal, through broken connections, and goes on where it was
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct ListenArgs {
    /// The server
    #[arg(long, value_name = "URL", env = "PUBLIC_URL", default_value = "http://127.0.0.1:4000")]
    url: String,

    /// The key of the app
    #[arg(long, value_name = "KEY", env = "CTI_API_KEY", hide_env_values = true)]
    api_key: SecretString,

    /// Begins behind this event instead of where it was: 0 is the oldest that is kept, `now` what comes from now on
    #[arg(long, value_name = "SEQ")]
    after: Option<After>,

    /// Only events of these types, such as call.*,voicemail.received
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,

    /// Prints each event as JSON, one per line
    #[arg(long)]
    json: bool,

    /// Posts each event there as JSON, in order and until a 2xx answers; only then it counts as dealt with
    #[arg(long, value_name = "URL")]
    forward_to: Option<Url>,

    /// Keeps the cursor there; otherwise in the folder for state of the user, one per server and key
    #[arg(long, value_name = "FILE")]
    cursor_file: Option<PathBuf>,

    /// Prints without colours, as the environment's NO_COLOR does
    #[arg(long)]
    no_color: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Event(u64),
    Now,
}

impl FromStr for After {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "now" => Ok(Self::Now),
            _ => text.parse().map(Self::Event).map_err(|_| "must be a whole number, or now"),
        }
    }
}

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
            Self::Url(_) | Self::Subscription(_) | Self::NoKey | Self::ForwardTo => 2,
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
    let subscription = Subscription::new(&args.url, args.api_key.expose_secret())?;
    let path = match &args.cursor_file {
        Some(path) => path.clone(),
        None => state::path(&args.url, args.api_key.expose_secret())?,
    };
    let mut subscription = subscription
        .types(&args.types)
        .keep_cursor_in(FileCursor::new(&path))
        .observed_by(move |notice| say(hint, &notice.to_string()));
    match args.after {
        Some(After::Event(seq)) => subscription = subscription.after(seq),
        Some(After::Now) => subscription = subscription.from_now_on(),
        None => {}
    }
    say(hint, &format!("listening to {}; the cursor is kept in {}", args.url, path.display()));
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
