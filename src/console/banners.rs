//! What keeps calls from arriving: shown where somebody watches.

use maud::{Markup, html};

use super::{
    access::Failure,
    apps::Backlogs,
    parts::{Tone, app_address, duration, notice},
};
use crate::{
    http::{AppState, crm::status::describe_connection},
    recovery::time_delta,
    store::tenants::apps::App,
};

/// From how many waiting webhooks on the journal lags.
const LAG: i64 = 500;

/// Shows what needs attention, and returns how many webhooks of all apps are pending.
pub(super) async fn banners(state: &AppState, apps: &[App]) -> Result<(Markup, i64), Failure> {
    let pending = Backlogs::read(state).await?.total("pending");
    let mut shown = html! {
        (spool(state))
        @if pending >= LAG {
            (notice(Tone::Warning, html! { "The journal lags: " (pending) " webhooks wait to be processed." }))
        }
    };
    for app in apps {
        shown = html! { (shown) (connection(state, app).await?) (silence(state, app)) };
    }
    Ok((shown, pending))
}

fn spool(state: &AppState) -> Markup {
    let spool = state.spool.state();
    html! {
        @if spool.webhooks > 0 {
            (notice(Tone::Warning, html! {
                "The spool is in use: " (spool.webhooks) " webhooks wait on the local disk for the database ("
                (spool.state) ")."
            }))
        }
        @if let Some(problem) = state.spool.problem().filter(|_| spool.state != "off") {
            (notice(Tone::Bad, html! { "The spool can't take webhooks: " (problem) "." }))
        }
    }
}

async fn connection(state: &AppState, app: &App) -> Result<Markup, Failure> {
    let connection = state.store.connections().state(app.id).await?;
    let Some(connection) = connection else { return Ok(html! {}) };
    let (status, sentence) = describe_connection(&connection, state.config.environment.as_str());
    let tone = match status {
        "connected" => return Ok(html! {}),
        "degraded" => Tone::Warning,
        _ => Tone::Bad,
    };
    Ok(notice(tone, html! { a href=(app_address(app.id)) { (app.name) } ": " (sentence) "." }))
}

/// Says that nothing came for an app that received webhooks before. Offices close: it is no error.
fn silence(state: &AppState, app: &App) -> Markup {
    let silent_for = state.silence.silent_for(app.id, state.clock.now());
    let limit = time_delta(state.config.recovery.webhook_silence);
    html! {
        @if let Some(silent_for) = silent_for.filter(|silent_for| *silent_for >= limit) {
            (notice(Tone::Neutral, html! {
                a href=(app_address(app.id)) { (app.name) } ": Dialpad has sent nothing for "
                (duration(silent_for.num_seconds())) "; missed calls are looked for."
            }))
        }
    }
}
