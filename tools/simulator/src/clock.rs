//! The wall clock: the only place where simulator and `trigger` read it. Flows get their start as an argument.

use chrono::{DateTime, Utc};

/// Returns the time now.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "a simulated Dialpad lives outside of the engine and its clock"
)]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
