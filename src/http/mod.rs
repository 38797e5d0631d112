//! Everything that is reached over HTTP: one table of routes, a file for each part of it.

mod api_keys;
mod apps;
mod auth;
mod body;
mod calls;
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

/// The whole surface.
pub fn routes(app: &mut ServiceConfig) {
    app.app_data(PayloadConfig::new(LARGEST_BODY))
        .app_data(web::JsonConfig::default().limit(LARGEST_BODY))
        // From Dialpad. First, because routes are tried in order and these are the busy ones.
        .service(web::resource("/webhooks").route(post().to(webhooks::shared)))
        .service(web::resource("/webhooks/dialpad").route(post().to(webhooks::shared)))
        .service(web::resource("/webhooks/{app_id}").route(post().to(webhooks::own)))
        // For anybody.
        .service(web::resource("/").route(get().to(health::home)).route(head().to(health::home)))
        .service(web::resource("/health").route(get().to(health::health)).route(head().to(health::health)))
        .service(web::resource("/health/live").route(get().to(health::live)).route(head().to(health::live)))
        .service(
            web::resource("/health/ready").route(get().to(health::ready)).route(head().to(health::ready)),
        )
        .service(web::resource("/metrics").route(get().to(health::metrics)))
        // For a person who connects an app.
        .service(web::resource("/authorize").route(get().to(oauth::authorize)))
        .service(web::resource("/callback").route(get().to(oauth::callback)))
        .service(web::resource("/auth/dialpad/connect").route(get().to(oauth::authorize)))
        .service(web::resource("/auth/dialpad/authorize").route(get().to(oauth::authorize)))
        .service(web::resource("/auth/dialpad/callback").route(get().to(oauth::callback)))
        .service(web::resource("/auth/dialpad/disconnect/{app_id}").route(post().to(oauth::disconnect)))
        // For a CRM.
        .service(web::resource("/status").route(get().to(apps::status)))
        .service(web::resource("/api/calls").route(get().to(calls::list)).route(post().to(place_call::place)))
        .service(web::resource("/api/calls/active").route(get().to(calls::active)))
        .service(web::resource("/api/calls/{id}").route(get().to(calls::one)))
        .service(web::resource("/api/calls/{id}/events").route(get().to(calls::timeline)))
        .service(
            web::resource("/api/calls/{id}/recording")
                .route(get().to(recordings::of_call))
                .route(head().to(recordings::of_call)),
        )
        .service(web::resource("/api/voicemails").route(get().to(voicemails::list)))
        .service(web::resource("/api/voicemails/{id}").route(get().to(voicemails::one)))
        .service(
            web::resource("/api/voicemails/{id}/recording")
                .route(get().to(recordings::of_voicemail))
                .route(head().to(recordings::of_voicemail)),
        )
        .service(web::resource("/api/messages").route(get().to(messages::list)))
        .service(web::resource("/api/messages/{id}").route(get().to(messages::one)))
        .service(web::resource("/api/interactions/{id}").route(get().to(interactions::one)))
        .service(web::resource("/api/events").route(get().to(events::list)))
        .service(web::resource("/api/events/stream").route(get().to(stream::follow)))
        .service(web::resource("/ws").route(get().to(ws::connect)))
        // For administrators.
        .service(
            web::resource("/internal/apps")
                .route(get().to(internal_apps::list))
                .route(post().to(internal_apps::create)),
        )
        .service(
            web::resource("/internal/apps/{app_id}")
                .route(get().to(internal_apps::one))
                .route(patch().to(internal_apps::change))
                .route(delete().to(internal_apps::remove)),
        )
        .service(web::resource("/internal/apps/{app_id}/api-key").route(post().to(api_keys::rotate)))
        .service(web::resource("/internal/apps/{app_id}/api-key/revoke").route(post().to(api_keys::revoke)))
        .service(web::resource("/internal/apps/{app_id}/api-key/status").route(get().to(api_keys::status)))
        .service(web::resource("/internal/apps/{app_id}/api-key/audit").route(get().to(api_keys::audit)))
        .service(web::resource("/internal/apps/{app_id}/users/map").route(post().to(user_mappings::map)))
        .service(
            web::resource("/internal/apps/{app_id}/users/batch-map")
                .route(post().to(user_mappings::map_batch)),
        )
        .service(web::resource("/internal/apps/{app_id}/users/mappings").route(get().to(user_mappings::list)))
        .service(
            web::resource("/internal/apps/{app_id}/users/mappings/dialpad/{dialpad_user_id}")
                .route(get().to(user_mappings::of_dialpad_user))
                .route(delete().to(user_mappings::delete_of_dialpad_user)),
        )
        .service(
            web::resource("/internal/apps/{app_id}/users/mappings/crm/{crm_user_id}")
                .route(get().to(user_mappings::of_crm_user)),
        )
        .service(
            web::resource("/internal/apps/{app_id}/users/mappings/{mapping_id}")
                .route(delete().to(user_mappings::delete_one)),
        )
        .service(
            web::resource("/internal/apps/{app_id}/voicemails")
                .route(get().to(voicemails::list_for_administrators)),
        )
        .service(
            web::resource("/internal/apps/{app_id}/voicemails/{id}")
                .route(get().to(voicemails::one_for_administrators))
                .route(delete().to(voicemails::delete)),
        )
        .service(web::resource("/internal/webhook-events").route(get().to(webhook_events::list)))
        .service(web::resource("/internal/webhook-events/{id}").route(get().to(webhook_events::one)))
        .service(
            web::resource("/internal/webhook-events/{id}/replay").route(post().to(webhook_events::replay)),
        )
        .service(web::resource("/internal/webhooks").route(get().to(internal_webhooks::list)))
        .service(web::resource("/internal/webhooks/create").route(post().to(internal_webhooks::create)))
        .service(
            web::resource("/internal/webhooks/{webhook_id}")
                .route(get().to(internal_webhooks::one))
                .route(delete().to(internal_webhooks::delete)),
        )
        .service(
            web::resource("/internal/webhooks/{webhook_id}/rotate-secret")
                .route(post().to(internal_webhooks::rotate_secret)),
        )
        .default_service(web::to(|| async { Err::<(), _>(ApiError::new(ErrorCode::NotFound, "Not found")) }));
}
