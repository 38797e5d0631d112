//! One app: what is known of it, and what can be changed about it. The sections of its page are in the files beside this
//! one.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use cti_actors::{id::AppId, model::number::Region};
use maud::{Markup, html};
use strum::{EnumString, IntoStaticStr};

use super::{
    access::{Failure, Submitted, Visitor},
    clients, connection,
    fields::Fields,
    keys, mappings,
    page::{Section, hidden, see_other},
    parts::{Tone, address, app_address, badge, confirmed, facts, notice, time},
};
use crate::{
    http::{
        AppState,
        admin::apps::{change_activation, change_region},
        crm::status::status_of,
        error::ApiError,
        extract::{
            app::{AppPath, app_not_found},
            values::within,
        },
    },
    store::tenants::apps::App,
};

/// What was done, which the page says when it is opened again.
#[derive(Clone, Copy, Debug, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Done {
    Changed,
    WebhookRegistered,
    SecretRotated,
    WebhookRemoved,
    Disconnected,
    KeysRevoked,
    SessionClosed,
}

impl Done {
    fn sentence(self) -> &'static str {
        match self {
            Self::Changed => "The app is changed.",
            Self::WebhookRegistered => "The webhook and its subscriptions are at Dialpad.",
            Self::SecretRotated => {
                "Dialpad signs with the new secret. The old one is accepted for 24 hours more."
            }
            Self::WebhookRemoved => "The webhook is removed.",
            Self::Disconnected => "The app is disconnected.",
            Self::KeysRevoked => "All API keys of the app have ended, and its sessions are closed.",
            Self::SessionClosed => "The session is closed.",
        }
    }
}

/// Returns to the page of an app, which says what was done.
pub(super) fn done(app: AppId, done: Done) -> HttpResponse {
    see_other(&address(&app_address(app), &[("done", Some(done.into()))]))
}

/// Shows an app.
pub(super) async fn show(
    visitor: Visitor,
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let id = path.find(&state).await?;
    let app = state.store.apps().find(id).await?.ok_or_else(app_not_found)?;
    let status = status_of(&state, id).await?;
    let query = Fields::of_query(&request);
    let done: Option<Done> = query.get("done").and_then(|done| done.parse().ok());
    let content = html! {
        h1 { (app.name) @if !app.is_active { " " (badge("inactive")) } }
        p { code { (id) } }
        @if let Some(done) = done { (notice(Tone::Good, done.sentence())) }
        (connection::section(&visitor, &state, id, &status).await?)
        (connection::webhook(&visitor, &state, id).await?)
        (amounts(&state, &app).await?)
        (keys::section(&visitor, &state, id).await?)
        (clients::consumers(&state, id).await?)
        (clients::sessions(&visitor, &state, id).await?)
        (users(&state, id).await?)
        (settings(&visitor, &app))
        (activation(&visitor, &app))
    };
    Ok(visitor.page(Section::Apps, &app.name, &content))
}

async fn amounts(state: &AppState, app: &App) -> Result<Markup, Failure> {
    let counts = state.store.apps().counts(app.id).await?;
    let id = app.id.to_string();
    let of_status = |status| address("/console/journal", &[("status", Some(status)), ("app", Some(&id))]);
    let [calls, live] = ["/console/calls", "/console/live"].map(|page| address(page, &[("app", Some(&id))]));
    Ok(html! {
        section {
            h2 { "Data" }
            (facts(&[
                ("Calls", html! {
                    a href=(calls) { (counts.calls) } ", " a href=(live) { (counts.active_calls) " active" }
                }),
                ("Voicemails", html! { (counts.voicemails) }),
                ("Messages", html! { (counts.messages) }),
                ("Events kept", html! { (counts.events.unwrap_or_default()) }),
                ("Webhooks pending", html! { a href=(of_status("pending")) { (counts.pending_webhooks) } }),
                ("Webhooks unrouted", html! { a href=(of_status("unrouted")) { (counts.unrouted_webhooks) } }),
                ("Created", time(app.created_at)),
            ]))
        }
    })
}

