//! The first page: what needs attention, and all apps.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use cti_actors::id::AppId;
use maud::{Markup, html};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{
    access::{Failure, Submitted, Visitor},
    banners::cut_off,
    fields::Fields,
    keys, named_app,
    page::{Section, hidden},
    parts::{Tone, address, app_address, badge, cursor, next_page, notice, or_dash, table},
};
use crate::{
    http::{AppState, admin::apps::create_with_key, crm::status::describe_connection, error::ApiError},
    store::{dialpad::webhook_views::WebhookState, journal::views::Backlog, tenants::apps::App},
};

/// How many apps a page has.
pub(super) const PAGE: usize = 50;
const MAX_NAME_LEN: usize = 255;

/// The webhooks that wait or failed, by app and status.
pub(super) struct Backlogs(HashMap<(Option<AppId>, String), i64>);

impl Backlogs {
    /// Reads them.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn read(state: &AppState) -> Result<Self, Failure> {
        let counts = state.store.journal().backlog().await?;
        let entry = |Backlog { app, status, count }: Backlog| ((app, status), count);
        Ok(Self(counts.into_iter().map(entry).collect()))
    }

    /// Returns how many webhooks of an app have a status.
    pub(super) fn of(&self, app: AppId, status: &str) -> i64 {
        self.0.get(&(Some(app), status.to_owned())).copied().unwrap_or_default()
    }

    /// Returns how many webhooks of all apps have a status.
    pub(super) fn total(&self, status: &str) -> i64 {
        self.0.iter().filter(|((_, of), _)| of == status).map(|(_, count)| count).sum()
    }
}

