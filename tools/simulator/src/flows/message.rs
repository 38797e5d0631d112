//! A short exchange of texts: the customer writes, the user replies, and the reply is delivered.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::RngExt;
use serde_json::{Value, json};

use super::cast::{self, Cast, Direction, Part, Party};
use super::workflow::of_organization;
use super::{Family, Setting, Step};

pub(crate) fn script(cast: &Cast, family: Family, seed: u64, setting: &Setting) -> Vec<Step> {
    let mut rng = cast::ids(seed, setting);
    // The first ids of this chance went to the cast.
    let _ = (cast::next_id(&mut rng), cast::next_id(&mut rng));
    let reply_id = cast::next_id(&mut rng);
    let (after_reply, after_delivery) = waits(seed);

    let received = setting.start;
    let sent = received + after_reply;
    let part = &cast.parts[0];
    let question =
        Text { id: part.call_id, direction: Direction::Inbound, written: received, text: QUESTION };
    let reply = Text { id: reply_id, direction: Direction::Outbound, written: sent, text: REPLY };
    let step = |after, payload, tells| Step { after, payload, tells: Some(tells) };
    match family {
        Family::Dialpad => vec![
            step(Duration::ZERO, dialpad(part, &question, "pending", received, setting), "message.received"),
            step(after_reply, dialpad(part, &reply, "pending", sent, setting), "message.sent"),
            step(
                after_delivery,
                dialpad(part, &reply, "delivered", sent + after_delivery, setting),
                "message.updated",
            ),
        ],
        Family::Workflow => vec![
            step(Duration::ZERO, workflow(part, &question, "message.received", setting), "message.received"),
            step(after_reply, workflow(part, &reply, "message.sent", setting), "message.sent"),
            step(after_delivery, delivered(part, &reply, sent + after_delivery, setting), "message.updated"),
        ],
    }
}

struct Text {
    id: i64,
    direction: Direction,
    written: DateTime<Utc>,
    text: &'static str,
}

const QUESTION: &str = "Hello, is my order on its way?";
const REPLY: &str = "Yes, it left our warehouse this morning.";

fn waits(seed: u64) -> (Duration, Duration) {
    use rand::SeedableRng;
    let mut rng = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(seed ^ MESSAGE);
    let reply = Duration::from_millis(rng.random_range(5_000..=40_000));
    (reply, Duration::from_millis(rng.random_range(600..=3_000)))
}

/// Keeps the chance of the waits apart from the cast's.
const MESSAGE: u64 = 0x7465_7874;

fn dialpad(part: &Part, text: &Text, status: &str, at: DateTime<Utc>, setting: &Setting) -> Value {
    let (from, to) = numbers(part, text.direction);
    let mut payload = json!({
        "id": text.id,
        "created_date": text.written.timestamp_millis(),
        "event_timestamp": at.timestamp_millis(),
        "direction": text.direction.name(),
        "is_internal": false,
        "from_number": from,
        "to_number": [to],
        "contact": party(&part.contact, part.contact.phone.clone(), None),
        // Dialpad formats the numbers inside parties for display.
        "target": party(&part.target, displayed(&part.target.phone), Some("user")),
        "sender_id": null,
        "admins": [],
        "mms": false,
        "mms_url": null,
        "message_status": status,
        "message_delivery_result": (status == "delivered").then_some("accepted"),
        "text": text.text,
        "text_content": text.text,
    });
    if let Some(company) = setting.organization_id {
        payload["company_id"] = company.into();
    }
    payload
}

fn workflow(part: &Part, text: &Text, event_type: &str, setting: &Setting) -> Value {
    let (from, to) = numbers(part, text.direction);
    let payload = json!({
        "event_type": event_type,
        "message_id": text.id,
        "direction": text.direction.name(),
        "from_number": from,
        "to_number": to,
        "dialpad_user_id": part.target.id,
        "text": text.text,
        "timestamp": text.written.timestamp(),
    });
    of_organization(payload, setting)
}

/// What became of a text that was sent.
fn delivered(part: &Part, text: &Text, at: DateTime<Utc>, setting: &Setting) -> Value {
    let mut payload = workflow(part, text, "message.updated", setting);
    payload["message_status"] = "delivered".into();
    payload["timestamp"] = at.timestamp().into();
    payload
}

fn numbers(part: &Part, direction: Direction) -> (&str, &str) {
    match direction {
        Direction::Inbound => (&part.contact.phone, &part.target.phone),
        Direction::Outbound => (&part.target.phone, &part.contact.phone),
    }
}

fn party(person: &Party, phone: String, kind: Option<&str>) -> Value {
    let mut party = json!({"id": person.id, "name": person.name, "phone_number": phone});
    if let Some(kind) = kind {
        party["type"] = kind.into();
    }
    party
}

/// `+14155550100` as `(415) 555-0100`; any other number as it is.
fn displayed(number: &str) -> String {
    match number.strip_prefix("+1") {
        Some(local) if local.len() == 10 && local.is_ascii() => {
            format!("({}) {}-{}", &local[..3], &local[3..6], &local[6..])
        }
        _ => number.to_owned(),
    }
}
