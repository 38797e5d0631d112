//! The wall clock, for the simulator and `trigger`. Flows take their start as an argument.

use chrono::{DateTime, Utc};

/// Returns the time now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a simulated Dialpad runs outside the engine and its clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
