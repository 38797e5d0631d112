//! Injects faults into a cti-server and prints what became of the webhooks.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum, value_parser};
use cti_faults::{Case, Databases, Failure, Plan, run};
use rustix::process::{Resource, getrlimit, setrlimit};

/// The in-memory file system of Linux: the disk of a shared machine would be measured otherwise.
const MEMORY: &str = "/dev/shm";

/// Kills, stops, starves and cuts off a running cti-server, and checks that nothing acknowledged is lost, repeated or
/// reordered. Exits with 1 if anything is.
#[derive(Debug, Parser)]
#[command(name = "cti-faults")]
struct Arguments {
    /// On which databases
    #[arg(long, value_enum, default_value = "both")]
    database: Databases,
    /// Only these cases, comma-separated
    #[arg(long = "case", value_enum, value_delimiter = ',', value_name = "NAMES")]
    cases: Vec<Case>,
    /// Chooses the random moments; printed with the report
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Repeats the cases, with other moments, until so many minutes have passed
    #[arg(long, value_name = "N", default_value_t = 0)]
    minutes: u64,
    /// The program to test [default: `cti-server` beside this one]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Where databases and spools are made: chooses the disk [default: in memory]
    #[arg(long, value_name = "PATH")]
    folder: Option<PathBuf>,
    /// Webhooks per second
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=5_000))]
    rate: Option<u32>,
    /// How often the server is killed, or stopped
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    kills: Option<u32>,
    /// Seconds for each case, instead of minutes
    #[arg(long)]
    short: bool,
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    tokio::select! {
        result = main_run(Arguments::parse()) => match result {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(failure) => {
                let _ = writeln!(io::stderr(), "{failure}");
                ExitCode::from(2)
            }
        },
        // What was started ends with the cases.
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
    }
}

async fn main_run(arguments: Arguments) -> Result<bool, Failure> {
    raise_nofile();
    let began = Instant::now();
    let is_short = arguments.short;
    let (rate, kills) = if is_short { (100, 3) } else { (500, 200) };
    let beside = std::env::current_exe()?.with_file_name("cti-server");
    let server = std::path::absolute(arguments.server.unwrap_or(beside))?;
    if !server.is_file() {
        return Err(format!("{} is missing: build it, or name it with --server", server.display()).into());
    }
    let memory = PathBuf::from(MEMORY);
    let in_memory = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let cases = if arguments.cases.is_empty() { Case::value_variants().to_vec() } else { arguments.cases };
    let mut plan = Plan {
        server,
        folder: std::path::absolute(arguments.folder.unwrap_or(in_memory))?,
        databases: arguments.database,
        cases,
        seed: arguments.seed.unwrap_or_else(rand::random),
        rate: arguments.rate.unwrap_or(rate),
        kills: arguments.kills.unwrap_or(kills),
        is_short,
    };
    let mut is_clean = true;
    loop {
        let report = run(&plan, |row| {
            let _ = write!(io::stderr(), "[{:>5}s] {row}", began.elapsed().as_secs());
        })
        .await;
        is_clean &= report.is_clean();
        let text = if arguments.json { serde_json::to_string(&report)? + "\n" } else { report.to_string() };
        io::stdout().write_all(text.as_bytes())?;
        if began.elapsed() >= Duration::from_secs(arguments.minutes * 60) {
            return Ok(is_clean);
        }
        plan.seed = plan.seed.wrapping_add(1);
    }
}

/// Raises the limit of open files as far as it may: a crowd of clients needs one for each. Too few show in the report.
fn raise_nofile() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
