//! The server: its health, its engine, its build, its settings.

use actix_web::{HttpResponse, web::Data};
use bytesize::ByteSize;
use cti_actors::state::{LastError, SupervisorState};
use maud::{Markup, html};
use serde_json::Value;

use super::{
    Console,
    access::{Failure, Visitor},
    apps::AppNames,
    page::Section,
    parts::{Tone, badge, duration, facts, notice, or_dash, table, time},
    vitals::vitals,
};
use crate::{
    cluster::ProcessView,
    http::{AppState, health},
};

/// Shows the server. It is shown also while the database is unavailable.
pub(super) async fn show(visitor: Visitor, state: Data<AppState>, console: Data<Console>) -> HttpResponse {
    let health = serde_json::to_value(health::check(&state).await).unwrap_or_default();
    let content = html! {
        h1 { "System" }
        (health_section(&state, &health))
        (vitals(&state.metrics.render(), &console.samples.all()))
        (processes(&state).await)
        (engine(&state).await)
        (settings(&state))
    };
    visitor.page(Section::System, "System", &content)
}

fn health_section(state: &AppState, health: &Value) -> Markup {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let checks = health["checks"].as_object().into_iter().flatten();
    let spool = state.spool.state();
    let spool = html! { (spool.state) ", " (spool.webhooks) " webhooks, " (ByteSize(spool.bytes)) };
    let uptime = i64::try_from(state.started.elapsed().as_secs()).unwrap_or(i64::MAX);
    html! {
        section {
            h2 { "Health" }
            (facts(&[
                ("Status", badge(&text(&health["status"]))),
                ("Version", html! { (env!("CARGO_PKG_VERSION")) }),
                ("Environment", html! { (state.config.environment.as_str()) }),
                ("Running for", html! { (duration(uptime)) }),
                ("Process", html! { code { (state.cluster.process_id()) } }),
                ("Spool", spool),
                ("Public address", html! { (state.public_url) }),
                ("Time of the server", time(state.clock.now())),
            ]))
            @for (name, result) in checks {
                @let result = text(result);
                @let tone = if result == "ok" { Tone::Good } else { Tone::Bad };
                (notice(tone, html! { (name) ": " (result) }))
            }
            @for warning in &state.config.warnings { (notice(Tone::Warning, warning)) }
        }
    }
}

async fn processes(state: &AppState) -> Markup {
    let Ok(cluster) = state.cluster.state().await else { return html! {} };
    let row = |process: &ProcessView| {
        html! {
            th scope="row" { code { (process.process_id) } }
            td { (process.host) }
            td { (process.version) }
            td { (time(process.started_at)) }
            td { (time(process.seen_at)) }
            td.number { (process.apps) }
        }
    };
    let rows: Vec<Markup> = cluster.processes.iter().map(row).collect();
    let orphans = cluster.leases.iter().filter(|lease| lease.owner.is_none()).count();
    let columns = ["Process", "Host", "Version", "Started", "Last seen", "Apps"];
    html! {
        section {
            h2 { "Processes" }
            @if orphans > 0 { (notice(Tone::Warning, html! { (orphans) " apps have no owner at the moment." })) }
            (table("The processes on this database, and how many apps each works on", &columns, &rows))
        }
    }
}

async fn engine(state: &AppState) -> Markup {
    let engine = state.engine.state();
    let names = AppNames::read(state, engine.apps.iter().map(|app| Some(app.app_id))).await;
    let rows: Vec<Markup> = engine.apps.iter().map(|app| app_row(app, &names)).collect();
    let columns = [
        "App",
        "Processed here",
        "Batch",
        "In memory",
        "Calls",
        "Sessions",
        "Restarts",
        "Quarantined",
        "Last error",
    ];
    html! {
        section {
            h2 { "Engine" }
            (facts(&[
                ("Sessions", html! { (engine.sessions) }),
                ("Consumers", html! { (engine.consumers) }),
                ("Tokens being renewed", html! { (engine.token_refresher.renewals_in_progress) }),
                ("Restarts of the token refresher", html! { (engine.token_refresher.restarts) }),
                ("Its last error", last_error(engine.token_refresher.last_error.as_ref())),
            ]))
            (table("Apps that this process has had work for", &columns, &rows))
        }
    }
}

fn app_row(app: &SupervisorState, names: &Result<AppNames, Failure>) -> Markup {
    let yes_or_no = |value| if value { "yes" } else { "no" };
    html! {
        th scope="row" {
            @match names { Ok(names) => (names.link(Some(app.app_id))), Err(_) => code { (app.app_id) } }
        }
        td { (yes_or_no(app.owned)) }
        td { (yes_or_no(app.batch_in_progress)) }
        td.number { (app.inbox) }
        td.number { (app.live_calls) }
        td.number { (app.sessions) }
        td.number { (app.restarts) }
        td.number { (app.quarantined) }
        td { (last_error(app.last_error.as_ref())) }
    }
}

fn last_error(error: Option<&LastError>) -> Markup {
    or_dash(error.map(|error| html! { (time(error.at)) " " (error.message) }))
}

fn settings(state: &AppState) -> Markup {
    let settings = state.config.shown.iter();
    let row = |(name, value): &(String, String)| {
        html! { th scope="row" { code { (name) } } td { (or_dash((!value.is_empty()).then_some(value))) } }
    };
    let rows: Vec<Markup> = settings.map(row).collect();
    html! {
        section {
            h2 { "Settings" }
            (table("The settings in force; secrets are not shown", &["Setting", "Value"], &rows))
        }
    }
}
