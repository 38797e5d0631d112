//! The endpoints of an administrator.

pub(crate) mod api_keys;
pub(crate) mod apps;
pub(crate) mod cluster;
pub(crate) mod dialpad_users;
pub(crate) mod engine;
pub(crate) mod journal;
pub(crate) mod people;
pub(crate) mod user_mappings;
pub(crate) mod webhooks;
