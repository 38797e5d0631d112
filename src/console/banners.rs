//! What keeps calls from arriving: shown where somebody watches.

use cti_actors::id::AppId;
use maud::{Markup, html};

use super::{
    access::Failure,
    apps::{AppNames, Backlogs},
    parts::{Tone, app_address, duration, notice},
};
use crate::{
    http::{AppState, crm::status::describe_connection},
    recovery::time_delta,
    store::{dialpad::webhook_views::WebhookState, tenants::apps::App},
};

/// From how many waiting webhooks on the journal lags.
const LAG: i64 = 500;
/// How many apps are named for one reason.
const MAX_NAMED: usize = 10;

/// Shows what needs attention, and returns how many webhooks of all apps are pending.
pub(super) async fn banners(state: &AppState) -> Result<(Markup, i64), Failure> {
    let pending = Backlogs::read(state).await?.total("pending");
    let shown = html! {
        (spool(state))
        @if pending >= LAG {
            (notice(Tone::Warning, html! { "The journal lags: " (pending) " webhooks wait to be processed." }))
        }
        (cut_off(state).await?)
        (silence(state).await?)
    };
    Ok((shown, pending))
}

/// Says that the spool is in use, or can't be used.
pub(super) fn spool(state: &AppState) -> Markup {
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

/// Names the apps, of all there are, whose connection or webhook at Dialpad has a problem.
pub(super) async fn cut_off(state: &AppState) -> Result<Markup, Failure> {
    let environment = state.config.environment.as_str();
    let mut apps = state.store.apps().cut_off(environment, MAX_NAMED + 1).await?;
    let are_more = apps.len() > MAX_NAMED;
    apps.truncate(MAX_NAMED);
    let mut shown = html! {};
    for app in &apps {
        for (tone, problem) in problems(state, app.id).await? {
            shown = html! { (shown) (notice(tone, html! { (link(app)) ": " (problem) })) };
        }
    }
    Ok(html! {
        (shown)
        @if are_more { (notice(Tone::Warning, "More apps have such problems.")) }
    })
}

fn link(app: &App) -> Markup {
    html! { a href=(app_address(app.id)) { (app.name) } }
}

/// Returns what is wrong with an app at Dialpad: its connection, and its webhook with the subscriptions.
async fn problems(state: &AppState, app: AppId) -> Result<Vec<(Tone, Markup)>, Failure> {
    let mut problems = Vec::new();
    if let Some(connection) = state.store.connections().state(app).await? {
        let (status, sentence) = describe_connection(&connection, state.config.environment.as_str());
        let tone = if status == "degraded" { Tone::Warning } else { Tone::Bad };
        if status != "connected" {
            problems.push((tone, html! { (sentence) "." }));
        }
    }
    let webhook = state.store.webhooks().of_app(app).await?;
    if let Some(webhook) = webhook.filter(|webhook| webhook.state() == WebhookState::Degraded) {
        let found = webhook.problems.join(" ");
        problems.push((
            Tone::Bad,
            html! { "the last check could not confirm that Dialpad delivers its calls. " (found) },
        ));
    }
    Ok(problems)
}

/// Says for which apps nothing came that received webhooks before. Offices close: it is an error only where that is unusual.
async fn silence(state: &AppState) -> Result<Markup, Failure> {
    let limit = time_delta(state.config.recovery.webhook_silence);
    let silent = state.silence.silent(state.clock.now(), limit);
    let shown = &silent[..silent.len().min(MAX_NAMED)];
    let names = AppNames::read(state, shown.iter().map(|it| Some(it.app))).await?;
    Ok(html! {
        @for it in shown {
            @let lasts = duration(it.lasts.num_seconds());
            @if it.is_unusual {
                (notice(Tone::Warning, html! {
                    (names.link(Some(it.app))) ": Dialpad has sent nothing for " (lasts)
                    ", unlike in other weeks at this hour; missed calls are looked for."
                }))
            } @else {
                (notice(Tone::Neutral, html! {
                    (names.link(Some(it.app))) ": Dialpad has sent nothing for " (lasts)
                    "; missed calls are looked for."
                }))
            }
        }
        @if silent.len() > shown.len() {
            (notice(Tone::Neutral, html! { "The same of " (silent.len() - shown.len()) " more apps." }))
        }
    })
}
