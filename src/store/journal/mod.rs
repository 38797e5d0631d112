//! The journal: every webhook that was accepted, written before it is acknowledged.

pub mod append;
pub mod findings;
pub(crate) mod group_commit;
pub mod replay;
pub(crate) mod unrouted;
pub mod views;
