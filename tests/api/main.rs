//! What users rely on, asked of a real server over HTTP and WebSocket, on each database.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod active_calls;
mod apps;
mod auth;
mod call_life;
mod calls;
mod calls_paging;
mod cli;
mod connected;
mod dialpad_family;
mod duplicates;
mod events;
mod health;
mod metrics;
mod oauth;
mod signatures;
mod stopping;
mod voicemail;
mod webhooks;
mod websocket;
mod websocket_resume;
