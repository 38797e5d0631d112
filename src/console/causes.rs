//! Why a call is what it is: the webhooks about its legs in the order of arrival, what each of them added and changed, and
//! the events that it caused. What a webhook did is computed anew by the model: nothing of it is stored.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    event::Frame,
    id::{AppId, DialpadCallId, EventId, JournalId, Seq},
    model::{
        call::CallEvent,
        interaction::{HistoryStep, history},
    },
    ports::Inbound,
};
use maud::{Markup, html};
use serde_json::Value;

use super::{
    access::Failure,
    differences::differences,
    evidence::{Moment, assign},
    journal::entry_address,
    parts::{badge, duration, or_dash, table, text_of, time},
};
use crate::{
    http::AppState,
    store::{
        journal::views::{JournalEntry, JournalFilter},
        views::calls::CallView,
    },
    webhook::payload,
};

/// How many webhooks are shown.
const MAX_WEBHOOKS: usize = 300;
/// How long before the first sign of a call, and after its last change, its webhooks are searched.
const MARGIN: TimeDelta = TimeDelta::minutes(10);
/// Dialpad sends within seconds. What comes later was retried, or kept somewhere.
const SLOW: TimeDelta = TimeDelta::seconds(10);

/// An event as it was emitted.
pub(super) struct Emitted {
    pub(super) seq: Seq,
    pub(super) event_type: String,
    pub(super) fields: Value,
}

/// A webhook about a leg.
struct Received {
    id: JournalId,
    received_at: DateTime<Utc>,
    processed_at: Option<DateTime<Utc>>,
    event_type: String,
    status: String,
    reason: Option<String>,
    /// What it says of the call; `None` if it can't be read.
    content: Option<CallEvent>,
}

/// A webhook, what it did, and its events; events without a webhook are those that the server decided about by itself.
struct Cause {
    webhook: Option<Received>,
    step: Option<HistoryStep>,
    /// Whether something that happened later came before it.
    is_late: bool,
    events: Vec<Emitted>,
}

/// Why the legs of an interaction are what they are.
pub(super) struct Causes {
    rows: Vec<Cause>,
    /// Whether there are older webhooks, so that what the shown ones did is not exact.
    is_cut: bool,
}

impl Emitted {
    pub(super) fn of(frame: &Frame) -> Self {
        let fields = serde_json::from_str(&frame.text).unwrap_or_default();
        Self { seq: frame.seq, event_type: frame.event_type.to_string(), fields }
    }

    pub(super) fn call(&self) -> Option<i64> {
        self.fields.get("call_id")?.as_i64()
    }

    pub(super) fn moment(&self) -> Moment {
        let id = self.fields.get("event_id").and_then(Value::as_str);
        let at = id.and_then(|id| id.parse::<EventId>().ok()?.generated_at());
        Moment {
            second: self.fields.get("timestamp").and_then(Value::as_i64),
            millis: at.map(|at| at.timestamp_millis()),
        }
    }
}

impl Causes {
    /// Reads the webhooks about these legs, and gives each event to the webhook that caused it.
    ///
    /// # Errors
    /// The database is unavailable.
    pub(super) async fn read(
        state: &AppState,
        app: AppId,
        legs: &[CallView],
        mut events: Vec<Emitted>,
    ) -> Result<Self, Failure> {
        let first = legs.iter().map(|leg| leg.created_at).min();
        let last = legs.iter().map(|leg| leg.updated_at).max();
        let filter = JournalFilter {
            app: Some(app),
            since: first.map(|first| first - MARGIN),
            until: last.map(|last| last + MARGIN),
            digits: legs.iter().map(|leg| leg.dialpad_call_id.to_string()).collect(),
            ..JournalFilter::default()
        };
        let page = state.store.journal().list(&filter, None, MAX_WEBHOOKS).await?;
        let webhooks = page.items.into_iter().rev().filter_map(|entry| Received::about(entry, legs));
        let mut rows = applied(webhooks.collect());
        events.sort_by_key(|event| event.seq);
        let moments: Vec<Option<(i64, Moment)>> =
            rows.iter().map(|row| row.webhook.as_ref()?.moment()).collect();
        let steps: Vec<Option<(&HistoryStep, i64)>> = rows.iter().map(Cause::step_at).collect();
        let causes = assign(&events, &steps, &moments);
        let mut of_the_server = Vec::new();
        for (event, cause) in events.into_iter().zip(causes) {
            match cause {
                Some(row) => rows[row].events.push(event),
                None => of_the_server.push(event),
            }
        }
        if !of_the_server.is_empty() {
            rows.push(Cause { webhook: None, step: None, is_late: false, events: of_the_server });
        }
        Ok(Self { rows, is_cut: page.next.is_some() })
    }

    /// Shows them. A leg is named as the page names it.
    pub(super) fn show(&self, label: impl Fn(i64) -> String) -> Markup {
        let rows: Vec<Markup> = self.rows.iter().map(|cause| cause.row(&label)).collect();
        let columns =
            ["Received", "Leg", "Webhook", "Result", "What it added and changed", "Emitted because of it"];
        html! {
            section {
                h2 { "Why" }
                @if self.is_cut { p { "Only the last " (MAX_WEBHOOKS) " webhooks are shown." } }
                (table("Webhooks in the order of arrival, what they did, and the events that followed", &columns, &rows))
            }
        }
    }
}

