//! `cti-server serve`: the server.

use std::path::PathBuf;

use thiserror::Error;
use tracing::warn;

use crate::{
    config::{Config, ConfigError, Needs},
    net,
    startup::{Application, StartError},
    telemetry::log,
};

/// With fewer open files, a server is not up to as many sessions as one app may have by default.
const MANY_FILES: u64 = 10_500;

/// Run the server.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// A file of settings to lay over the defaults; environment variables go before it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why the server does not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It failed.
    #[error("the server failed: {0}")]
    Run(#[from] std::io::Error),
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// See [`ServeError`].
pub async fn run(args: ServeArgs) -> Result<(), ServeError> {
    let config = Config::load(args.config.as_deref(), Needs::Serving)?;
    // The filter was checked with the other settings.
    let _ = log::start(&config.log_filter, config.log_format);
    if let Some(files) = net::raise_nofile().filter(|files| *files < MANY_FILES) {
        warn!(open_files = files, "sessions are limited by how many files may be open (ulimit -Hn)");
    }
    let application = Application::start(config).await?;
    application.run_until_stopped().await?;
    Ok(())
}
