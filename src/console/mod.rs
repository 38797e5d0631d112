//! The console: pages for administrators at `/console`, rendered by the server. They read and change what `/internal`
//! does, by the same functions, and work without JavaScript; the script only keeps pages up to date.
//!
//! | file | content |
//! |---|---|
//! | `access.rs`, `sessions.rs`, `sign_in.rs` | who is signed in; forms and their CSRF tokens |
//! | `page.rs`, `assets.rs`, `parts.rs` | the frame of every page, its style and script, what pages share |
//! | `apps.rs`, `app.rs`, `keys.rs` | apps: the list, one app, what can be changed about it |
//! | `journal.rs`, `replays.rs` | received webhooks, and replays |
//! | `calls.rs`, `timeline.rs`, `causes.rs` | calls: the list, one call over time, why it has its status |
//! | `live.rs`, `system.rs` | what happens now; the server and its settings |
//!
//! To add a page: a handler that takes a [`access::Visitor`] (or [`access::Submitted`] for a form) and returns
//! `visitor.page(…)`, and a line in [`routes`].

mod access;
mod app;
mod apps;
mod assets;
mod calls;
mod causes;
mod journal;
mod keys;
mod live;
mod page;
mod parts;
mod replays;
mod sessions;
mod sign_in;
mod system;
mod timeline;

use actix_web::{
    Resource, guard,
    web::{self, ServiceConfig},
};
use chrono::{DateTime, Utc};
use cti_actors::id::AppId;
use secrecy::SecretString;

use self::{
    access::{Failure, Visitor},
    sessions::Sessions,
};
use crate::http::{
    AppState,
    error::{ApiError, ErrorCode},
};

/// The largest form that is read, in bytes.
const MAX_FORM: usize = 16 << 10;

/// The state of the console of this process.
#[derive(Default)]
pub struct Console {
    sessions: Sessions,
}

impl Console {
    /// Creates a token with which one person can sign in once, at `/console/sign-in?token=…`.
    #[must_use]
    pub fn create_sign_in_token(&self, now: DateTime<Utc>) -> SecretString {
        self.sessions.create_token(now)
    }
}

/// Adds the pages. The state is added by the caller, as one for all workers.
pub fn routes(app: &mut ServiceConfig) {
    let console = web::scope("/console")
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
async fn named_app(state: &AppState, fields: &access::Fields) -> Result<Option<AppId>, Failure> {
    match fields.get("app") {
        Some(app) => Ok(Some(crate::http::extract::app::existing(state, app).await?)),
        None => Ok(None),
    }
}
