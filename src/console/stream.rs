//! The newest events of an app, as they come.

use std::collections::BTreeSet;

use chrono::DateTime;
use cti_actors::{
    event::{Filter, Frame, NumberFilter},
    id::{AppId, Seq},
    ports::EventLog,
};
use maud::{Markup, html};

use super::{
    access::Failure,
    calls::call_address,
    causes::Emitted,
    fields::Fields,
    parts::{or_dash, table, text_of, time},
};
use crate::http::AppState;

/// The kinds of events that can be chosen, and what people call them.
pub(super) const KINDS: [(&str, &str); 5] = [
    ("call.*", "calls"),
    ("interaction.*", "whole calls"),
    ("voicemail.*", "voicemails"),
    ("message.*", "messages"),
    ("connection.*", "connections"),
];
const MAX_SHOWN: usize = 50;
/// How many events are read at a time, and at most.
const PAGE: usize = 100;
const MAX_READ: usize = 1000;

/// Shows the newest events that match the filter.
pub(super) async fn stream(state: &AppState, app: AppId, query: &Fields) -> Result<Markup, Failure> {
    let kind = |text: &str| KINDS.iter().any(|(kind, _)| *kind == text).then(|| text.to_owned());
    let region = state.store.apps().region(app).await?;
    let filter = Filter {
        types: query.parsed("kind", kind)?.into_iter().collect::<BTreeSet<String>>(),
        number: query.get("number").map(|number| NumberFilter::new(number, region)),
        region,
        ..Filter::default()
    };
    let rows: Vec<Markup> =
        newest(state, app, &filter).await?.iter().map(|frame| row(app, &Emitted::of(frame))).collect();
    Ok(table("The newest events", &["Seq", "Type", "Happened", "Call", "Status"], &rows))
}

/// Returns the newest events that match, the newest first.
async fn newest(state: &AppState, app: AppId, filter: &Filter) -> Result<Vec<Frame>, Failure> {
    let bounds = state.store.bounds(app).await?;
    let oldest = bounds.oldest.0 - 1;
    let mut until = bounds.head.0;
    let mut found = Vec::new();
    for _ in 0..MAX_READ / PAGE {
        if until <= oldest || found.len() >= MAX_SHOWN {
            break;
        }
        let after = (until - i64::try_from(PAGE).unwrap_or(i64::MAX)).max(oldest);
        let page = state.store.page(app, Seq(after), PAGE).await?;
        let matching = page.into_iter().rev().filter(|frame| frame.seq.0 <= until && filter.admits(frame));
        found.extend(matching);
        until = after;
    }
    found.truncate(MAX_SHOWN);
    Ok(found)
}

fn row(app: AppId, event: &Emitted) -> Markup {
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
