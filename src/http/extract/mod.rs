//! What handlers read from a request, and the form of what they answer.

pub(crate) mod app;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod fields;
pub(crate) mod idempotency;
pub(crate) mod ids;
pub(crate) mod lists;
pub(crate) mod query;
pub(crate) mod values;
