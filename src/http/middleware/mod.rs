//! What happens around every request: its log span, its metrics, the form of its errors, HTTPS, and its limits.

pub(crate) mod errors;
pub(crate) mod https;
pub(crate) mod panics;
pub(crate) mod rate_limit;
pub(crate) mod span;
pub(crate) mod tcp_timeout;
