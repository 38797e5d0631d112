//! `cti-server doctor`: the production checklist, point by point, against the configuration, this machine, the database and
//! a running server.

mod apps;
mod check;
mod database;
mod host;
mod probe;
mod processes;
mod server;
mod settings;
mod walk;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use reqwest::Url;
use thiserror::Error;

use self::check::{Check, Report, Status};
use crate::config::{Config, Needs};

/// Check a deployment, point by point, and name what to change
///
/// It creates an app for a test webhook, and deletes it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 nothing failed, perhaps with warnings; 1 a check failed.")]
pub struct DoctorArgs {
    /// A settings file that overrides the defaults; environment variables override the file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The running server; by default PUBLIC_URL, or else HOST and PORT
    #[arg(long, value_name = "URL")]
    pub server: Option<Url>,
    /// Print the checks as JSON
    #[arg(long)]
    pub json: bool,
}

/// Why `doctor` did not succeed.
#[derive(Debug, Error)]
pub enum DoctorError {
    /// Checks failed.
    #[error("{0} of the checks failed")]
    Failed(usize),
    /// The output failed.
    #[error(transparent)]
    Print(#[from] io::Error),
}

/// Runs all checks, and prints them.
///
/// # Errors
/// See [`DoctorError`].
pub async fn run(args: DoctorArgs) -> Result<(), DoctorError> {
    let report = Report::of(examine(&args).await);
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    match report.count(Status::Fail) {
        0 => Ok(()),
        failed => Err(DoctorError::Failed(failed)),
    }
}

async fn examine(args: &DoctorArgs) -> Vec<Check> {
    let config = match Config::load(args.config.as_deref(), Needs::Serving) {
        Ok(config) => config,
        Err(error) => return settings::refused(&error),
    };
    let mut checks = settings::check(&config);
    checks.extend(host::check(&config, args.config.as_deref()));
    checks.extend(database::check(&config).await);
    checks.extend(settings::check_dialpad(&config).await);
    checks.extend(server::check(&config, args.server.as_ref()).await);
    checks
}
