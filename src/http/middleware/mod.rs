//! What happens around every request: its log span, its metrics, the form of its errors, HTTPS, its
//! limits, and who else may read the answer.

pub(crate) mod body_timeout;
pub(crate) mod connections;
pub(crate) mod cors;
pub(crate) mod errors;
pub(crate) mod https;
pub(crate) mod panics;
pub(crate) mod rate_limit;
pub(crate) mod span;
pub(crate) mod tcp_timeout;
mod trace;
pub(crate) mod webhook_path;