/// Computes what each webhook did, in the order in which they were applied.
fn applied(webhooks: Vec<Received>) -> Vec<Cause> {
    let is_applied = |(_, webhook): &(usize, &Received)| webhook.status == "processed";
    let mut order: Vec<(usize, &Received)> = webhooks.iter().enumerate().filter(is_applied).collect();
    order.sort_by_key(|(_, webhook)| (webhook.processed_at, webhook.id));
    let contents: Vec<(usize, CallEvent)> =
        order.into_iter().filter_map(|(index, webhook)| Some((index, webhook.content.clone()?))).collect();
    let events: Vec<CallEvent> = contents.iter().map(|(_, event)| event.clone()).collect();
    let mut steps: Vec<Option<HistoryStep>> = webhooks.iter().map(|_| None).collect();
    for ((index, _), step) in contents.iter().zip(history(&events)) {
        steps[*index] = Some(step);
    }
    let late: Vec<bool> = (0..webhooks.len()).map(|index| is_late(&webhooks[..=index])).collect();
    let rows = webhooks.into_iter().zip(steps).zip(late);
    rows.map(|((webhook, step), is_late)| Cause { webhook: Some(webhook), step, is_late, events: Vec::new() })
        .collect()
}

/// Returns whether what the last webhook says happened before what an earlier one says of the same leg.
fn is_late(webhooks: &[Received]) -> bool {
    let Some((last, earlier)) = webhooks.split_last() else { return false };
    let Some(content) = &last.content else { return false };
    let same_leg = earlier.iter().filter_map(|webhook| webhook.content.as_ref());
    same_leg
        .filter(|other| other.dialpad_call_id == content.dialpad_call_id)
        .any(|other| other.at > content.at)
}

impl Received {
    /// Reads a webhook whose payload has the digits of a leg. `None` if it is about something else.
    fn about(entry: JournalEntry, legs: &[CallView]) -> Option<Self> {
        let mut reading = payload::read(&entry.payload, entry.received_at);
        if reading.event_type != entry.event_type {
            reading = payload::read_webhook(&entry.payload, entry.received_at);
        }
        let is_leg = |call: DialpadCallId| legs.iter().any(|leg| leg.dialpad_call_id == call.0);
        let content = match reading.content {
            Ok(Inbound::Call(event)) if is_leg(event.dialpad_call_id) => Some(event),
            Ok(_) => return None,
            // It may be about the call: this is why it is shown.
            Err(_) => None,
        };
        let JournalEntry { id, received_at, processed_at, event_type, status, reason, .. } = entry;
        Some(Self { id, received_at, processed_at, event_type, status, reason, content })
    }

    /// Returns its leg, and when it happened and was received.
    fn moment(&self) -> Option<(i64, Moment)> {
        let content = self.content.as_ref()?;
        let moment = Moment {
            second: Some(content.at.timestamp()),
            millis: self.id.generated_at().map(|at| at.timestamp_millis()),
        };
        Some((content.dialpad_call_id.0, moment))
    }

    /// Returns how long after its time it was received, if that is long.
    fn delay(&self) -> Option<TimeDelta> {
        let delay = self.received_at - self.content.as_ref()?.at;
        (delay >= SLOW).then_some(delay)
    }
}

impl Cause {
    fn step_at(&self) -> Option<(&HistoryStep, i64)> {
        let content = self.webhook.as_ref()?.content.as_ref()?;
        Some((self.step.as_ref()?, content.at.timestamp()))
    }

    fn row(&self, label: impl Fn(i64) -> String) -> Markup {
        let leg = self.webhook.as_ref().and_then(|webhook| Some(webhook.content.as_ref()?.dialpad_call_id.0));
        html! {
            @match &self.webhook {
                Some(webhook) => {
                    td {
                        a href=(entry_address(webhook.id)) { (time(webhook.received_at)) }
                        @if self.is_late { " " (badge("late")) }
                        @if let Some(delay) = webhook.delay() {
                            br; span.hint { (duration(delay.num_seconds())) " after it happened" }
                        }
                    }
                    td { (or_dash(leg.map(&label))) }
                    td { (webhook.event_type) }
                    td { (badge(&webhook.status)) " " (or_dash(webhook.reason.as_deref())) }
                    td { (self.effect()) }
                }
                None => {
                    td colspan="5" { "No webhook that is kept: decided by the server, or older than the journal" }
                }
            }
            td { (emitted(&self.events, leg, label)) }
        }
    }

    fn effect(&self) -> Markup {
        let Some(step) = &self.step else { return html! { span.none { "not applied" } } };
        let differences = differences(step.before.as_ref(), step.after.as_ref());
        html! {
            @if !step.is_news { span.none { "nothing new" } }
            @else if differences.is_empty() { span.none { "kept; nothing that is shown changed" } }
            @else {
                ul.events {
                    @for difference in &differences {
                        li { (difference.name) ": " @if let Some(before) = &difference.before { (before) " → " }
                            (difference.after.as_deref().unwrap_or("unknown")) }
                    }
                }
            }
        }
    }
}

fn emitted(events: &[Emitted], leg: Option<i64>, label: impl Fn(i64) -> String) -> Markup {
    html! {
        @if events.is_empty() { span.none { "nothing" } }
        @else {
            ul.events {
                @for event in events {
                    li {
                        (event.event_type) " (seq " (event.seq) ")"
                        @if let Some(status) = text_of(&event.fields, "status") { ", " (status) }
                        @if let Some(other) = event.call().filter(|call| leg != Some(*call)) { " of " (label(other)) }
                    }
                }
            }
        }
    }
}
