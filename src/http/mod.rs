//! The HTTP interface: one table of routes, a file for each group of handlers.

pub(crate) mod admin;
pub(crate) mod crm;
mod early;
pub mod error;
pub(crate) mod extract;
mod feed;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod middleware;
mod oauth;
pub mod openapi;
mod server;
mod state;
mod webhooks;

use actix_web::web::{self, PayloadConfig, ServiceConfig, delete, get, head, patch, post};

pub use self::{
    early::EarlyState, middleware::rate_limit::RateLimiter, state::AppState, webhooks::canary::CanaryVerdict,
};
use self::{
    error::{ApiError, ErrorCode},
    openapi::served,
};
pub(crate) use self::{
    server::{serve, serve_early},
    webhooks::canary::run as run_canary,
};

/// The largest body that is read, in bytes.
const MAX_BODY: usize = 256 << 10;

/// Returns whether a `GET` of this path stays open: the headers alone would say nothing.
fn is_held_open(path: &str) -> bool {
    matches!(path, "/ws" | "/api/events/stream")
}

/// Returns whether a path of the table answers `HEAD`: wherever it answers `GET`, with the same status and headers (RFC
/// 9110, section 9.3.2), unless the response stays open.
pub(crate) fn answers_head(path: &str, methods: &[&str]) -> bool {
    methods.contains(&"get") && !is_held_open(path)
}

macro_rules! table {
    ($($path:literal { $($method:ident $handler:path),+ $(,)? })*) => {
        /// Every path, with the methods that it accepts; `HEAD` besides wherever [`answers_head`] says so.
        const ROUTES: &[(&str, &[&str])] = &[$(($path, &[$(stringify!($method)),+])),*];

        fn add_routes(app: &mut ServiceConfig) {
            $({
                let mut resource = web::resource($path);
                $(
                    resource = resource.route($method().to($handler));
                    if stringify!($method) == "get" && !is_held_open($path) {
                        // The HTTP library leaves out the body.
                        resource = resource.route(head().to($handler));
                    }
                )+
                app.service(resource);
            })*
        }
    };
}

table! {
    // From Dialpad. First, because routes are tried in order and these are the busy ones.
    "/webhooks" { post webhooks::shared }
    "/webhooks/dialpad" { post webhooks::shared }
    "/webhooks/{app_id}" { post webhooks::own }
    // For everyone.
    "/" { get health::home }
    "/health" { get health::health }
    "/health/live" { get health::live }
    "/health/ready" { get health::ready }
    "/metrics" { get health::metrics }
    "/openapi.json" { get served::openapi }
    "/openapi-3.0.json" { get served::openapi_3_0 }
    "/asyncapi.json" { get served::asyncapi }
    "/docs" { get served::page }
    "/docs/page.css" { get served::style }
    "/docs/page.js" { get served::script }
    // For a person who connects an app.
    "/authorize" { get oauth::authorize }
    "/callback" { get oauth::callback }
    "/auth/dialpad/connect" { get oauth::authorize }
    "/auth/dialpad/authorize" { get oauth::authorize }
    "/auth/dialpad/callback" { get oauth::callback }
    "/auth/dialpad/disconnect/{app_id}" { post oauth::disconnect }
    // For CRMs.
    "/status" { get crm::status::status }
    "/api/calls" { get crm::calls::list, post crm::place_call::place }
    "/api/calls/active" { get crm::calls::active }
    "/api/calls/{id}" { get crm::calls::one }
    "/api/calls/{id}/events" { get crm::calls::timeline }
    "/api/calls/{id}/recording" { get crm::recordings::of_call }
    "/api/voicemails" { get crm::voicemails::list }
    "/api/voicemails/{id}" { get crm::voicemails::one }
    "/api/voicemails/{id}/recording" { get crm::recordings::of_voicemail }
    "/api/messages" { get crm::messages::list }
    "/api/messages/{id}" { get crm::messages::one }
    "/api/interactions" { get crm::interactions::list }
    "/api/interactions/{id}" { get crm::interactions::one }
    "/api/consumers" { get feed::consumers::list }
    "/api/consumers/{name}" { get feed::consumers::one, delete feed::consumers::delete }
    "/api/consumers/{name}/ack" { post feed::consumers::ack }
    "/api/events" { get feed::events::list }
    "/api/events/stream" { get feed::stream::follow }
    "/ws" { get feed::ws::connect }
    // For administrators.
    "/internal/apps" { get admin::apps::list, post admin::apps::create }
    "/internal/apps/{app_id}" {
        get admin::apps::one,
        patch admin::apps::change,
        delete admin::apps::remove,
    }
    "/internal/apps/{app_id}/api-key" { post admin::api_keys::rotate }
    "/internal/apps/{app_id}/api-key/revoke" { post admin::api_keys::revoke }
    "/internal/apps/{app_id}/api-key/status" { get admin::api_keys::status }
    "/internal/apps/{app_id}/api-key/audit" { get admin::api_keys::audit }
    "/internal/apps/{app_id}/dialpad-users" { get admin::dialpad_users::list }
    "/internal/apps/{app_id}/people" { delete admin::people::erase }
    "/internal/apps/{app_id}/users/map" { post admin::user_mappings::map }
    "/internal/apps/{app_id}/users/batch-map" { post admin::user_mappings::map_batch }
    "/internal/apps/{app_id}/users/mappings" { get admin::user_mappings::list }
    "/internal/apps/{app_id}/users/mappings/dialpad/{dialpad_user_id}" {
        get admin::user_mappings::of_dialpad_user,
        delete admin::user_mappings::delete_of_dialpad_user,
    }
    "/internal/apps/{app_id}/users/mappings/crm/{crm_user_id}" { get admin::user_mappings::of_crm_user }
    "/internal/apps/{app_id}/users/mappings/{mapping_id}" { delete admin::user_mappings::delete_one }
    "/internal/apps/{app_id}/voicemails" { get crm::voicemails::list_for_administrators }
    "/internal/apps/{app_id}/voicemails/{id}" {
        get crm::voicemails::one_for_administrators,
        delete crm::voicemails::delete,
    }
    "/internal/webhook-events" { get admin::journal::list }
    "/internal/webhook-events/{id}" { get admin::journal::one }
    "/internal/webhook-events/{id}/replay" { post admin::journal::replay }
    "/internal/engine" { get admin::engine::state }
    "/internal/cluster" { get admin::cluster::state }
    "/internal/webhooks" { get admin::webhooks::list }
    "/internal/webhooks/create" { post admin::webhooks::create }
    "/internal/webhooks/{webhook_id}" { get admin::webhooks::one, delete admin::webhooks::delete }
    "/internal/webhooks/{webhook_id}/rotate-secret" { post admin::webhooks::rotate_secret }
}

/// Returns every path with its methods.
pub fn route_table() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    ROUTES.iter().copied()
}

/// Adds all routes. Tests compare the documents in [`openapi`] with the table.
pub fn routes(app: &mut ServiceConfig) {
    app.app_data(PayloadConfig::new(MAX_BODY))
        .app_data(openapi::documents())
        .configure(add_routes)
        .default_service(web::to(|| async { Err::<(), _>(ApiError::new(ErrorCode::NotFound, "Not found")) }));
}
