//! The command line of `listen`, and the subscription that it asks for.

use std::path::PathBuf;
use std::str::FromStr;

use cti_client::{Cursor, FileCursor, InvalidCursor, Subscription};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::{ListenError, state};

/// The end of the help text.
const EXIT_CODES: &str = "Events go to standard output, everything else to standard error.
Exit codes: 0 stopped by Ctrl-C, SIGTERM or a closed output; 1 the server refused the key or the request, or the cursor
can't be saved; 2 the command line is wrong; 3 a newer connection of the consumer took over, or the consumer was deleted.";

/// Prints the events of an app, reconnects, and resumes where it stopped
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct ListenArgs {
    /// The server
    #[arg(long, value_name = "URL", env = "PUBLIC_URL", default_value = "http://127.0.0.1:4000")]
    pub(super) url: String,

    /// The key of the app
    #[arg(long, value_name = "KEY", env = "CTI_API_KEY", hide_env_values = true)]
    pub(super) api_key: SecretString,

    /// Resumes after this event instead of the stored cursor, SEQ or EPOCH:SEQ; 0 is the oldest stored event, `now` only new
    /// events
    #[arg(long, value_name = "CURSOR")]
    after: Option<After>,

    /// Only events of these types, such as call.*,voicemail.received
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    pub(super) types: Vec<String>,

    /// Prints each event as JSON, one per line
    #[arg(long)]
    pub(super) json: bool,

    /// Posts each event there as JSON, in order, until a 2xx answers; only then it is processed
    #[arg(long, value_name = "URL")]
    pub(super) forward_to: Option<Url>,

    /// Lets the server store the cursor of this consumer, and acknowledges processed events. A new consumer starts with
    /// new events; a newer connection of it takes over
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,

    /// The file of the cursor; by default one per server and key in the user's state folder
    #[arg(long, value_name = "FILE")]
    cursor_file: Option<PathBuf>,

    /// Prints without colors, like the environment variable NO_COLOR
    #[arg(long)]
    pub(super) no_color: bool,
}

/// Where to start.
#[derive(Clone, Debug, PartialEq, Eq)]
enum After {
    Event(Cursor),
    Now,
}

/// A text is no start.
#[derive(Debug, thiserror::Error)]
#[error("{0}, or now")]
struct InvalidAfter(InvalidCursor);

impl FromStr for After {
    type Err = InvalidAfter;

    fn from_str(text: &str) -> Result<Self, InvalidAfter> {
        match text {
            "now" => Ok(Self::Now),
            _ => text.parse().map(Self::Event).map_err(InvalidAfter),
        }
    }
}

impl ListenArgs {
    /// Returns the subscription, and a sentence about where its cursor is stored.
    pub(super) fn subscription(&self) -> Result<(Subscription, String), ListenError> {
        let key = self.api_key.expose_secret();
        let subscription = Subscription::new(&self.url, key)?.types(&self.types);
        if let Some(consumer) = &self.consumer {
            if self.after.is_some() {
                return Err(ListenError::TwoCursors("--after"));
            }
            if self.cursor_file.is_some() {
                return Err(ListenError::TwoCursors("--cursor-file"));
            }
            let cursor = format!("the server stores the cursor of the consumer {consumer}");
            return Ok((subscription.consumer(consumer), cursor));
        }
        let path = match &self.cursor_file {
            Some(path) => path.clone(),
            None => state::path(&self.url, key)?,
        };
        let subscription = subscription.cursor_store(FileCursor::new(&path));
        let cursor = format!("the cursor is stored in {}", path.display());
        let subscription = match &self.after {
            Some(After::Event(cursor)) => subscription.after_cursor(cursor.clone()),
            Some(After::Now) => subscription.from_now(),
            None => subscription,
        };
        Ok((subscription, cursor))
    }
}
