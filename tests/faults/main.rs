//! What must hold when the process, the database or a client fails.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod burst;
mod clock;
mod cluster;
mod command;
mod database_away;
mod failover;
mod frozen_client;
mod half_open;
mod kill;
mod missed;
mod network;
mod owners;
mod pooler;
mod postgres_states;
mod rust_client;
mod rust_snapshot;
mod slow_peer;
mod spool;
mod sqlite_file;
mod stop;
mod tokens;
mod upgrade;
