//! One app: its connection, its webhook, its keys, its consumers, its users.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use cti_actors::{id::AppId, ports::EventLog, session::CloseCode};
use maud::{Markup, html};
use tracing::info;

use super::{
    access::{Failure, Submitted, Visitor},
    apps::connect_address,
    keys,
    page::{Section, hidden, see_other},
    parts::{Tone, address, app_address, badge, facts, notice, or_dash, table, time, time_or_dash},
};
use crate::{
    dialpad::oauth::scopes,
    http::{
        AppState,
        crm::status::{AppStatus, status_of},
        extract::app::{AppPath, app_not_found},
    },
    jobs::unrouted,
    store::tenants::apps::App,
};

/// How many consumers and mappings are shown.
const MAX_SHOWN: usize = 100;

/// Shows an app.
pub(super) async fn show(
    visitor: Visitor,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let id = path.find(&state).await?;
    let app = state.store.apps().find(id).await?.ok_or_else(app_not_found)?;
    let status = status_of(&state, id).await?;
    let content = html! {
        h1 { (app.name) @if !app.is_active { " " (badge("inactive")) } }
        p { code { (id) } }
        (connection(&state, id, &status).await?)
        (amounts(&state, &app).await?)
        (webhook(&state, id).await?)
        (keys::section(&visitor, &state, id).await?)
        (consumers(&state, id).await?)
        (mappings(&state, id).await?)
        (activation(&visitor, &app))
    };
    Ok(visitor.page(Section::Apps, &app.name, &content))
}

async fn connection(state: &AppState, app: AppId, status: &AppStatus) -> Result<Markup, Failure> {
    let granted = state.store.webhooks().granted_scopes(app).await?;
    let missing: Vec<_> = granted.iter().flat_map(|granted| scopes::missing(granted)).collect();
    let gaps: Vec<Markup> = status
        .unrecovered_gaps
        .iter()
        .map(|gap| {
            let reason = gap.reason.as_deref().unwrap_or("it was too long ago");
            html! { td { (time(gap.since)) } td { (time(gap.until)) } td { (reason) } }
        })
        .collect();
    let link = if status.connected { "Connect again" } else { "Connect to Dialpad" };
    Ok(html! {
        section {
            h2 { "Connection" }
            (facts(&[
                ("Status", html! { (badge(status.status)) " " (status.message) "." }),
                ("Problem", or_dash(status.problem.as_deref())),
                ("Organization", or_dash(status.dialpad_org_id)),
                ("Environment", html! { (status.environment) }),
                ("Connected", time_or_dash(status.connected_at)),
                ("Token expires", time_or_dash(status.token_expires_at)),
                ("Degraded since", time_or_dash(status.degraded_since)),
            ]))
            @for (scope, consequence) in missing {
                (notice(Tone::Warning, html! { "The scope " code { (scope) } " is missing: " (consequence) "." }))
            }
            @if !gaps.is_empty() {
                (table("Periods whose calls could not be fetched", &["From", "Until", "Reason"], &gaps))
            }
            p { a href=(connect_address(app)) { (link) } }
        }
    })
}

async fn amounts(state: &AppState, app: &App) -> Result<Markup, Failure> {
    let counts = state.store.apps().counts(app.id).await?;
    let id = app.id.to_string();
    let of_status = |status| address("/console/journal", &[("status", Some(status)), ("app", Some(&id))]);
    let calls = address("/console/calls", &[("app", Some(&id))]);
    Ok(html! {
        section {
            h2 { "Data" }
            (facts(&[
                ("Calls", html! { a href=(calls) { (counts.calls) } ", " (counts.active_calls) " active" }),
                ("Voicemails", html! { (counts.voicemails) }),
                ("Messages", html! { (counts.messages) }),
                ("Events kept", html! { (counts.events.unwrap_or_default()) }),
                ("Sessions at this process", html! { (state.engine.session_count_of(app.id)) }),
                ("Webhooks pending", html! { a href=(of_status("pending")) { (counts.pending_webhooks) } }),
                ("Webhooks unrouted", html! { a href=(of_status("unrouted")) { (counts.unrouted_webhooks) } }),
                ("Region of numbers", html! { (app.region) }),
                ("Created", time(app.created_at)),
            ]))
        }
    })
}

