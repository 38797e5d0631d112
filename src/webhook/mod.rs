//! The inbound codec: signatures, payloads and routing of webhooks.

pub mod payload;
pub mod signature;
