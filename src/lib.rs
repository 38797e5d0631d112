//! cti-server: the event engine between Dialpad's cloud telephony and the CRMs that use its calls.
//!
//! Follow one webhook:
//!
//! 1. `http/webhooks.rs` receives the bytes. [`webhook::signature`] verifies them, [`webhook::payload`] parses them,
//!    [`webhook::routing`] decides which apps get them;
//! 2. [`store::journal`] appends the webhook, in one transaction with all others that wait
//!    (`store/journal/group_commit.rs`). Only then is it answered;
//! 3. `startup.rs` pushes what is durable to the engine ([`cti_actors`]): supervisor, call actor, one unit of work;
//! 4. `store/ledger/` writes the unit: the call, its events with their `seq`, and the journal's status;
//! 5. the feed delivers the events to the sessions ([`cti_actors::session`]), and `http/feed/` sends them over WebSocket
//!    and server-sent events, or answers polls with them.
//!
//! [`startup`] puts the parts together, [`shutdown`] takes them apart. The engine knows nothing of this crate. Within the
//! crate each module imports only modules above it in this list:
//!
//! | module | what it does |
//! |---|---|
//! | `backoff`, `epoch`, `net`, [`tasks`], [`tls`], [`database_url`], [`encryption_keys`] | small tools without knowledge of the others |
//! | [`webhook`] | verifies, parses and routes webhooks |
//! | [`config`] | the settings |
//! | [`telemetry`] | the log and the metrics |
//! | [`store`] | the database, on PostgreSQL or SQLite |
//! | [`cluster`] | the processes on one database: which of them works on which app, and what they announce to each other |
//! | [`dialpad`] | requests to Dialpad: REST, OAuth, webhooks, audio |
//! | [`recovery`], [`enrichment`] | what webhooks did not report: missed calls, recordings, transcripts |
//! | [`jobs`] | background work |
//! | [`spool`] | webhooks on the local disk, while the database can't take them |
//! | [`http`] | the HTTP and WebSocket interface |
//! | [`console`] | the pages for administrators |
//! | [`startup`], [`shutdown`] | the server as a whole |
//! | [`commands`], [`cli`] | the program |

mod backoff;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod console;
pub mod database_url;
pub mod dialpad;
pub mod encryption_keys;
pub mod enrichment;
mod epoch;
pub mod http;
pub mod jobs;
mod net;
pub mod recovery;
pub mod shutdown;
pub mod spool;
pub mod startup;
pub mod store;
pub mod tasks;
pub mod telemetry;
mod threads;
pub mod tls;
pub mod webhook;
