//! What happens now: active calls with running timers, the event stream, throughput and latency, and what keeps calls
//! from arriving. The page fetches its part again every two seconds.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use cti_actors::id::AppId;
use maud::{Markup, html};

use super::{
    Console,
    access::{Failure, Refresh, Visitor},
    apps::{PAGE, choose_app},
    banners::{banners, spool},
    calls::call_address,
    fields::Fields,
    page::{self, Section},
    parts::{Tone, address, badge, cursor, duration, next_page, notice, or_dash, table},
    plot::{Line, plot},
    samples::{MAX_SAMPLES, Sample},
    stream::{KINDS, stream},
};
use crate::{http::AppState, store::views::calls::CallView};

/// How many active calls a page has.
const MAX_CALLS: usize = 100;
/// The fields of the page that its parts keep.
pub(super) const FIELDS: [&str; 4] = ["app", "kind", "number", "cursor"];

/// Shows the page.
pub(super) async fn show(
    visitor: Visitor,
    request: HttpRequest,
    state: Data<AppState>,
    console: Data<Console>,
) -> HttpResponse {
    let query = Fields::of_query(&request);
    let source = address("/console/live/now", &FIELDS.map(|name| (name, query.get(name))));
    let content = html! {
        h1 { "Live" }
        noscript { p.hint { "Without JavaScript, reload the page to update it." } }
        (filter_form(&query))
        div data-refresh=(source) { (now(&state, &console, &query).await) }
    };
    visitor.page(Section::Live, "Live", &content)
}

/// Returns the part of the page that changes.
pub(super) async fn refresh(
    _: Refresh,
    request: HttpRequest,
    state: Data<AppState>,
    console: Data<Console>,
) -> HttpResponse {
    page::fragment(now(&state, &console, &Fields::of_query(&request)).await)
}

fn filter_form(query: &Fields) -> Markup {
    html! {
        form.line method="get" action="/console/live" {
            @if let Some(app) = query.get("app") { (page::hidden("app", app)) }
            label for="kind" { "Show the events" }
            select #kind name="kind" {
                option value="" { "all" }
                @for (kind, text) in KINDS { option value=(kind) selected[query.get("kind") == Some(kind)] { (text) } }
            }
            label for="number" { "of the number" }
            input #number name="number" inputmode="tel" value=[query.get("number")];
            button { "Filter" }
        }
    }
}

/// Shows what is known now, also while the database is unavailable.
async fn now(state: &AppState, console: &Console, query: &Fields) -> Markup {
    let plots = plots(&console.samples.all());
    match read(state, query).await {
        Ok((banners, content)) => html! { div.banners { (banners) } (plots) (content) },
        Err(failure) => html! {
            div.banners {
                (notice(Tone::Bad, html! { (failure) ". What follows is of this process only." }))
                (spool(state))
            }
            (plots)
            p { "Sessions at this process: " (state.engine.session_count()) "." }
        },
    }
}

fn plots(samples: &[Sample]) -> Markup {
    let line = |name, class, value: fn(&Sample) -> Option<f64>| Line {
        name,
        class,
        values: samples.iter().map(value).collect(),
    };
    let rates = [
        line("webhooks", "first", |sample| Some(sample.webhooks_per_second)),
        line("events", "second", |sample| Some(sample.events_per_second)),
    ];
    let times = [
        line("half within", "first", |sample| sample.ack.map(|ack| ack.median)),
        line("99 of 100 within", "second", |sample| sample.ack.map(|ack| ack.p99)),
    ];
    html! {
        div.plots {
            (plot("plot-rates", "At this process", "per second", "5 minutes ago", MAX_SAMPLES, &rates))
            (plot("plot-times", "Webhooks acknowledged", "milliseconds", "5 minutes ago", MAX_SAMPLES, &times))
        }
    }
}

async fn read(state: &AppState, query: &Fields) -> Result<(Markup, Markup), Failure> {
    let Some((app, apps)) = choose_app(state, query).await? else {
        let content = html! { p { "There is no app yet. " a href="/console" { "Create one" } "." } };
        return Ok((html! {}, content));
    };
    let (banners, pending) = banners(state).await?;
    let (calls, ..) = state.store.calls().list_active(app, cursor(query)?, MAX_CALLS).await?;
    let count = state.store.calls().count_active(app).await?;
    let at = state.clock.now();
    let rows: Vec<Markup> = calls.items.iter().map(|call| call_row(app, call, at)).collect();
    let columns = ["Call", "Status", "For", "From", "To", "User"];
    let content = html! {
        nav.tabs aria-label="App" {
            @for one in &apps {
                a href=(address("/console/live", &[("app", Some(&one.id.to_string()))]))
                    aria-current=[(one.id == app).then_some("page")] { (one.name) }
            }
            @if apps.len() >= PAGE { a href="/console" { "All apps" } }
        }
        p {
            "Active calls: " (count) ". Sessions at this process: " (state.engine.session_count_of(app))
            ". Webhooks pending, of all apps: " (pending) "."
        }
        div.columns {
            div {
                div.tall { (table("Active calls, the newest first", &columns, &rows)) }
                div.pages {
                    @if query.get("cursor").is_some() {
                        a href=(address("/console/live", &[("app", query.get("app"))])) { "Newest" } " "
                    }
                    (next_page("/console/live", query, &FIELDS[..3], calls.next))
                }
            }
            div { div.tall { (stream(state, app, query).await?) } }
        }
    };
    Ok((banners, content))
}

fn call_row(app: AppId, call: &CallView, now: DateTime<Utc>) -> Markup {
    let since = call.answered_at.or(call.ringing_at).unwrap_or(call.created_at);
    html! {
        th scope="row" { a href=(call_address(app, call.dialpad_call_id)) { (call.dialpad_call_id) } }
        td { (badge(call.status.as_str())) }
        td {
            @let seconds = (now - since).num_seconds().max(0);
            span.timer data-seconds=(seconds) { (duration(seconds)) }
        }
        td { (or_dash(call.from_number.as_deref())) }
        td { (or_dash(call.to_number.as_deref())) }
        td { (or_dash(call.crm_user_id.clone().or(call.dialpad_user_id.map(|user| user.to_string())))) }
    }
}