/// Shows what needs attention, and the apps.
pub(super) async fn list(
    visitor: Visitor,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, Failure> {
    let query = Fields::of_query(&request);
    let page = state.store.apps().list(cursor(&query)?, PAGE).await?;
    let backlogs = Backlogs::read(&state).await?;
    let mut rows = Vec::with_capacity(page.items.len());
    for app in &page.items {
        rows.push(row(&state, app, &backlogs).await?);
    }
    let columns = ["App", "Connection", "Sessions", "Pending", "Failed", "Unrouted", ""];
    let content = html! {
        h1 { "Apps" }
        (cut_off(&state).await?)
        (attention(&backlogs))
        (table("Apps, the newest first", &columns, &rows))
        (next_page("/console", &query, &[], page.next))
        (create_form(&visitor))
    };
    Ok(visitor.page(Section::Apps, "Apps", &content))
}

fn attention(backlogs: &Backlogs) -> Markup {
    let link = |status: &str, sentence: &str| {
        let count = backlogs.total(status);
        let href = address("/console/journal", &[("status", Some(status))]);
        let tone = if status == "failed" { Tone::Bad } else { Tone::Warning };
        html! {
            @if count > 0 { (notice(tone, html! { a href=(href) { (count) " " (sentence) } })) }
        }
    };
    html! {
        (link("failed", "failed webhooks"))
        (link("unrouted", "unrouted webhooks, which wait for an app or its connection"))
    }
}

async fn row(state: &AppState, app: &App, backlogs: &Backlogs) -> Result<Markup, Failure> {
    let connection = state.store.connections().state(app.id).await?;
    let environment = state.config.environment.as_str();
    let status = connection.as_ref().map_or("disconnected", |it| describe_connection(it, environment).0);
    let problem = connection.and_then(|connection| connection.refresh_problem);
    let webhook = state.store.webhooks().of_app(app.id).await?.map(|webhook| webhook.state());
    let count = |status: &str| {
        let count = backlogs.of(app.id, status);
        let app = app.id.to_string();
        let href = address("/console/journal", &[("status", Some(status)), ("app", Some(&app))]);
        html! { td.number { @if count > 0 { a href=(href) { (count) } } @else { "0" } } }
    };
    Ok(html! {
        th scope="row" {
            a href=(app_address(app.id)) { (app.name) }
            @if !app.is_active { " " (badge("inactive")) }
        }
        td {
            (badge(status)) @if let Some(problem) = problem { " " (problem) }
            @if webhook == Some(WebhookState::Degraded) { " webhook " (badge(WebhookState::Degraded.as_str())) }
        }
        td.number { (state.engine.session_count_of(app.id)) }
        (count("pending"))
        (count("failed"))
        (count("unrouted"))
        td {
            @if status != "connected" { a href=(connect_address(app.id)) { "Connect" } }
        }
    })
}

/// Returns the address at which a person connects an app to Dialpad.
pub(super) fn connect_address(app: AppId) -> String {
    address("/authorize", &[("app_id", Some(&app.to_string()))])
}

fn create_form(visitor: &Visitor) -> Markup {
    html! {
        section {
            h2 { "Create an app" }
            form.line method="post" action="/console/apps" {
                (visitor.csrf_field())
                // A form that is sent twice creates one app.
                (hidden("id", &Uuid::now_v7().to_string()))
                label for="name" { "Name" }
                input #name name="name" required maxlength=(MAX_NAME_LEN) autocomplete="off";
                button { "Create" }
            }
        }
    }
}

/// Creates an app, and shows its first key.
pub(super) async fn create(submitted: Submitted, state: Data<AppState>) -> Result<HttpResponse, Failure> {
    let Submitted { visitor, fields } = submitted;
    let name = fields.get("name").filter(|name| name.chars().count() <= MAX_NAME_LEN);
    let name = name.ok_or_else(|| ApiError::invalid("name: must be a string of 1 to 255 characters"))?;
    let id = fields.parsed("id", |text| text.parse().ok())?;
    let id = AppId(id.ok_or_else(|| ApiError::invalid("id: is required"))?);
    if state.store.apps().find(id).await?.is_some() {
        return Err(
            ApiError::invalid("The app was created already: its key was shown, and can be rotated").into()
        );
    }
    let (app, key) = create_with_key(&state, id, name, false).await?;
    let content = html! {
        h1 { (app.name) }
        (keys::shown_once(key.key.expose_secret()))
        p { a href=(connect_address(id)) { "Connect the app to Dialpad" } }
        p { a href=(app_address(id)) { "Go to the app" } }
    };
    Ok(visitor.page(Section::Apps, &app.name, &content))
}

/// Returns the app that a query names, or the newest one, and the apps to choose from. `None` if there is no app.
///
/// # Errors
/// There is no such app, or the database is unavailable.
pub(super) async fn choose_app(
    state: &AppState,
    query: &Fields,
) -> Result<Option<(AppId, Vec<App>)>, Failure> {
    let mut apps = state.store.apps().list(None, PAGE).await?.items;
    let Some(app) = named_app(state, query).await?.or(apps.first().map(|app| app.id)) else {
        return Ok(None);
    };
    if apps.iter().all(|one| one.id != app) {
        apps.extend(state.store.apps().find(app).await?);
    }
    Ok(Some((app, apps)))
}

/// Returns the names of apps, for lists that name their app.
pub(super) struct AppNames(HashMap<AppId, String>);

impl AppNames {
    /// Reads the names of these apps.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn read(
        state: &AppState,
        apps: impl IntoIterator<Item = Option<AppId>>,
    ) -> Result<Self, Failure> {
        let mut names = HashMap::new();
        for app in apps.into_iter().flatten() {
            if let std::collections::hash_map::Entry::Vacant(entry) = names.entry(app)
                && let Some(found) = state.store.apps().find(app).await?
            {
                entry.insert(found.name);
            }
        }
        Ok(Self(names))
    }

    /// Shows an app as a link to its page.
    pub(super) fn link(&self, app: Option<AppId>) -> Markup {
        let link = |app: AppId| {
            let name = self.0.get(&app).map_or("deleted", String::as_str);
            html! { a href=(app_address(app)) { (name) } }
        };
        or_dash(app.map(link))
    }
}
