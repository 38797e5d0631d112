//! Apps, their API keys, user mappings and webhook routes.

pub mod api_keys;
pub mod apps;
pub mod deletion;
pub mod routes;
pub mod user_mappings;
