//! The log, on stderr.

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

use tracing_subscriber::{
    EnvFilter, filter::FilterExt, fmt, fmt::writer::BoxMakeWriter, prelude::*, util::TryInitError,
};

use super::{log_writer::LogWriter, repeats::Repeats};
use crate::config::LogFormat;

static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// Starts the log. A process has one: a second start changes nothing.
///
/// # Errors
/// The filter can't be parsed.
pub fn start(filter: &str, format: LogFormat) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(filter)?.and(Repeats::of_process());
    let registry = tracing_subscriber::registry();
    let to_stderr = fmt::layer().with_writer(writer()).with_ansi(io::stderr().is_terminal());
    let started: Result<(), TryInitError> = match format {
        LogFormat::Text => registry.with(to_stderr.with_filter(filter)).try_init(),
        LogFormat::Json => registry.with(to_stderr.json().flatten_event(true).with_filter(filter)).try_init(),
    };
    // An error means that it was started before.
    let _ = started;
    Ok(())
}

/// Returns what writes the log: a thread, or where there is none left, stderr itself.
fn writer() -> BoxMakeWriter {
    if WRITER.get().is_none()
        && let Ok(started) = LogWriter::start()
    {
        let _ = WRITER.set(started);
    }
    match WRITER.get() {
        Some(writer) => BoxMakeWriter::new(move || writer.clone()),
        None => BoxMakeWriter::new(io::stderr),
    }
}

/// Waits until the last lines are written, but no longer than a second: nobody may read them.
pub fn flush() {
    if let Some(writer) = WRITER.get() {
        LogWriter::flush(writer);
    }
}
