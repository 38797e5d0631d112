//! Periodic work.

pub mod app_deletion;
pub mod unrouted;
pub mod upkeep;
