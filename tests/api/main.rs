//! What users rely on, asked of a real server over HTTP and WebSocket, on each database.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod active_calls;
mod api_keys;
mod apps;
mod artefacts;
mod auth;
mod call_life;
mod calls;
mod calls_paging;
mod cli;
mod connected;
mod dialpad_client;
mod dialpad_family;
mod discretion;
mod documents;
mod duplicates;
mod encrypted;
mod ended_keys;
mod errors;
mod event_stream;
mod events;
mod feed_filters;
mod health;
mod hostile;
mod ids;
mod interactions;
mod internal_apps;
mod internal_webhooks;
mod keeper;
mod legs;
mod listen;
mod long_poll;
mod messages;
mod metrics;
mod oauth;
mod outbound;
mod production;
mod rate_limits;
mod recordings;
mod recordings_refused;
mod rekeying;
mod repair;
mod signatures;
mod snapshot;
mod stopping;
mod tokens;
mod user_mappings;
mod voicemail;
mod voicemails;
mod webhook_events;
mod webhooks;
mod websocket;
mod websocket_resume;
