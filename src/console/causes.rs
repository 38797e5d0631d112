//! Why a call is what it is: its webhooks in the order of arrival, and the events that each caused.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    event::Frame,
    id::{AppId, DialpadCallId, JournalId, Seq},
    ports::Inbound,
};
use maud::{Markup, html};
use serde_json::Value;
use uuid::Uuid;

use super::{
    access::Failure,
    calls::text_of,
    journal::entry_address,
    parts::{badge, or_dash, table, time},
};
use crate::{
    http::AppState,
    store::{
        journal::views::{JournalEntry, JournalFilter},
        views::calls::CallView,
    },
    webhook::payload,
};

/// How many webhooks of a leg are shown.
const MAX_WEBHOOKS: usize = 200;
/// How long before the first sign of a call, and after its last change, its webhooks are searched.
const MARGIN: TimeDelta = TimeDelta::minutes(10);

/// An event as it was emitted.
pub(super) struct Emitted {
    pub(super) seq: Seq,
    pub(super) event_type: String,
    pub(super) fields: Value,
}

/// A webhook about a call.
struct Received {
    id: JournalId,
    received_at: DateTime<Utc>,
    event_type: String,
    status: String,
    reason: Option<String>,
    /// When it happened, by the payload.
    at: Option<DateTime<Utc>>,
}

/// A webhook and its events; events without a webhook are those that the server decided about by itself.
pub(super) struct Cause {
    webhook: Option<Received>,
    events: Vec<Emitted>,
}

impl Emitted {
    pub(super) fn of(frame: &Frame) -> Self {
        let fields = serde_json::from_str(&frame.text).unwrap_or_default();
        Self { seq: frame.seq, event_type: frame.event_type.to_string(), fields }
    }

    fn moment(&self) -> Moment {
        let id = self.fields.get("event_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        Moment {
            second: self.fields.get("timestamp").and_then(Value::as_i64),
            millis: id.and_then(millis_of),
        }
    }
}

/// When something happened, by the payload, and when it was written down, by its id.
#[derive(Clone, Copy, Debug)]
struct Moment {
    second: Option<i64>,
    millis: Option<i64>,
}

/// Returns the time in an id.
fn millis_of(id: Uuid) -> Option<i64> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    i64::try_from(seconds.checked_mul(1000)?).ok()?.checked_add(i64::from(nanos / 1_000_000))
}

/// Reads the webhooks of a call, and gives each event to the webhook that caused it.
///
/// # Errors
/// The database is unavailable.
pub(super) async fn read(
    state: &AppState,
    app: AppId,
    call: &CallView,
    events: Vec<Emitted>,
) -> Result<Vec<Cause>, Failure> {
    let filter = JournalFilter {
        app: Some(app),
        since: Some(call.created_at - MARGIN),
        until: Some(call.updated_at + MARGIN),
        digits: Some(call.dialpad_call_id.to_string()),
        ..JournalFilter::default()
    };
    let page = state.store.journal().list(&filter, None, MAX_WEBHOOKS).await?;
    let call = DialpadCallId(call.dialpad_call_id);
    let webhooks: Vec<Received> =
        page.items.into_iter().rev().filter_map(|entry| Received::about(entry, call)).collect();
    let moments: Vec<Moment> = webhooks.iter().map(Received::moment).collect();
    let mut causes: Vec<Cause> =
        webhooks.into_iter().map(|webhook| Cause { webhook: Some(webhook), events: Vec::new() }).collect();
    let mut of_the_server = Vec::new();
    for event in events {
        match cause_of(event.moment(), &moments) {
            Some(index) => causes[index].events.push(event),
            None => of_the_server.push(event),
        }
    }
    if !of_the_server.is_empty() {
        causes.push(Cause { webhook: None, events: of_the_server });
    }
    Ok(causes)
}

/// Returns which webhook caused an event: one of the same second of the payloads, and of these the one that was written
/// nearest to the event.
fn cause_of(event: Moment, webhooks: &[Moment]) -> Option<usize> {
    let same_second = webhooks.iter().enumerate().filter(|(_, webhook)| webhook.second == event.second);
    let distance = |webhook: &Moment| match (webhook.millis, event.millis) {
        (Some(webhook), Some(event)) => webhook.abs_diff(event),
        _ => u64::MAX,
    };
    event.second?;
    same_second.min_by_key(|(_, webhook)| distance(webhook)).map(|(index, _)| index)
}

impl Received {
    /// Reads a webhook whose payload has the digits of a call. `None` if it is about something else.
    fn about(entry: JournalEntry, call: DialpadCallId) -> Option<Self> {
        let mut reading = payload::read(&entry.payload, entry.received_at);
        if reading.event_type != entry.event_type {
            reading = payload::read_webhook(&entry.payload, entry.received_at);
        }
        let at = match reading.content {
            Ok(Inbound::Call(event)) if event.dialpad_call_id == call => Some(event.at),
            Ok(_) => return None,
            // It may be about the call: this is why it is shown.
            Err(_) => None,
        };
        let JournalEntry { id, received_at, event_type, status, reason, .. } = entry;
        Some(Self { id, received_at, event_type, status, reason, at })
    }

    fn moment(&self) -> Moment {
        Moment { second: self.at.map(|at| at.timestamp()), millis: millis_of(self.id.0) }
    }
}

/// Shows the webhooks with their events.
pub(super) fn show(causes: &[Cause]) -> Markup {
    let rows: Vec<Markup> = causes.iter().map(row).collect();
    let columns = ["Received", "Webhook", "Result", "Emitted after it"];
    table("Webhooks in the order of arrival, and the events that followed", &columns, &rows)
}

fn row(cause: &Cause) -> Markup {
    html! {
        @match &cause.webhook {
            Some(webhook) => {
                td { a href=(entry_address(webhook.id)) { (time(webhook.received_at)) } }
                td { (webhook.event_type) }
                td { (badge(&webhook.status)) " " (or_dash(webhook.reason.as_deref())) }
            }
            None => { td colspan="3" { "No webhook that is kept: decided by the server, or older than the journal" } }
        }
        td {
            @if cause.events.is_empty() { span.none { "nothing" } }
            @else {
                ul.events {
                    @for event in &cause.events {
                        li {
                            (event.event_type) " (seq " (event.seq) ")"
                            @if let Some(status) = text_of(&event.fields, "status") { ", " (status) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(second: i64, millis: i64) -> Moment {
        Moment { second: Some(second), millis: Some(millis) }
    }

    #[test]
    fn an_event_belongs_to_the_webhook_of_its_time() {
        let webhooks = [moment(10, 1_000), moment(10, 5_000), moment(20, 5_001)];
        assert_eq!(cause_of(moment(10, 1_002), &webhooks), Some(0));
        assert_eq!(cause_of(moment(10, 4_999), &webhooks), Some(1));
        assert_eq!(cause_of(moment(20, 1_000), &webhooks), Some(2), "it was processed late");
        assert_eq!(cause_of(moment(30, 5_000), &webhooks), None, "decided by the server");
        let unknown = Moment { second: None, millis: Some(1) };
        assert_eq!(cause_of(unknown, &[unknown]), None);
    }
}
