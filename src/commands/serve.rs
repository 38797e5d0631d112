//! `cti-server serve`: the server.

use std::path::PathBuf;

use sd_notify::NotifyState;
use thiserror::Error;
use tracing::warn;

use crate::{
    config::{Config, ConfigError, Needs},
    net,
    startup::{Application, StartError},
    telemetry::log,
};

/// With fewer open files, a server can't hold as many sessions as one app may have by default.
pub(super) const MIN_OPEN_FILES: u64 = 11_500;

/// Run the server.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// A settings file that overrides the defaults; environment variables override the file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why `serve` failed.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The server could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server failed.
    #[error("the server failed: {0}")]
    Run(#[from] std::io::Error),
}

/// Runs the server until a signal stops it.
///
/// # Errors
/// See [`ServeError`].
pub async fn run(args: ServeArgs) -> Result<(), ServeError> {
    let config = Config::load(args.config.as_deref(), Needs::Serving)?;
    // The filter was checked with the other settings.
    let _ = log::start(&config.log_filter, config.log_format);
    for problem in &config.warnings {
        warn!("{problem}");
    }
    if let Some(files) = net::raise_nofile().filter(|files| *files < MIN_OPEN_FILES) {
        warn!(open_files = files, "the limit of open files (ulimit -Hn) limits the number of sessions");
    }
    let application = match Application::start(config).await {
        Err(StartError::Stopped) => return Ok(()),
        started => started?,
    };
    // systemd waits for this with `Type=notify`. Without a service manager it does nothing.
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        warn!(%error, "the service manager can't be notified");
    }
    application.run_until_stopped().await?;
    Ok(())
}
