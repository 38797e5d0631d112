//! What handlers read from a request.

pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod idempotency;
pub(crate) mod lists;
pub(crate) mod query;
