//! The console: pages for administrators at `/console`, rendered by the server. They read and change what `/internal`
//! does, by the same functions, and work without JavaScript; the script only keeps pages up to date.
//!
//! | file | content |
//! |---|---|
//! | `access.rs`, `sessions.rs`, `sign_in.rs`, `fields.rs` | who is signed in; forms, their fields and CSRF tokens |
//! | `page.rs`, `assets.rs`, `parts.rs` | the frame of every page, its style and script, what pages share |
//! | `apps.rs`, `app.rs`, `connection.rs`, `keys.rs`, `clients.rs`, `mappings.rs` | apps: the list, one app, what can be changed about it |
//! | `journal.rs`, `replays.rs` | received webhooks, and replays |
//! | `calls.rs`, `timeline.rs` | calls: the list, one call over time |
//! | `causes.rs`, `evidence.rs`, `differences.rs` | why a call has its status: what each webhook did |
//! | `live.rs`, `stream.rs`, `banners.rs`, `samples.rs`, `plot.rs` | what happens now |
//! | `system.rs`, `vitals.rs` | the server, its metrics and its settings |
//!
//! To add a page: a handler that takes a [`access::Visitor`] (or [`access::Submitted`] for a form) and returns
//! `visitor.page(…)`, and a line in [`routes`].

mod access;
mod app;
mod apps;
mod assets;
mod banners;
mod calls;
mod causes;
mod clients;
mod connection;
mod differences;
mod evidence;
mod fields;
mod journal;
mod keys;
mod live;
mod mappings;
mod page;
mod parts;
mod plot;
mod replays;
mod samples;
mod sessions;
mod sign_in;
mod stream;
mod system;
mod timeline;
mod vitals;

use actix_web::{
    Resource, guard,
    middleware::from_fn,
    web::{self, ServiceConfig},
};
use chrono::{DateTime, Utc};
use cti_actors::id::AppId;
use secrecy::{ExposeSecret, SecretString};

use self::{
    access::{Failure, Visitor},
    samples::Samples,
};
use crate::{
    http::{
        AppState,
        error::{ApiError, ErrorCode},
    },
    telemetry::metrics::Metrics,
};

/// The largest form that is read, in bytes: a list of users.
const MAX_FORM: usize = 512 << 10;

/// What the console of this process has seen.
#[derive(Default)]
pub struct Console {
    samples: Samples,
}

impl Console {
    /// Collects what the live page plots, until it is dropped.
    pub async fn collect(&self, metrics: &Metrics) {
        self.samples.collect(metrics).await;
    }
}

/// Creates an address with which one person can sign in once, at any process that has this secret of administrators.
#[must_use]
pub fn create_sign_in_address(base_url: &str, secret: &SecretString, now: DateTime<Utc>) -> String {
    let token = sessions::create_token(secret, now);
    format!("{base_url}/console/sign-in?token={}", token.expose_secret())
}

/// Adds the pages. [`Console`] is added by the caller, as one for all workers.
pub fn routes(app: &mut ServiceConfig) {
    let console = web::scope("/console")
        .wrap(from_fn(access::renew_cookie))
        .app_data(web::PayloadConfig::new(MAX_FORM))
        .service(page_at("").get(apps::list).done())
        .service(page_at("/").get(apps::list).done())
        .service(page_at("/sign-in").get(sign_in::show).post(sign_in::submit).done())
        .service(page_at("/sign-out").post(sign_in::sign_out).done())
        .service(page_at("/assets/console.css").get(assets::style).done())
        .service(page_at("/assets/console.js").get(assets::script).done())
        .service(page_at("/apps").post(apps::create).done())
        .service(page_at("/apps/{app_id}").get(app::show).done())
        .service(page_at("/apps/{app_id}/key").post(keys::rotate).done())
        .service(page_at("/apps/{app_id}/key/revoke").post(keys::revoke).done())
        .service(page_at("/apps/{app_id}/change").post(app::change).done())
        .service(page_at("/apps/{app_id}/delete").post(app::delete).done())
        .service(page_at("/apps/{app_id}/disconnect").post(connection::disconnect).done())
        .service(page_at("/apps/{app_id}/webhook").post(connection::register).done())
        .service(page_at("/apps/{app_id}/webhook/secret").post(connection::rotate_secret).done())
        .service(page_at("/apps/{app_id}/webhook/delete").post(connection::remove_webhook).done())
        .service(page_at("/apps/{app_id}/sessions/{session_id}/close").post(clients::close).done())
        .service(page_at("/apps/{app_id}/users").get(mappings::list).post(mappings::map).done())
        .service(page_at("/apps/{app_id}/users/paste").post(mappings::paste).done())
        .service(page_at("/apps/{app_id}/users/{dialpad_user_id}/delete").post(mappings::delete).done())
        .service(page_at("/apps/{app_id}/active").post(app::set_active).done())
        .service(page_at("/apps/{app_id}/calls/{id}").get(calls::one).done())
        .service(page_at("/apps/{app_id}/calls/{id}/recording").get(calls::recording).done())
        .service(page_at("/apps/{app_id}/calls/{id}/voicemail").get(calls::voicemail).done())
        .service(page_at("/calls").get(calls::list).done())
        .service(page_at("/live").get(live::show).done())
        .service(page_at("/live/now").get(live::refresh).done())
        .service(page_at("/system").get(system::show).done())
        .service(page_at("/journal").get(journal::list).done())
        .service(page_at("/journal/replay").post(replays::all).done())
        .service(page_at("/journal/{id}").get(journal::one).done())
        .service(page_at("/journal/{id}/replay").post(replays::one).done())
        .default_service(web::to(missing));
    app.service(console);
}

/// A page that is not there: said only to those who are signed in.
async fn missing(_: Visitor) -> Result<(), Failure> {
    Err(ApiError::new(ErrorCode::NotFound, "There is no such page").into())
}

/// The methods of one address.
struct Page(Resource);

fn page_at(path: &'static str) -> Page {
    Page(web::resource(path))
}

impl Page {
    /// Answers `GET`, and `HEAD` like it.
    fn get<H, Args>(self, handler: H) -> Self
    where
        H: actix_web::Handler<Args>,
        Args: actix_web::FromRequest + 'static,
        H::Output: actix_web::Responder + 'static,
    {
        let reads = guard::Any(guard::Get()).or(guard::Head());
        Self(self.0.route(web::route().guard(reads).to(handler)))
    }

    fn post<H, Args>(self, handler: H) -> Self
    where
        H: actix_web::Handler<Args>,
        Args: actix_web::FromRequest + 'static,
        H::Output: actix_web::Responder + 'static,
    {
        Self(self.0.route(web::post().to(handler)))
    }

    fn done(self) -> Resource {
        self.0
    }
}

/// Returns the app of a form or a query, if one is named.
async fn named_app(state: &AppState, fields: &fields::Fields) -> Result<Option<AppId>, Failure> {
    match fields.get("app") {
        Some(app) => Ok(Some(crate::http::extract::app::existing(state, app).await?)),
        None => Ok(None),
    }
}
