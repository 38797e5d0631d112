//! Calls: the list of an app's interactions, and one interaction with its legs.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use cti_actors::{
    event::NumberFilter,
    id::{AppId, DialpadCallId, Seq},
    model::call::Status,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    access::{Failure, Visitor},
    apps::choose_app,
    causes::{Causes, Emitted},
    fields::Fields,
    page::Section,
    parts::{app_address, badge, cursor, duration, facts, next_page, or_dash, table, time, time_or_dash},
    timeline::{LegSpan, timeline},
};
use crate::{
    http::{
        AppState,
        crm::{calls::name_of, recordings},
        error::{ApiError, ErrorCode::CallNotFound},
        extract::{app::existing, values::EitherId},
    },
    store::views::{
        calls::{CallRef, CallView},
        interactions::{InteractionFilter, InteractionView},
    },
};

const PAGE: usize = 50;
/// How many events of a leg are shown.
const MAX_EVENTS: i64 = 500;
const STATUSES: [&str; 4] = ["ringing", "active", "held", "ended"];

/// A call of an app in the path.
#[derive(Deserialize)]
pub(super) struct CallPath {
    app_id: String,
    id: EitherId,
}

impl CallPath {
    async fn app_and_call(&self, state: &AppState) -> Result<(AppId, CallRef), Failure> {
        let call = name_of(&self.id).ok_or_else(not_found)?;
        Ok((existing(state, &self.app_id).await?, call))
    }

    async fn find(&self, state: &AppState) -> Result<(AppId, CallView), Failure> {
        let (app, call) = self.app_and_call(state).await?;
        Ok((app, state.store.calls().find(app, call).await?.ok_or_else(not_found)?))
    }
}

fn not_found() -> ApiError {
    ApiError::new(CallNotFound, "There is no such call")
}

/// Returns the address of a call's page.
pub(super) fn call_address(app: AppId, call: impl std::fmt::Display) -> String {
    format!("{}/calls/{call}", app_address(app))
}

/// Shows the interactions of an app.
pub(super) async fn list(
    visitor: Visitor,
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, Failure> {
    let query = Fields::of_query(&request);
    let Some((app, apps)) = choose_app(&state, &query).await? else {
        let content =
            html! { h1 { "Calls" } p { "There is no app yet. " a href="/console" { "Create one" } "." } };
        return Ok(visitor.page(Section::Calls, "Calls", &content));
    };
    let number = match query.get("number") {
        Some(number) => Some(NumberFilter::new(number, state.store.apps().region(app).await?)),
        None => None,
    };
    let status: Option<Status> = query.parsed("status", |text| text.parse().ok())?;
    let filter = InteractionFilter { status, number, ..InteractionFilter::default() };
    let page = state.store.interactions().list(app, &filter, cursor(&query)?, PAGE).await?;
    let rows: Vec<Markup> = page.items.iter().map(|interaction| row(app, interaction)).collect();
    let columns = ["First seen", "Direction", "Number", "Status", "Answered by", "Duration", "Legs"];
    let content = html! {
        h1 { "Calls" }
        form.line method="get" action="/console/calls" {
            label for="app" { "App" }
            select #app name="app" {
                @for one in &apps { option value=(one.id) selected[one.id == app] { (one.name) } }
            }
            label for="number" { "Number" }
            input #number name="number" inputmode="tel" value=[query.get("number")];
            label for="status" { "Status" }
            select #status name="status" {
                option value="" { "any" }
                @for status in STATUSES {
                    option value=(status) selected[query.get("status") == Some(status)] { (status) }
                }
            }
            button { "Filter" }
        }
        (table("Interactions, the newest first", &columns, &rows))
        (next_page("/console/calls", &query, &["app", "number", "status"], page.next))
    };
    Ok(visitor.page(Section::Calls, "Calls", &content))
}

fn row(app: AppId, interaction: &InteractionView) -> Markup {
    html! {
        td { a href=(call_address(app, interaction.interaction_id)) { (time(interaction.created_at)) } }
        td { (or_dash(interaction.direction.map(|direction| direction.as_str()))) }
        td { (or_dash(interaction.external_number.as_deref())) }
        td { (status(interaction)) }
        td { (or_dash(interaction.answered_by)) }
        td.number { (or_dash(interaction.duration_seconds.map(duration))) }
        td.number { (interaction.calls.len()) }
    }
}

fn status(interaction: &InteractionView) -> Markup {
    badge(interaction.outcome.map_or(interaction.status.as_str(), |outcome| outcome.as_str()))
}

