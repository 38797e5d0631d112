//! Which process works on which app. Pure: what is stored, and when it is, are arguments.
//!
//! Each app has a lease, which one process holds at a time; its fence grows each time that it is taken. All processes see
//! the same table, and each decides for itself what to take and what to give up. By rendezvous hashing all of them prefer
//! the same process for an app, so they need not agree on anything else: the table refuses the second of two that take the
//! same lease.

mod machine;
mod rendezvous;

use std::{fmt, sync::Arc};

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

pub use self::machine::{Decision, FreeLease, LeaseMachine, Take, View};

/// The name of a process, unique among those that run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ProcessId(Arc<str>);

impl ProcessId {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ProcessId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a lease can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum TakeoverReason {
    /// No process has held it yet.
    New,
    /// The process that held it has given it up: it stops, or another one is preferred.
    Released,
    /// The process that held it has not renewed it in time.
    Expired,
}

impl TakeoverReason {
    /// Returns the name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
