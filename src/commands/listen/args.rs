//! What the command line says, and what is to be followed by it.

use std::path::PathBuf;
use std::str::FromStr;

use cti_client::{FileCursor, Subscription};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::{ListenError, state};

/// What `--help` says at the end.
const EXIT_CODES: &str = "Events go to standard output, everything else to standard error.
Exit codes: 0 it was ended (Ctrl-C, SIGTERM, a closed output); 1 the server refuses the key or the request, or the cursor
can't be kept; 2 the command line is wrong; 3 a newer connection of the consumer took over, or the consumer was deleted.";

/// Follows the events of an app on the terminal, through broken connections, and goes on where it was
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct ListenArgs {
    /// The server
    #[arg(long, value_name = "URL", env = "PUBLIC_URL", default_value = "http://127.0.0.1:4000")]
    pub(super) url: String,

    /// The key of the app
    #[arg(long, value_name = "KEY", env = "CTI_API_KEY", hide_env_values = true)]
    pub(super) api_key: SecretString,

    /// Begins behind this event instead of where it was: 0 is the oldest that is kept, `now` what comes from now on
    #[arg(long, value_name = "SEQ")]
    after: Option<After>,

    /// Only events of these types, such as call.*,voicemail.received
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    pub(super) types: Vec<String>,

    /// Prints each event as JSON, one per line
    #[arg(long)]
    pub(super) json: bool,

    /// Posts each event there as JSON, in order and until a 2xx answers; only then it counts as dealt with
    #[arg(long, value_name = "URL")]
    pub(super) forward_to: Option<Url>,

    /// Lets the server keep the cursor, as that of this consumer: an event is acknowledged once it is dealt with. A new
    /// consumer begins with what comes from now on; a newer connection of it takes over
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,

    /// Keeps the cursor there; otherwise in the folder for state of the user, one per server and key
    #[arg(long, value_name = "FILE")]
    cursor_file: Option<PathBuf>,

    /// Prints without colours, as the environment's NO_COLOR does
    #[arg(long)]
    pub(super) no_color: bool,
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

impl ListenArgs {
    /// Where it begins, and in so many words who keeps the cursor.
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
            let keeper = format!("the server keeps the cursor of the consumer {consumer}");
            return Ok((subscription.as_consumer(consumer), keeper));
        }
        let path = match &self.cursor_file {
            Some(path) => path.clone(),
            None => state::path(&self.url, key)?,
        };
        let subscription = subscription.keep_cursor_in(FileCursor::new(&path));
        let keeper = format!("the cursor is kept in {}", path.display());
        Ok((
            match self.after {
                Some(After::Event(seq)) => subscription.after(seq),
                Some(After::Now) => subscription.from_now_on(),
                None => subscription,
            },
            keeper,
        ))
    }
}
