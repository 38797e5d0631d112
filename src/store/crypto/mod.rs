//! Encryption at rest.

pub mod reencrypt;
pub mod vault;
