//! Apps and what belongs to each: API keys, user mappings, the routes of its webhooks, and its deletion.

pub mod api_keys;
pub mod apps;
pub mod deletion;
pub(crate) mod numbers;
pub mod routes;
pub mod user_mappings;
