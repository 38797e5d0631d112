//! An exchange of text messages: the customer writes, the user replies, and the reply is delivered.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::RngExt;
use serde_json::{Value, json};

use super::participants::{self, Direction, LegSpec, Participants, Party};
use super::workflow::of_organization;
use super::{EventType, Family, FlowOptions, ScheduledWebhook};

pub(crate) fn webhooks(
    participants: &Participants,
    family: Family,
    seed: u64,
    options: &FlowOptions,
) -> Vec<ScheduledWebhook> {
    let mut rng = participants::ids(seed, options);
    // The first two ids of this generator belong to the participants.
    let _ = (participants::next_id(&mut rng), participants::next_id(&mut rng));
    let reply_id = participants::next_id(&mut rng);
    let (after_reply, after_delivery) = delays(seed);

    let received = options.start;
    let sent = received + after_reply;
    let spec = &participants.legs[0];
    let question =
        Text { id: spec.call_id, direction: Direction::Inbound, written: received, text: QUESTION };
    let reply = Text { id: reply_id, direction: Direction::Outbound, written: sent, text: REPLY };
    let webhook = |after, payload, expected_event| ScheduledWebhook {
        after,
        payload,
        call: None,
        expected_event: Some(expected_event),
    };
    match family {
        Family::Dialpad => vec![
            webhook(
                Duration::ZERO,
                dialpad(spec, &question, "pending", received, options),
                EventType::MessageReceived,
            ),
            webhook(after_reply, dialpad(spec, &reply, "pending", sent, options), EventType::MessageSent),
            webhook(
                after_delivery,
                dialpad(spec, &reply, "delivered", sent + after_delivery, options),
                EventType::MessageUpdated,
            ),
        ],
        Family::Workflow => vec![
            webhook(
                Duration::ZERO,
                workflow(spec, &question, "message.received", options),
                EventType::MessageReceived,
            ),
            webhook(after_reply, workflow(spec, &reply, "message.sent", options), EventType::MessageSent),
            webhook(
                after_delivery,
                delivered(spec, &reply, sent + after_delivery, options),
                EventType::MessageUpdated,
            ),
        ],
    }
}

/// A text that was sent over the API.
pub(crate) struct SentText {
    pub(crate) id: i64,
    pub(crate) sender: Party,
    pub(crate) to: Vec<String>,
    pub(crate) text: String,
}

/// Returns the webhooks of a text that was sent over the API: it was sent, and it was delivered.
pub(crate) fn sent_over_api(sent: &SentText, options: &FlowOptions) -> VecDeque<ScheduledWebhook> {
    let customer = participants::outside(sent.to.first().map_or("", String::as_str));
    let spec = LegSpec::new((sent.id, sent.id), Direction::Outbound, sent.sender.clone(), customer);
    let written = options.start;
    let text = Text { id: sent.id, direction: Direction::Outbound, written, text: &sent.text };
    let after = Duration::from_millis(800).mul_f64(options.time_scale);
    let webhook = |status, at: DateTime<Utc>, after, event| {
        let mut payload = dialpad(&spec, &text, status, at, options);
        payload["to_number"] = json!(sent.to);
        ScheduledWebhook { after, payload, call: None, expected_event: Some(event) }
    };
    let pending = webhook("pending", written, Duration::ZERO, EventType::MessageSent);
    [pending, webhook("delivered", written + after, after, EventType::MessageUpdated)].into()
}

struct Text<'a> {
    id: i64,
    direction: Direction,
    written: DateTime<Utc>,
    text: &'a str,
}

const QUESTION: &str = "Hello, is my order on its way?";
const REPLY: &str = "Yes, it left our warehouse this morning.";

fn delays(seed: u64) -> (Duration, Duration) {
    use rand::SeedableRng;
    let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(seed ^ MESSAGE_SALT);
    let reply = Duration::from_millis(rng.random_range(5_000..=40_000));
    (reply, Duration::from_millis(rng.random_range(600..=3_000)))
}

/// Separates the random numbers of the delays from those of the participants.
const MESSAGE_SALT: u64 = 0x7465_7874;

fn dialpad(spec: &LegSpec, text: &Text<'_>, status: &str, at: DateTime<Utc>, options: &FlowOptions) -> Value {
    let (from, to) = numbers(spec, text.direction);
    let mut payload = json!({
        "id": text.id,
        "created_date": text.written.timestamp_millis(),
        "event_timestamp": at.timestamp_millis(),
        "direction": text.direction.name(),
        "is_internal": false,
        "from_number": from,
        "to_number": [to],
        "contact": party(&spec.contact, spec.contact.phone.clone(), None),
        // Dialpad formats the numbers inside parties for display.
        "target": party(&spec.target, displayed(&spec.target.phone), Some("user")),
        "sender_id": null,
        "admins": [],
        "mms": false,
        "mms_url": null,
        "message_status": status,
        "message_delivery_result": (status == "delivered").then_some("accepted"),
        "text": text.text,
        "text_content": text.text,
    });
    if let Some(company) = options.organization_id {
        payload["company_id"] = company.into();
    }
    payload
}

fn workflow(spec: &LegSpec, text: &Text<'_>, event_type: &str, options: &FlowOptions) -> Value {
    let (from, to) = numbers(spec, text.direction);
    let payload = json!({
        "event_type": event_type,
        "message_id": text.id,
        "direction": text.direction.name(),
        "from_number": from,
        "to_number": to,
        "dialpad_user_id": spec.target.id,
        "text": text.text,
        "timestamp": text.written.timestamp(),
    });
    of_organization(payload, options)
}

/// Returns the workflow payload of the delivery report.
fn delivered(spec: &LegSpec, text: &Text<'_>, at: DateTime<Utc>, options: &FlowOptions) -> Value {
    let mut payload = workflow(spec, text, "message.updated", options);
    payload["message_status"] = "delivered".into();
    payload["timestamp"] = at.timestamp().into();
    payload
}

fn numbers(spec: &LegSpec, direction: Direction) -> (&str, &str) {
    match direction {
        Direction::Inbound => (&spec.contact.phone, &spec.target.phone),
        Direction::Outbound => (&spec.target.phone, &spec.contact.phone),
    }
}

fn party(person: &Party, phone: String, kind: Option<&str>) -> Value {
    let mut party = json!({"id": person.id, "name": person.name, "phone_number": phone});
    if let Some(kind) = kind {
        party["type"] = kind.into();
    }
    party
}

/// Formats `+14155550100` as `(415) 555-0100`, and any other number as it is.
fn displayed(number: &str) -> String {
    match number.strip_prefix("+1") {
        Some(local) if local.len() == 10 && local.is_ascii() => {
            format!("({}) {}-{}", &local[..3], &local[3..6], &local[6..])
        }
        _ => number.to_owned(),
    }
}
