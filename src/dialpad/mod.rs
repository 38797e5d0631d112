//! Requests to Dialpad. What Dialpad sends is read by [`crate::webhook`].
//!
//! * [`api`] and [`users`]: what is requested for an app. It gets the app's token from [`oauth::access`] and sends with [`client`];
//! * [`client`]: the REST client with its rate limits, retries and circuit breaker;
//! * [`oauth`]: gets, refreshes and revokes tokens;
//! * [`webhooks`]: registers the apps' webhooks and subscriptions, and repairs them;
//! * [`media`]: streams recordings and voicemails.

pub mod api;
pub mod client;
pub mod media;
pub mod oauth;
pub mod users;
pub mod webhooks;

/// Registers the metrics, every series with 0.
pub(crate) fn register_metrics() {
    client::metrics::register_metrics();
    webhooks::outcome::register_metrics();
}