async fn users(state: &AppState, app: AppId) -> Result<Markup, Failure> {
    const SHOWN: usize = 10;
    let page = state.store.user_mappings().list(app, None, None, SHOWN).await?;
    let pairs: Vec<String> =
        page.items.iter().map(|it| format!("{} is {}", it.dialpad_user_id, it.crm_user_id)).collect();
    let more = if page.next.is_some() { ", …" } else { "" };
    Ok(html! {
        section {
            h2 { "Users" }
            @if pairs.is_empty() {
                p.none { "No Dialpad user is mapped to a user of the CRM" }
            } @else {
                p { (pairs.join(", ")) (more) }
            }
            p { a href=(mappings::users_address(app)) { "Map users of the CRM" } }
        }
    })
}

fn settings(visitor: &Visitor, app: &App) -> Markup {
    html! {
        section {
            h2 { "Name and region" }
            form.line method="post" action=(format!("{}/change", app_address(app.id))) {
                (visitor.csrf_field())
                label for="name" { "Name" }
                input #name name="name" required maxlength="255" value=(app.name) autocomplete="off";
                label for="region" { "Region of numbers without a country code" }
                input #region name="region" required pattern="[A-Z]{2}" maxlength="2" size="3" value=(app.region)
                    autocomplete="off";
                button { "Change" }
            }
        }
    }
}

fn activation(visitor: &Visitor, app: &App) -> Markup {
    let active = format!("{}/active", app_address(app.id));
    let set_active = |value: &str, class: &str, text: &str| {
        html! {
            form.line method="post" action=(active) {
                (visitor.csrf_field())
                (hidden("active", value))
                button class=(class) { (text) }
            }
        }
    };
    let delete = html! {
        form.line method="post" action=(format!("{}/delete", app_address(app.id))) {
            (visitor.csrf_field())
            label for="delete-name" { "Its name, to be sure" }
            input #delete-name name="name" required autocomplete="off";
            button.danger { "Delete the app and its data" }
        }
    };
    html! {
        section {
            h2 { "Activation and deletion" }
            p {
                "An app that is not active keeps its data. Its requests are refused, its sessions are closed, and its \
                 webhooks wait."
            }
            @if app.is_active {
                (confirmed(
                    "Deactivate",
                    "Its clients are cut off until it is activated again.",
                    set_active("false", "danger", "Deactivate the app"),
                ))
            } @else {
                (set_active("true", "", "Activate the app"))
            }
            (confirmed(
                "Delete",
                "Its calls, messages, events and keys are deleted and can't be restored, and it is disconnected from Dialpad.",
                delete,
            ))
        }
    }
}

/// Activates or deactivates an app.
pub(super) async fn set_active(
    submitted: Submitted,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let app = path.find(&state).await?;
    change_activation(&state, app, submitted.fields.get("active") == Some("true")).await?;
    Ok(done(app, Done::Changed))
}

/// Changes the name and the region of an app.
pub(super) async fn change(
    submitted: Submitted,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let app = path.find(&state).await?;
    let name = submitted.fields.parsed("name", within::<255>)?;
    let region: Option<Region> = submitted.fields.parsed("region", |text| text.parse().ok())?;
    if let Some(name) = name {
        state.store.apps().rename(app, &name).await?;
    }
    if let Some(region) = region {
        change_region(&state, app, region).await?;
    }
    Ok(done(app, Done::Changed))
}

/// Deletes an app with all its data. Its name must be given.
pub(super) async fn delete(
    submitted: Submitted,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let id = path.find(&state).await?;
    let app = state.store.apps().find(id).await?.ok_or_else(app_not_found)?;
    if submitted.fields.get("name") != Some(app.name.trim()) {
        return Err(ApiError::invalid("name: is not the name of the app, so it was not deleted").into());
    }
    state.app_deletion.remove(id).await?;
    Ok(see_other("/console"))
}
