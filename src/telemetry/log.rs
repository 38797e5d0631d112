//! The log, on stderr.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, prelude::*, util::TryInitError};

use crate::config::LogFormat;

/// Starts the log. A process has one: a second start changes nothing.
///
/// # Errors
/// The filter can't be parsed.
pub fn start(filter: &str, format: LogFormat) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    let to_stderr = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let started: Result<(), TryInitError> = match format {
        LogFormat::Text => registry.with(to_stderr).try_init(),
        LogFormat::Json => registry.with(to_stderr.json().flatten_event(true)).try_init(),
    };
    // An error means that it was started before.
    let _ = started;
    Ok(())
}
