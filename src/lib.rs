//! cti-server: the event engine between Dialpad's cloud telephony and the CRMs that live on its calls.
//!
//! Follow one webhook:
//!
//! 1. [`http`] `webhooks.rs` takes the bytes; [`dialpad::signature`] verifies them, [`dialpad::payload`] reads them;
//! 2. [`store::journal`] writes them, together with whatever else waits (`store/group_commit.rs`); now it is
//!    answered;
//! 3. the engine ([`cti_actors`]) is handed what is durable: supervisor → call actor → one unit of work;
//! 4. `store/ledger.rs` writes the unit: call, events with their `seq`, journal;
//! 5. the feed shows the events to every session ([`cti_actors::session`]) that waits behind `/ws`.
//!
//! [`startup`] puts the parts together, [`shutdown`] takes them apart. This crate is the edge; it imports the engine,
//! and the engine knows nothing of it.

pub mod cli;
pub mod commands;
pub mod config;
pub mod database_url;
pub mod dialpad;
pub mod encryption_keys;
pub mod enrichment;
mod epoch;
pub mod http;
pub mod jobs;
pub mod recovery;
mod rlimit;
pub mod shutdown;
pub mod startup;
pub mod store;
pub mod telemetry;
pub mod webhook;
