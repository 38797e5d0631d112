//! The log and the metrics.

pub mod log;
mod log_writer;
pub mod metrics;
