//! What the server reports of itself: the log and the metrics.

pub mod log;
pub mod metrics;
