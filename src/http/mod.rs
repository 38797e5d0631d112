//! Everything that is reached over HTTP: one table of routes, a file for each part of it.

mod api_keys;
mod apps;
mod auth;
mod body;
mod calls;
mod consumers;
pub mod documents;
mod events;
mod feed;
mod guesses;
mod health;
mod idempotency;
mod interactions;
mod internal_apps;
mod internal_webhooks;
mod line;
mod lists;
mod messages;
mod middleware;
mod oauth;
mod place_call;
mod query;
mod recordings;
mod stream;
mod user_mappings;
mod voicemails;
mod webhook_events;
mod webhooks;
mod ws;

use std::{sync::Arc, time::Instant};

use actix_web::web::{self, PayloadConfig, ServiceConfig, delete, get, head, patch, post};
use cti_actors::{Engine, clock::Clock};
use reqwest::Url;

pub use self::{
    guesses::Guesses,
    line::Line,
    middleware::{RequestSpan, catch_panics, insist_on_https, observe},
};
use crate::{
    artefacts::Artefacts,
    config::Config,
    dialpad::{api::Dialpad, keeper::Keeper},
    error::ApiError,
    error::ErrorCode,
    metrics::Metrics,
    removal::Removals,
    repair::Hearing,
    store::Store,
};

/// The largest body that is read.
const LARGEST_BODY: usize = 256 << 10;

/// What every handler may use.
pub struct Shared {
    /// The settings.
    pub config: Config,
    /// The database.
    pub store: Store,
    /// The engine.
    pub engine: Arc<Engine>,
    /// The way to Dialpad.
    pub dialpad: Dialpad,
    /// What belongs to calls.
    pub artefacts: Artefacts,
    /// Which apps webhooks come for.
    pub hearing: Arc<Hearing>,
    /// Where apps go that are removed.
    pub removals: Removals,
    /// The keeper of webhooks there.
    pub keeper: Keeper,
    /// What addresses have guessed.
    pub guesses: Guesses,
    /// What is measured.
    pub metrics: Metrics,
    /// How the outside reaches us.
    pub public_url: Url,
    /// Where Dialpad sends people back to.
    pub redirect_uri: Url,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// When the server began.
    pub started: Instant,
}

macro_rules! table {
    ($($path:literal { $($method:ident $handler:path),+ $(,)? })*) => {
        /// Every address, with the methods that it takes.
        const ROUTES: &[(&str, &[&str])] = &[$(($path, &[$(stringify!($method)),+])),*];

        fn add_routes(app: &mut ServiceConfig) {
            $(app.service(web::resource($path)$(.route($method().to($handler)))+);)*
        }
    };
}

table! {
    // From Dialpad. First, because routes are tried in order and these are the busy ones.
    "/webhooks" { post webhooks::shared }
    "/webhooks/dialpad" { post webhooks::shared }
    "/webhooks/{app_id}" { post webhooks::own }
    // For anybody.
    "/" { get health::home, head health::home }
    "/health" { get health::health, head health::health }
    "/health/live" { get health::live, head health::live }
    "/health/ready" { get health::ready, head health::ready }
    "/metrics" { get health::metrics }
    "/openapi.json" { get documents::openapi }
    "/asyncapi.json" { get documents::asyncapi }
    "/docs" { get documents::page }
    "/docs/page.css" { get documents::style }
    "/docs/page.js" { get documents::script }
    // For a person who connects an app.
    "/authorize" { get oauth::authorize }
    "/callback" { get oauth::callback }
    "/auth/dialpad/connect" { get oauth::authorize }
    "/auth/dialpad/authorize" { get oauth::authorize }
    "/auth/dialpad/callback" { get oauth::callback }
    "/auth/dialpad/disconnect/{app_id}" { post oauth::disconnect }
    // For a CRM.
    "/status" { get apps::status }
    "/api/calls" { get calls::list, post place_call::place }
    "/api/calls/active" { get calls::active }
    "/api/calls/{id}" { get calls::one }
    "/api/calls/{id}/events" { get calls::timeline }
    "/api/calls/{id}/recording" { get recordings::of_call, head recordings::of_call }
    "/api/voicemails" { get voicemails::list }
    "/api/voicemails/{id}" { get voicemails::one }
    "/api/voicemails/{id}/recording" { get recordings::of_voicemail, head recordings::of_voicemail }
    "/api/messages" { get messages::list }
    "/api/messages/{id}" { get messages::one }
    "/api/interactions/{id}" { get interactions::one }
    "/api/consumers" { get consumers::list }
    "/api/consumers/{name}" { get consumers::one, delete consumers::delete }
    "/api/consumers/{name}/ack" { post consumers::ack }
    "/api/events" { get events::list }
    "/api/events/stream" { get stream::follow }
    "/ws" { get ws::connect }
    // For administrators.
    "/internal/apps" { get internal_apps::list, post internal_apps::create }
    "/internal/apps/{app_id}" {
        get internal_apps::one,
        patch internal_apps::change,
        delete internal_apps::remove,
    }
    "/internal/apps/{app_id}/api-key" { post api_keys::rotate }
    "/internal/apps/{app_id}/api-key/revoke" { post api_keys::revoke }
    "/internal/apps/{app_id}/api-key/status" { get api_keys::status }
    "/internal/apps/{app_id}/api-key/audit" { get api_keys::audit }
    "/internal/apps/{app_id}/users/map" { post user_mappings::map }
    "/internal/apps/{app_id}/users/batch-map" { post user_mappings::map_batch }
    "/internal/apps/{app_id}/users/mappings" { get user_mappings::list }
    "/internal/apps/{app_id}/users/mappings/dialpad/{dialpad_user_id}" {
        get user_mappings::of_dialpad_user,
        delete user_mappings::delete_of_dialpad_user,
    }
    "/internal/apps/{app_id}/users/mappings/crm/{crm_user_id}" { get user_mappings::of_crm_user }
    "/internal/apps/{app_id}/users/mappings/{mapping_id}" { delete user_mappings::delete_one }
    "/internal/apps/{app_id}/voicemails" { get voicemails::list_for_administrators }
    "/internal/apps/{app_id}/voicemails/{id}" {
        get voicemails::one_for_administrators,
        delete voicemails::delete,
    }
    "/internal/webhook-events" { get webhook_events::list }
    "/internal/webhook-events/{id}" { get webhook_events::one }
    "/internal/webhook-events/{id}/replay" { post webhook_events::replay }
    "/internal/webhooks" { get internal_webhooks::list }
    "/internal/webhooks/create" { post internal_webhooks::create }
    "/internal/webhooks/{webhook_id}" { get internal_webhooks::one, delete internal_webhooks::delete }
    "/internal/webhooks/{webhook_id}/rotate-secret" { post internal_webhooks::rotate_secret }
}

/// The whole surface. What it says of itself (`documents`) is held to the table by tests.
pub fn routes(app: &mut ServiceConfig) {
    app.app_data(PayloadConfig::new(LARGEST_BODY))
        .app_data(web::JsonConfig::default().limit(LARGEST_BODY))
        .configure(add_routes)
        .default_service(web::to(|| async { Err::<(), _>(ApiError::new(ErrorCode::NotFound, "Not found")) }));
}
