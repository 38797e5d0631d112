//! The log and the metrics.

pub mod log;
mod log_writer;
pub mod metrics;
mod open_metrics;
mod process;
mod repeats;
mod runtimes;

pub(crate) use self::{repeats::report_repeats, runtimes::RuntimeKind};