/// Shows the interaction that a call belongs to.
pub(super) async fn one(
    visitor: Visitor,
    state: Data<AppState>,
    path: Path<CallPath>,
) -> Result<HttpResponse, Failure> {
    let (app, call) = path.app_and_call(&state).await?;
    let interaction = state.store.interactions().find(app, call).await?.ok_or_else(not_found)?;
    let legs = &interaction.calls;
    let mut events = Vec::new();
    for leg in legs {
        let id = DialpadCallId(leg.dialpad_call_id);
        let of_leg = state.store.feed().of_call(app, id, Seq::START, MAX_EVENTS).await?;
        events.extend(of_leg.iter().map(Emitted::of));
    }
    let spans: Vec<LegSpan> = legs.iter().map(|leg| span(leg, &events)).collect();
    let causes = Causes::read(&state, app, legs, events).await?;
    let name_of_leg = |call: i64| {
        legs.iter().find(|leg| leg.dialpad_call_id == call).map_or_else(|| call.to_string(), label)
    };
    let content = html! {
        h1 { "Call " @if let Some(number) = &interaction.external_number { (number) } }
        (facts(&[
            ("Status", status(&interaction)),
            ("Direction", or_dash(interaction.direction.map(|direction| direction.as_str()))),
            ("Answered by", or_dash(interaction.answered_by)),
            ("Answered", time_or_dash(interaction.answered_at)),
            ("Ended", time_or_dash(interaction.ended_at)),
            ("Duration", or_dash(interaction.duration_seconds.map(duration))),
            ("Talk", or_dash(interaction.talk_seconds.map(duration))),
            ("Hold", or_dash(interaction.hold_seconds.map(duration))),
        ]))
        (timeline(&spans, state.clock.now()))
        (causes.show(name_of_leg))
        @for leg in legs { (leg_section(app, leg)) }
    };
    Ok(visitor.page(Section::Calls, "Call", &content))
}

/// Returns what a leg is called: by its person or group, or else by its id.
fn label(leg: &CallView) -> String {
    let user = || leg.dialpad_user_id.map(|user| format!("user {user}"));
    leg.target_name.clone().or_else(user).unwrap_or_else(|| leg.dialpad_call_id.to_string())
}

fn span(leg: &CallView, events: &[Emitted]) -> LegSpan {
    let of_type = |name: &str, field: &str| -> Vec<DateTime<Utc>> {
        let of_leg = events.iter().filter(|event| event.call() == Some(leg.dialpad_call_id));
        let events = of_leg.filter(|event| event.event_type == name);
        events.filter_map(|event| event.fields.get(field)?.as_str()?.parse().ok()).collect()
    };
    let resumed = of_type("call.resumed", "resumed_at");
    let hold = |began: DateTime<Utc>| (began, resumed.iter().copied().filter(|at| *at >= began).min());
    LegSpan {
        label: label(leg),
        began_at: leg.ringing_at.or(leg.answered_at).unwrap_or(leg.created_at),
        answered_at: leg.answered_at,
        ended_at: leg.ended_at,
        holds: of_type("call.held", "held_at").into_iter().map(hold).collect(),
    }
}

fn leg_section(app: AppId, call: &CallView) -> Markup {
    let word = call.outcome.map_or(call.status.as_str(), |outcome| outcome.as_str());
    html! {
        section {
            h2 { "Leg " (label(call)) " " (badge(word)) }
            (facts(&[
                ("Dialpad's id", html! { code { (call.dialpad_call_id) } }),
                ("Kind", or_dash(call.leg.map(|leg| leg.as_str()))),
                ("From", or_dash(call.from_number.as_deref())),
                ("To", or_dash(call.to_number.as_deref())),
                ("Contact", or_dash(call.contact_name.as_deref())),
                ("CRM user", or_dash(call.crm_user_id.as_deref())),
                ("Dialpad's state", or_dash(call.dialpad_state.as_deref())),
                ("Rang", time_or_dash(call.ringing_at)),
                ("Answered", time_or_dash(call.answered_at)),
                ("Ended", time_or_dash(call.ended_at)),
            ]))
            @if call.answered_elsewhere { p { "It ended because another leg was answered." } }
            (players(app, call))
        }
    }
}

fn players(app: AppId, call: &CallView) -> Markup {
    let address = call_address(app, call.dialpad_call_id);
    let player = |name: &str, source: String| {
        html! { p { (name) br; audio controls preload="none" src=(source) aria-label=(name) {} } }
    };
    let transcript = call.voicemail.as_ref().and_then(|voicemail| voicemail.transcript.as_deref());
    html! {
        @if call.recordings.is_empty() && call.recording_url.is_some() {
            (player("Recording", format!("{address}/recording")))
        }
        @for part in 1..=call.recordings.len() {
            (player(&format!("Recording, part {part}"), format!("{address}/recording?part={part}")))
        }
        @if call.voicemail.is_some() {
            (player("Voicemail", format!("{address}/voicemail")))
            @if let Some(transcript) = transcript { blockquote { (transcript) } }
        }
    }
}

/// Streams the recording of a call.
pub(super) async fn recording(
    _: Visitor,
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<CallPath>,
) -> Result<HttpResponse, Failure> {
    let (app, call) = path.find(&state).await?;
    let number = |text: &str| text.parse::<usize>().ok()?.checked_sub(1);
    let part = Fields::of_query(&request).parsed("part", number)?;
    Ok(recordings::call_audio(&request, &state, app, &call, part).await?)
}

/// Streams the voicemail of a call.
pub(super) async fn voicemail(
    _: Visitor,
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<CallPath>,
) -> Result<HttpResponse, Failure> {
    let (app, call) = path.find(&state).await?;
    Ok(recordings::voicemail_audio(&request, &state, app, &call).await?)
}
