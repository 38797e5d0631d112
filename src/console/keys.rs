//! The API keys of an app: which are valid, and rotating them.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use cti_actors::id::AppId;
use maud::{Markup, html};
use secrecy::ExposeSecret;

use super::{
    access::{Failure, Submitted, Visitor},
    app::{Done, done},
    page::Section,
    parts::{Tone, app_address, button_form, confirmed, notice, table, time, time_or_dash},
};
use crate::http::{
    AppState,
    admin::api_keys::{replace_key, revoke_keys},
    error::ApiError,
    extract::app::AppPath,
};

/// The grace times that the form offers, in seconds.
const GRACE: [(i64, &str); 4] =
    [(0, "end at once"), (3600, "end in an hour"), (86_400, "end in a day"), (604_800, "end in a week")];
/// Ends nothing that is in use.
const DEFAULT_GRACE: i64 = 86_400;
/// How many changes of the keys are shown.
const MAX_AUDIT: usize = 10;

/// Shows a key that can't be shown again.
pub(super) fn shown_once(key: &str) -> Markup {
    html! {
        (notice(Tone::Warning, "Store this API key now. It is not shown again."))
        p.secret {
            code #key { (key) }
            button.quiet type="button" data-copy="key" hidden { "Copy" }
        }
    }
}

/// Shows the keys of an app, with the form that rotates them.
pub(super) async fn section(visitor: &Visitor, state: &AppState, app: AppId) -> Result<Markup, Failure> {
    let keys = state.store.api_keys().valid(app).await?;
    let audit = state.store.api_keys().audit(app, MAX_AUDIT, 0).await?;
    let rows: Vec<Markup> = keys
        .iter()
        .map(|key| {
            html! {
                th scope="row" { code { (key.hint) } }
                td { (time(key.created_at)) }
                td { (time_or_dash(key.expires_at)) }
            }
        })
        .collect();
    let changes: Vec<Markup> = audit
        .iter()
        .map(|entry| {
            let hint = entry.new_key_hint.as_ref().or(entry.old_key_hint.as_ref());
            html! {
                td { (time(entry.created_at)) }
                td { (entry.action) }
                td { @if let Some(hint) = hint { code { (hint) } } }
            }
        })
        .collect();
    Ok(html! {
        section {
            h2 { "API keys" }
            (table("Valid keys", &["Key", "Created", "Ends"], &rows))
            form.line method="post" action=(format!("{}/key", app_address(app))) {
                (visitor.csrf_field())
                label for="grace" { "The valid keys" }
                select #grace name="grace_seconds" {
                    @for (seconds, text) in GRACE { option value=(seconds) selected[seconds == DEFAULT_GRACE] { (text) } }
                }
                button { (if keys.is_empty() { "Create a key" } else { "Rotate the key" }) }
            }
            @if !keys.is_empty() {
                (confirmed(
                    "Revoke",
                    "All keys end at once, and all sessions are closed: no client gets in until a new key is created.",
                    button_form(visitor, &format!("{}/key/revoke", app_address(app)), "danger", "Revoke all keys"),
                ))
            }
            details {
                summary { "Changes" }
                (table("The last changes of the keys", &["When", "What", "Key"], &changes))
            }
        }
    })
}

/// Rotates the key, and shows the new one.
pub(super) async fn rotate(
    submitted: Submitted,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let Submitted { visitor, fields } = submitted;
    let app = path.find(&state).await?;
    let offered = |text: &str| text.parse().ok().filter(|given| GRACE.iter().any(|(it, _)| it == given));
    let grace = fields.parsed("grace_seconds", offered)?;
    let grace = grace.ok_or_else(|| ApiError::invalid("grace_seconds: is required"))?;
    let key = replace_key(&state, app, grace).await?;
    let content = html! {
        h1 { "A new API key" }
        (shown_once(key.key.expose_secret()))
        p { a href=(app_address(app)) { "Back to the app" } }
    };
    Ok(visitor.page(Section::Apps, "A new API key", &content))
}

/// Revokes all keys.
pub(super) async fn revoke(
    _: Submitted,
    state: Data<AppState>,
    path: Path<AppPath>,
) -> Result<HttpResponse, Failure> {
    let app = path.find(&state).await?;
    revoke_keys(&state, app).await?;
    Ok(done(app, Done::KeysRevoked))
}
