//! The journal: every webhook that was accepted, written before it is acknowledged, and kept until retention deletes
//! it.
//!
//! [`append`] writes (through [`group_commit`]), [`pending`] gives the engine its work, [`unrouted`] and [`replay`]
//! give webhooks to apps later, [`figures`] counts them, [`views`] shows them to administrators.

pub mod append;
pub(super) mod figures;
pub(crate) mod group_commit;
pub mod pending;
pub mod replay;
pub(crate) mod unrouted;
pub mod views;
