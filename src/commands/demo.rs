//! `cti-server demo`: a server, a simulated Dialpad and a CRM run on this machine over real HTTP and a real WebSocket,
//! without any setup. Every event is printed as the CRM receives it; at the end webhooks and events are compared.
//!
//! | file | content |
//! |---|---|
//! | `cluster.rs` | several servers on one PostgreSQL, of which one is killed |
//! | `setup.rs` | starts simulator and server, and connects an app |
//! | `listener.rs` | the CRM: follows the app's events on a WebSocket |
//! | `printer.rs` | combines deliveries and arrivals, and prints them |
//! | `reconcile.rs` | compares webhooks with events: lost, duplicated, latency |
//! | `banner.rs`, `summary.rs` | the output before and after the events |

mod banner;
mod cluster;
mod folder;
mod listener;
mod printer;
mod reconcile;
mod server;
mod setup;
mod summary;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::output::Format;
use super::shutdown_signal::ShutdownSignal;
use cti_simulator::{FlowChoice, FlowRequest, InvalidFlowRequest, clock};
use listener::{Incoming, ListenError, Listener};
use printer::Printer;
use reconcile::Summary;
use setup::{Setup, SetupError};

/// Shows live call events end to end without any setup: embedded database, simulated Dialpad, one app
#[derive(clap::Args)]
pub struct DemoArgs {
    /// Stops after this many calls, and fails if an event was lost or duplicated; without it, runs until Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,

    /// The folder of the database; by default a temporary one
    #[arg(long, value_name = "PATH")]
    folder: Option<PathBuf>,

    /// Calls per second
    #[arg(long, value_name = "PER_SECOND", default_value_t = 1.0, value_parser = rate)]
    rate: f64,

    /// Scales the time within a call: 1 is as long as a real call, 0 does not wait
    #[arg(long, default_value_t = 0.03, value_parser = pace)]
    pace: f64,

    /// The seed of all random choices; by default another one each time
    #[arg(long)]
    seed: Option<u64>,

    /// The flow: answered, missed, voicemail, hold, outbound, queue, abandoned, queue-voicemail, blocked, unanswered,
    /// transfer, warm-transfer, park, merge, message or mixed
    #[arg(long, value_name = "NAME", default_value = "mixed")]
    flow: FlowChoice,

    /// Servers on one PostgreSQL, behind one address; one of several is killed while calls are under way. More than one
    /// need PostgreSQL: a database is created on the server of DATABASE_URL, or a private server is started
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    processes: u8,

    /// Prints JSON lines: the addresses, each event as received, the summary
    #[arg(long)]
    json: bool,

    /// The port of the server; by default any free one
    #[arg(long, default_value_t = 0)]
    port: u16,

    /// Prints without colors, like the environment variable NO_COLOR
    #[arg(long)]
    no_color: bool,
}

/// Why a demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Simulator, server or app could not be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The WebSocket could not be opened or reopened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The flow can't be played with these options.
    #[error("--flow: {0}")]
    Flow(#[from] InvalidFlowRequest),
    /// Events were lost or duplicated.
    #[error("{lost} events lost, {duplicated} duplicated")]
    Faults {
        /// Events that a webhook had to cause and that did not arrive.
        lost: u64,
        /// Events that arrived more often than webhooks caused them.
        duplicated: u64,
    },
    /// The output or the signals failed.
    #[error(transparent)]
    Terminal(#[from] io::Error),
}

/// How long a missing event may still arrive after the last delivery.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a duplicate may still arrive after the last delivery.
const DUPLICATE_WAIT: Duration = Duration::from_millis(300);
/// A demo without an end kills a server in this call.
const KILL_AFTER_CALLS: u64 = 5;
/// How often the simulator's delivery log is read; the longest delay of a printed line.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Runs until all calls have ended and all events have arrived, or until Ctrl-C.
///
/// # Errors
///
/// Fails if something could not be started, or if an event was lost or duplicated.
pub async fn run(args: DemoArgs) -> Result<(), DemoError> {
    let mut shutdown = ShutdownSignal::new()?;
    let format = Format::choose(args.json, args.no_color);
    // Short, so that a user can type it again.
    let seed = args.seed.unwrap_or_else(|| rand::random::<u16>().into());
    let mut setup = tokio::select! {
        setup = Setup::start(args.folder.clone(), args.port, seed, args.processes.into()) => setup?,
        () = shutdown.recv() => return Ok(()),
    };
    let result = show_events(&mut setup, &args, format, &mut shutdown).await;
    tokio::select! {
        () = setup.stop() => {}
        // A second signal: what has not stopped yet ends with the process.
        () = shutdown.recv() => {}
    }
    match result {
        // The reader of our output (`| head`) closed it.
        Err(DemoError::Terminal(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error),
        Ok(Summary { lost, duplicated, .. }) if args.calls.is_some() && lost + duplicated > 0 => {
            Err(DemoError::Faults { lost, duplicated })
        }
        Ok(_) => Ok(()),
    }
}

async fn show_events(
    setup: &mut Setup,
    args: &DemoArgs,
    format: Format,
    shutdown: &mut ShutdownSignal,
) -> Result<Summary, DemoError> {
    let mut listener = Listener::open(setup.base_url(), &setup.app.api_key).await?;
    let mut printer = Printer::new(format, listener.head());
    printer.print_banner(setup, args)?;
    let run_id = setup.simulator.play(FlowRequest {
        calls: args.calls,
        rate: args.rate,
        pace: args.pace,
        seed: Some(setup.seed),
        ..FlowRequest::new(args.flow)
    })?;

    let mut polls = interval(POLL_INTERVAL);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drain: Option<Drain> = None;
    // While a call is under way, in the middle of all of them.
    let mut is_to_kill = args.processes > 1;
    let kill_at = args.calls.map_or(KILL_AFTER_CALLS, |calls| calls.div_ceil(2));
    loop {
        tokio::select! {
            incoming = listener.next() => match incoming {
                Incoming::Event(arrival) => printer.arrived(*arrival),
                Incoming::Disconnected(reason) => printer.disconnected(&reason)?,
                Incoming::Failed(error) => return Err(error.into()),
            },
            _ = polls.tick() => {}
            () = shutdown.recv(), if drain.is_none() => drain = Some(Drain::interrupted()),
        }
        printer.update(&setup.simulator)?;

        let progress = setup.simulator.progress(&run_id).unwrap_or_default();
        if is_to_kill && progress.calls_started >= kill_at && progress.calls_started > progress.calls_finished
        {
            is_to_kill = false;
            if let Some(name) = setup.kill_owner().await {
                printer.killed(&name, &progress)?;
            }
        }
        if progress.done && drain.is_none() {
            drain = Some(Drain::complete());
        }
        if let Some(drain) = &drain
            && drain.is_over(printer.is_settled(drain.until))
        {
            let summary = printer.print_summary(drain.until, &progress)?;
            listener.close().await;
            return Ok(summary);
        }
    }
}

/// How long to wait for events that are still on their way.
struct Drain {
    /// Microseconds since 1970: webhooks and events after this time do not count.
    until: i64,
    not_before: Instant,
    deadline: Instant,
}

impl Drain {
    /// Waits for all events, after the last call has ended.
    fn complete() -> Self {
        let now = Instant::now();
        Self { until: i64::MAX, not_before: now + DUPLICATE_WAIT, deadline: now + ARRIVAL_TIMEOUT }
    }

    /// Waits briefly for the events of webhooks that were already sent, after a signal.
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
