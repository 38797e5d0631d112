//! An app at Dialpad: its connection with missing scopes, its webhook with its subscriptions, and what can be done about
//! them.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use cti_actors::id::AppId;
use maud::{Markup, html};

use super::{
    access::{Failure, Submitted, Visitor},
    app::{Done, done},
    apps::connect_address,
    parts::{
        Tone, app_address, badge, button_form, confirmed, facts, notice, or_dash, table, time, time_or_dash,
    },
};
use crate::{
    dialpad::oauth::{disconnect::disconnect_app, scopes},
    http::{AppState, admin::webhooks::complete, crm::status::AppStatus, extract::app::AppPath},
    store::dialpad::webhook_views::WebhookView,
};

/// Shows the connection.
pub(super) async fn section(
    visitor: &Visitor,
    state: &AppState,
    app: AppId,
    status: &AppStatus,
) -> Result<Markup, Failure> {
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
    let consequence = "Its tokens are revoked and deleted, and its webhook is removed at Dialpad: no calls come until a \
                       person connects it again.";
    let disconnect = format!("{}/disconnect", app_address(app));
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
            @for (scope, consequence) in &missing {
                (notice(Tone::Warning, html! { "The scope " code { (scope) } " is missing: " (consequence) "." }))
            }
            @if !missing.is_empty() {
                p.hint { "Have the scopes added to the OAuth client at Dialpad, and connect the app again." }
            }
            @if !gaps.is_empty() {
                (table("Periods whose calls could not be fetched", &["From", "Until", "Reason"], &gaps))
            }
            p { a href=(connect_address(app)) { (link) } }
            @if status.connected_at.is_some() {
                (confirmed(
                    "Disconnect",
                    consequence,
                    button_form(visitor, &disconnect, "danger", "Disconnect the app"),
                ))
            }
        }
    })
}

/// Shows the webhook at Dialpad.
pub(super) async fn webhook(visitor: &Visitor, state: &AppState, app: AppId) -> Result<Markup, Failure> {
    let webhook = state.store.webhooks().of_app(app).await?;
    let base = format!("{}/webhook", app_address(app));
    let text = if webhook.is_some() { "Check and register again" } else { "Register at Dialpad" };
    Ok(html! {
        section {
            h2 { "Webhook at Dialpad" }
            @match &webhook { Some(webhook) => (described(webhook)), None => p.none { "None" } }
            (button_form(visitor, &base, "quiet", text))
            @if webhook.is_some() {
                (confirmed(
                    "Rotate the secret",
                    "Dialpad signs with a new secret from now on. The old one is accepted for 24 hours more; none is shown.",
                    button_form(visitor, &format!("{base}/secret"), "quiet", "Rotate the secret of the webhook"),
                ))
                (confirmed(
                    "Remove",
                    "The webhook and its subscriptions are deleted at Dialpad: no calls come until it is registered again.",
                    button_form(visitor, &format!("{base}/delete"), "danger", "Remove the webhook"),
                ))
            }
        }
    })
}

fn described(webhook: &WebhookView) -> Markup {
    html! {
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
}

/// Makes sure that the webhook and its subscriptions are at Dialpad.
pub(super) async fn register(
    _: Submitted,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let (app, reconciler) = (path.find(&state).await?, state.webhook_reconciler.clone());
    complete(async move { reconciler.ensure(app).await }).await?;
    Ok(done(app, Done::WebhookRegistered))
}

/// Gives the webhook a new secret.
pub(super) async fn rotate_secret(
    _: Submitted,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let (app, reconciler) = (path.find(&state).await?, state.webhook_reconciler.clone());
    complete(async move { reconciler.rotate(app).await }).await?;
    Ok(done(app, Done::SecretRotated))
}

/// Removes the webhook, at Dialpad too.
pub(super) async fn remove_webhook(
    _: Submitted,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let (app, reconciler) = (path.find(&state).await?, state.webhook_reconciler.clone());
    complete(async move { reconciler.remove(app).await }).await?;
    Ok(done(app, Done::WebhookRemoved))
}

/// Disconnects the app from Dialpad.
pub(super) async fn disconnect(
    _: Submitted,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let app = path.find(&state).await?;
    disconnect_app(&state.webhook_reconciler, &state.dialpad, &state.store, &state.engine, app).await?;
    Ok(done(app, Done::Disconnected))
}
