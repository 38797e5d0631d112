//! The inbound codec: how a webhook is verified, read, recognised and routed. It knows neither the store nor HTTP.
//!
//! [`signature`] proves who sent it, [`payload`] reads what it says, [`dedup_key`] recognises it when it comes again,
//! [`routing`] decides which apps get it, and [`new_webhook`] is the result.

pub mod dedup_key;
pub mod new_webhook;
pub mod payload;
pub mod routing;
pub mod signature;
