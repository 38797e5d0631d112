//! The log, the metrics and the traces.

pub mod log;
mod log_writer;
pub mod metrics;
mod open_metrics;
mod process;
mod repeats;
mod runtimes;
pub(crate) mod traces;

pub(crate) use self::{repeats::report_repeats, runtimes::RuntimeKind};
