//! `cti-server bench`: measures this server on this machine, and fails if an event was lost or duplicated.

use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use tokio::signal::unix::{SignalKind, signal};

use crate::net;
use cti_bench::{self, DatabaseChoice, Failure, Measure, Plan};

/// Measures ingest, latency, sustained rate, fan-out, catch-up, reconnect and memory
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// `sqlite` (in a temporary folder), `sqlite://PATH` (a new file) or `postgres://…` (a scratch database there)
    #[arg(long, value_name = "URL", default_value = "sqlite")]
    database: DatabaseChoice,
    /// Only these measures, comma-separated
    #[arg(long, value_enum, value_delimiter = ',', value_name = "MEASURES")]
    only: Vec<Measure>,
    /// How long each load lasts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Connections that post webhooks, and writers of the reference
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Events per second for the latency
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Sockets for the fan-out
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = value_parser!(u32).range(1..=9_000))]
    sockets: u32,
    /// Past events to catch up with
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = value_parser!(u32).range(3..=10_000_000))]
    history: u32,
    /// Sockets that reconnect at once
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = value_parser!(u32).range(1..=9_000))]
    reconnect: u32,
    /// Idle sessions for the memory
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = value_parser!(u32).range(1..=10_000))]
    idle: u32,
    /// Run the bare server that the ceiling is measured with, on DATABASE_URL
    #[arg(long, value_name = "SECRET", hide = true, conflicts_with_all = ["database", "only"])]
    bare_server: Option<String>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the measures and prints the report.
///
/// # Errors
///
/// Fails if a measure could not be completed, if the bench was interrupted, and if the server had faults.
pub async fn run(args: BenchArgs) -> Result<(), Failure> {
    if let Some(secret) = args.bare_server {
        net::raise_nofile();
        return cti_bench::bare_server::serve(&std::env::var("DATABASE_URL")?, &secret).await;
    }
    let plan = Plan {
        database: args.database,
        measures: if args.only.is_empty() { Measure::value_variants().to_vec() } else { args.only },
        time: Duration::from_secs(args.seconds.into()),
        connections: args.connections,
        rate: args.rate,
        sockets: args.sockets,
        history: args.history,
        reconnect: args.reconnect,
        idle: args.idle,
    };
    net::raise_nofile();
    // Dropping the future stops the server and removes its database; the default action of a signal would leave both.
    let mut terminated = signal(SignalKind::terminate())?;
    let report = tokio::select! {
        report = cti_bench::run(&plan, announce) => report?,
        _ = tokio::signal::ctrl_c() => return Err("interrupted".into()),
        _ = terminated.recv() => return Err("terminated".into()),
    };

    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    match report.faults() {
        0 => Ok(()),
        faults => {
            Err(format!("{faults} faults: events lost, duplicated or out of sequence, or webhooks refused")
                .into())
        }
    }
}

fn announce(measure: Measure) {
    // A closed stderr does not end the benchmark.
    let _ = writeln!(io::stderr(), "measuring {} …", format!("{measure:?}").to_lowercase());
}
