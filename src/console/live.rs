//! What happens now: active calls with running timers, the newest events, and what keeps calls from arriving. The page
//! fetches its part again every two seconds.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, SecondsFormat, Utc};
use cti_actors::{
    id::{AppId, Seq},
    ports::EventLog,
};
use maud::{Markup, html};

use super::{
    access::{Failure, Fields, Refresh, Visitor},
    apps::{Backlogs, choose_app},
    calls::{call_address, text_of},
    causes::Emitted,
    page::{self, Section},
    parts::{Tone, address, app_address, badge, duration, notice, or_dash, table, time},
};
use crate::{
    http::{AppState, crm::status::describe_connection},
    store::{tenants::apps::App, views::calls::CallView},
};

const MAX_CALLS: usize = 100;
const MAX_EVENTS: usize = 20;
/// How many bytes of events are read at most.
const MAX_EVENT_BYTES: usize = 512 << 10;
/// From how many waiting webhooks on the journal lags.
const LAG: i64 = 500;

/// Shows the page.
pub(super) async fn show(visitor: Visitor, request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    let query = Fields::of_query(&request);
    let source = address("/console/live/now", &[("app", query.get("app"))]);
    let content = html! {
        h1 { "Live" }
        noscript { p.hint { "Without JavaScript, reload the page to update it." } }
        div data-refresh=(source) { (now(&state, &query).await) }
    };
    visitor.page(Section::Live, "Live", &content)
}

/// Returns the part of the page that changes.
pub(super) async fn refresh(_: Refresh, request: HttpRequest, state: Data<AppState>) -> HttpResponse {
    page::fragment(now(&state, &Fields::of_query(&request)).await)
}

/// Shows what is known now, also while the database is unavailable.
async fn now(state: &AppState, query: &Fields) -> Markup {
    match read(state, query).await {
        Ok(content) => content,
        Err(failure) => html! {
            (notice(Tone::Bad, html! { (failure) ". What follows is of this process only." }))
            p { "Sessions at this process: " (state.engine.session_count()) "." }
        },
    }
}

async fn read(state: &AppState, query: &Fields) -> Result<Markup, Failure> {
    let backlogs = Backlogs::read(state).await?;
    let Some((app, apps)) = choose_app(state, query).await? else {
        return Ok(html! { p { "There is no app yet. " a href="/console" { "Create one" } "." } });
    };
    let pending = backlogs.total("pending");
    let (calls, ..) = state.store.calls().list_active(app, None, MAX_CALLS).await?;
    let at = state.clock.now();
    let rows: Vec<Markup> = calls.items.iter().map(|call| call_row(app, call, at)).collect();
    let columns = ["Call", "Status", "For", "From", "To", "User"];
    Ok(html! {
        @for app in &apps { (connection(state, app).await?) }
        @if pending >= LAG {
            (notice(Tone::Warning, html! { "The journal lags: " (pending) " webhooks wait to be processed." }))
        }
        nav.tabs aria-label="App" {
            @for one in &apps {
                a href=(address("/console/live", &[("app", Some(&one.id.to_string()))]))
                    aria-current=[(one.id == app).then_some("page")] { (one.name) }
            }
        }
        p {
            "Sessions at this process: " (state.engine.session_count_of(app))
            ". Webhooks pending, of all apps: " (pending) "."
        }
        (table("Active calls, the newest first", &columns, &rows))
        @if calls.next.is_some() { p { "Only the newest " (MAX_CALLS) " are shown." } }
        (events(state, app).await?)
    })
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

fn call_row(app: AppId, call: &CallView, now: DateTime<Utc>) -> Markup {
    let since = call.answered_at.or(call.ringing_at).unwrap_or(call.created_at);
    html! {
        th scope="row" { a href=(call_address(app, call.dialpad_call_id)) { (call.dialpad_call_id) } }
        td { (badge(call.status.as_str())) }
        td {
            span.timer data-since=(since.to_rfc3339_opts(SecondsFormat::Millis, true)) {
                (duration((now - since).num_seconds().max(0)))
            }
        }
        td { (or_dash(call.from_number.as_deref())) }
        td { (or_dash(call.to_number.as_deref())) }
        td { (or_dash(call.crm_user_id.clone().or(call.dialpad_user_id.map(|user| user.to_string())))) }
    }
}

async fn events(state: &AppState, app: AppId) -> Result<Markup, Failure> {
    let bounds = state.store.bounds(app).await?;
    let count = i64::try_from(MAX_EVENTS).unwrap_or(i64::MAX);
    let after = Seq((bounds.head.0 - count).max(bounds.oldest.0 - 1));
    let frames = state.store.page_within(app, after, MAX_EVENTS, MAX_EVENT_BYTES).await?;
    let rows: Vec<Markup> = frames.iter().rev().map(|frame| event_row(app, &Emitted::of(frame))).collect();
    Ok(table("The newest events", &["Seq", "Type", "Happened", "Call", "Status"], &rows))
}

fn event_row(app: AppId, event: &Emitted) -> Markup {
    let at = event.fields.get("timestamp").and_then(serde_json::Value::as_i64);
    let at = at.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let call = text_of(&event.fields, "call_id");
    html! {
        th.number scope="row" { (event.seq) }
        td { (event.event_type) }
        td { (or_dash(at.map(time))) }
        td { (or_dash(call.map(|call| html! { a href=(call_address(app, &call)) { (call) } }))) }
        td { (or_dash(text_of(&event.fields, "status"))) }
    }
}
