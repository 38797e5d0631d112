//! `cti-server demo`: the main job with nothing set up. A server, a simulated Dialpad and a CRM meet on this machine
//! over real HTTP and a real WebSocket; every event is shown as the CRM receives it, and at the end all are accounted for.
//!
//! | file | part |
//! |---|---|
//! | `stage.rs` | simulator, server and an app that is connected to both |
//! | `listener.rs` | the CRM: follows the app's events on a WebSocket |
//! | `show.rs` | puts what arrives and what was sent together, and prints it |
//! | `tally.rs` | the account: what was sent, received, lost, told twice, and how fast |
//! | `opening.rs`, `closing.rs` | what is said before and after the events |

mod closing;
mod folder;
mod listener;
mod opening;
mod server;
mod show;
mod stage;
mod tally;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::interruption::Interruption;
use super::picture::Look;
use cti_simulator::{FlowChoice, FlowRequest, InvalidFlowRequest, clock};
use listener::{Heard, ListenError, Listener};
use show::Show;
use stage::{Stage, StageError};
use tally::Summary;

/// Shows live call events from end to end, with nothing set up: embedded database, simulated Dialpad, one app
#[derive(clap::Args)]
pub struct DemoArgs {
    /// Ends after so many complete calls and fails if an event was lost or told twice; without it, until Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,

    /// Keeps the database there; a temporary folder otherwise
    #[arg(long, value_name = "PATH")]
    folder: Option<PathBuf>,

    /// How many calls begin in a second
    #[arg(long, value_name = "PER_SECOND", default_value_t = 1.0, value_parser = rate)]
    rate: f64,

    /// Scales the time within a call: 1 takes as long as a real call, 0 does not wait
    #[arg(long, default_value_t = 0.03, value_parser = pace)]
    pace: f64,

    /// Where all chance comes from; another one each time if left out
    #[arg(long)]
    seed: Option<u64>,

    /// What happens: answered, missed, voicemail, hold, outbound, queue, transfer, warm-transfer, park, merge, message
    /// or mixed
    #[arg(long, value_name = "NAME", default_value = "mixed")]
    flow: FlowChoice,

    /// Prints a JSON object per line: what runs where, each event as it came, the summary
    #[arg(long)]
    json: bool,

    /// Where the server listens; any free port if left out
    #[arg(long, default_value_t = 0)]
    port: u16,

    /// Prints without colours, as the environment's NO_COLOR does
    #[arg(long)]
    no_color: bool,
}

/// Why a demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something that takes part did not start.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The WebSocket could not be opened, or not again.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The flow cannot be played like that.
    #[error("--flow: {0}")]
    Flow(#[from] InvalidFlowRequest),
    /// The server broke its promise.
    #[error("{lost} events lost, {duplicated} duplicated")]
    Broken {
        /// Events that a webhook had to cause and that did not arrive.
        lost: u64,
        /// Events that arrived more often than webhooks caused them.
        duplicated: u64,
    },
    /// Nothing can be printed, or signals cannot be waited for.
    #[error(transparent)]
    Terminal(#[from] io::Error),
}

/// From the last delivery until a missing event counts as lost.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(10);
/// From the last delivery until an event that should not come is not looked for any more.
const QUIET: Duration = Duration::from_millis(300);
/// How often the simulator's book of deliveries is read: that is also how late a line may appear.
const GLANCE: Duration = Duration::from_millis(10);

/// Runs until all calls are accounted for, or until Ctrl-C.
///
/// # Errors
///
/// Something could not be started, or an event was lost or told twice.
pub async fn run(args: DemoArgs) -> Result<(), DemoError> {
    let mut interruption = Interruption::new()?;
    let look = Look::choose(args.json, args.no_color);
    // A short one: somebody may want to type it again.
    let seed = args.seed.unwrap_or_else(|| rand::random::<u16>().into());
    let stage = tokio::select! {
        stage = Stage::set(args.folder.clone(), args.port, seed) => stage?,
        () = interruption.comes() => return Ok(()),
    };
    let watched = watch(&stage, &args, look, &mut interruption).await;
    tokio::select! {
        () = stage.clear() => {}
        // Asked once more, and in a hurry: what is not told to stop ends with the process.
        () = interruption.comes() => {}
    }
    match watched {
        // Whoever closes our output (`| head`) has seen enough.
        Err(DemoError::Terminal(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error),
        Ok(Summary { lost, duplicated, .. }) if args.calls.is_some() && lost + duplicated > 0 => {
            Err(DemoError::Broken { lost, duplicated })
        }
        Ok(_) => Ok(()),
    }
}

async fn watch(
    stage: &Stage,
    args: &DemoArgs,
    look: Look,
    interruption: &mut Interruption,
) -> Result<Summary, DemoError> {
    let mut listener = Listener::open(stage.base_url(), &stage.app.api_key).await?;
    let mut show = Show::new(look, listener.head());
    show.open(stage, args)?;
    let run_id = stage.simulator.play(FlowRequest {
        calls: args.calls,
        rate: args.rate,
        pace: args.pace,
        seed: Some(stage.seed),
        ..FlowRequest::new(args.flow)
    })?;

    let mut glances = interval(GLANCE);
    glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ending: Option<Ending> = None;
    loop {
        tokio::select! {
            heard = listener.next() => match heard {
                Heard::Event(arrival) => show.arrived(*arrival),
                Heard::Interrupted(reason) => show.interrupted(&reason)?,
                Heard::Gone(error) => return Err(error.into()),
            },
            _ = glances.tick() => {}
            () = interruption.comes(), if ending.is_none() => ending = Some(Ending::interrupted()),
        }
        show.update(&stage.simulator)?;

        let progress = stage.simulator.progress(&run_id).unwrap_or_default();
        if progress.done && ending.is_none() {
            ending = Some(Ending::complete());
        }
        if let Some(ending) = &ending
            && ending.is_over(show.is_settled(ending.until))
        {
            let summary = show.close(ending.until, &progress)?;
            listener.close().await;
            return Ok(summary);
        }
    }
}

/// How long to wait for what is still on its way.
struct Ending {
    /// Microseconds since 1970: what was sent or arrived later does not count.
    until: i64,
    not_before: Instant,
    deadline: Instant,
}

impl Ending {
    /// All calls are complete.
    fn complete() -> Self {
        let now = Instant::now();
        Self { until: i64::MAX, not_before: now + QUIET, deadline: now + ARRIVAL_LIMIT }
    }

    /// Somebody wants to leave while calls go on: only webhooks that were sent before are waited for, and briefly.
    fn interrupted() -> Self {
        let now = Instant::now();
        Self {
            until: clock::now().timestamp_micros(),
            not_before: now,
            deadline: now + Duration::from_secs(1),
        }
    }

    fn is_over(&self, settled: bool) -> bool {
        let now = Instant::now();
        now >= self.deadline || (settled && now >= self.not_before)
    }
}

fn rate(text: &str) -> Result<f64, InvalidFlowRequest> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.001);
    rate.ok_or(InvalidFlowRequest::Rate)
}

fn pace(text: &str) -> Result<f64, InvalidFlowRequest> {
    text.parse().ok().filter(|pace| (0.0..=1_000.0).contains(pace)).ok_or(InvalidFlowRequest::Pace)
}