async fn webhook(state: &AppState, app: AppId) -> Result<Markup, Failure> {
    let webhook = state.store.webhooks().of_app(app).await?;
    let Some(webhook) = webhook else {
        return Ok(html! { section { h2 { "Webhook at Dialpad" } p.none { "None" } } });
    };
    Ok(html! {
        section {
            h2 { "Webhook at Dialpad" }
            (facts(&[
                ("State", badge(webhook.state().as_str())),
                ("Address", html! { code { (webhook.hook_url) } }),
                ("Dialpad's id", or_dash(webhook.dialpad_webhook_id.as_deref())),
                ("Subscription to calls", or_dash(webhook.call_subscription.as_deref())),
                ("Subscription to messages", or_dash(webhook.sms_subscription.as_deref())),
                ("Verified", time_or_dash(webhook.verified_at)),
                ("Checked", time_or_dash(webhook.checked_at)),
            ]))
            @for problem in &webhook.problems { (notice(Tone::Warning, problem)) }
        }
    })
}

async fn consumers(state: &AppState, app: AppId) -> Result<Markup, Failure> {
    let head = state.store.bounds(app).await?.head;
    let consumers = state.store.consumers().list(app, "", MAX_SHOWN, head).await?;
    let rows: Vec<Markup> = consumers
        .iter()
        .map(|consumer| {
            html! {
                th scope="row" { (consumer.name) }
                td { (consumer.mode) }
                td.number { (consumer.acked_seq) }
                td.number { (consumer.behind) }
                td.number { (consumer.connections) }
                td { (time(consumer.updated_at)) }
            }
        })
        .collect();
    let columns = ["Consumer", "Mode", "Acknowledged", "Events behind", "Connections", "Last moved"];
    Ok(html! {
        section {
            h2 { "Consumers" }
            p { "The newest event of the app is " (head) "." }
            (table("Named consumers", &columns, &rows))
        }
    })
}

async fn mappings(state: &AppState, app: AppId) -> Result<Markup, Failure> {
    let page = state.store.user_mappings().list(app, None, None, MAX_SHOWN).await?;
    let rows: Vec<Markup> = page
        .items
        .iter()
        .map(|mapping| {
            html! {
                th scope="row" { (mapping.dialpad_user_id) }
                td { (mapping.crm_user_id) }
                td { (time(mapping.updated_at)) }
            }
        })
        .collect();
    Ok(html! {
        section {
            h2 { "Users" }
            (table("Dialpad users and users of the CRM", &["Dialpad user", "CRM user", "Changed"], &rows))
            @if page.next.is_some() { p { "Only the newest " (MAX_SHOWN) " are shown." } }
        }
    })
}

fn activation(visitor: &Visitor, app: &App) -> Markup {
    let (value, text) =
        if app.is_active { ("false", "Deactivate the app") } else { ("true", "Activate the app") };
    html! {
        section {
            h2 { "Activation" }
            p {
                "An app that is not active keeps its data. Its requests are refused, its sessions are closed, and its \
                 webhooks wait."
            }
            form method="post" action=(format!("{}/active", app_address(app.id))) {
                (visitor.csrf_field())
                (hidden("active", value))
                button { (text) }
            }
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
    if submitted.fields.get("active") == Some("true") {
        unrouted::activate_app(&state.store, &state.engine, &state.tasks, app).await?;
    } else {
        state.store.apps().deactivate(app).await?;
        state.engine.close_sessions_of(app, CloseCode::Forbidden, "the app was deactivated");
        info!(app.id = %app, "an app was deactivated");
    }
    Ok(see_other(&app_address(app)))
}
