//! The payloads of webhooks: both families, read into the engine's types.
//!
//! [`workflow`] reads named events (`event_type`), [`native`] Dialpad's own (`state`, and its text messages),
//! [`finding`] what the server found out by itself. An authentic webhook is never refused for its content: one that
//! can't be read is kept with the reason.

pub(crate) mod fields;
pub(crate) mod finding;
mod instant;
pub(crate) mod json;
pub(crate) mod native;
mod recordings;
pub(crate) mod workflow;

use chrono::{DateTime, Utc};
use cti_actors::{
    model::call::{Knowledge, Signal},
    ports::Inbound,
};
use serde_json::{Map, Value};
use strum::IntoStaticStr;

pub use self::finding::{Conclusion, Finding};
use self::{fields::Fields, json::Json};
use super::dedup_key::DedupKey;

/// The fields in which a payload may name its organization. The fourth place is `company.id`.
const ORGANIZATION: [&str; 3] = ["organization_id", "org_id", "company_id"];

/// Whose words a payload uses, by its label in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Family {
    /// Named events.
    Workflow,
    /// Dialpad's call states and text messages.
    #[strum(serialize = "dialpad")]
    Native,
    /// What the server found out by itself.
    Finding,
    /// None of these.
    Unknown,
}

impl Family {
    /// Returns the label in the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A payload that was read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Whose words it uses.
    pub family: Family,
    /// Its event type or state; `unknown` where it has neither.
    pub event_type: String,
    /// The organization that it names.
    pub organization_id: Option<i64>,
    /// What makes it the same event as another.
    pub dedup_key: DedupKey,
    /// When it says that it was sent, or that its event happened.
    pub at: Option<DateTime<Utc>>,
    /// What it says, or why it can't be understood.
    pub content: Result<Inbound, String>,
    /// What of it could not be read, although the rest was.
    pub unreadable: Option<String>,
}

/// When a payload says that its event happened; and what it says, or why it can't be understood.
type Content = (Option<DateTime<Utc>>, Result<Inbound, String>);

/// Reads a webhook that came over HTTP. Only the server itself may write findings: a webhook that looks like one can't
/// be understood.
#[must_use]
pub fn read_webhook(bytes: &[u8], received_at: DateTime<Utc>) -> Reading {
    let reading = read(bytes, received_at);
    if reading.family != Family::Finding {
        return reading;
    }
    let content = Err("only the server itself has findings".to_owned());
    Reading { family: Family::Unknown, event_type: "unknown".into(), content, ..reading }
}

/// Reads a payload from the journal, findings included. A payload without a time happened when it was received.
#[must_use]
pub fn read(bytes: &[u8], received_at: DateTime<Utc>) -> Reading {
    let (object, unreadable) = match json::read(bytes) {
        Ok(Json { value: Value::Object(object), unreadable }) => (object, unreadable),
        Ok(_) => return unknown(bytes, "the payload is not a JSON object".into()),
        Err(problem) => return unknown(bytes, problem),
    };
    let fields = Fields::of(&object);
    let organization_id = fields
        .integer(&ORGANIZATION)
        .or_else(|| object.get("company").and_then(|it| fields::integer(it.get("id")?)));
    let (family, event_type, at, content) = if let Some(kind) = fields.text(&[finding::MARK]) {
        let (at, content) = finding::read(&kind, &object, received_at);
        (Family::Finding, format!("finding.{kind}"), at, content)
    } else if let Some(event_type) = fields.text(&["event_type"]) {
        let (at, content) = workflow::read(&event_type, &object, received_at);
        (Family::Workflow, event_type, at, content)
    } else if let Some(state) = fields.text(&["state"]) {
        let (at, content) = native::read_call(&state, &object, received_at);
        (Family::Native, state, at, content)
    } else if native::is_fax(&object) {
        (
            Family::Native,
            "fax".to_owned(),
            None,
            Err("it is a fax, neither a call nor a text message".to_owned()),
        )
    } else if native::is_message(&fields) {
        let (at, content) = native::read_message(&object, received_at);
        (Family::Native, "sms".to_owned(), at, content)
    } else {
        let problem = "it is neither a call nor a text message: it has no event_type, no state, and no id with from_number \
                       and to_number";
        (Family::Unknown, "unknown".to_owned(), None, Err(problem.to_owned()))
    };
    let dedup_key = DedupKey::of_object(&object, organization_id, at);
    Reading { family, event_type, organization_id, dedup_key, at, content, unreadable }
}

fn unknown(bytes: &[u8], problem: String) -> Reading {
    Reading {
        family: Family::Unknown,
        event_type: "unknown".into(),
        organization_id: None,
        dedup_key: DedupKey::of_bytes(bytes),
        at: None,
        content: Err(problem),
        unreadable: None,
    }
}

/// Reads a call that is over, as Dialpad's REST API shows it.
#[must_use]
pub fn details(call: &Map<String, Value>) -> Knowledge {
    native::knowledge(&Fields::of(call), &Signal::Learned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_is_found_in_every_place() {
        for json in [
            r#"{"organization_id":7}"#,
            r#"{"organization_id":"7"}"#,
            r#"{"org_id":7}"#,
            r#"{"company_id":"7"}"#,
            r#"{"company":{"id":7}}"#,
        ] {
            assert_eq!(read(json.as_bytes(), DateTime::UNIX_EPOCH).organization_id, Some(7), "{json}");
        }
    }

    #[test]
    fn a_webhook_is_never_read_as_a_finding() {
        let forged = br#"{"finding":"presumed_over","call_id":1,"at":"2024-01-01T12:00:00Z"}"#;
        assert!(read(forged, DateTime::UNIX_EPOCH).content.is_ok());
        let reading = read_webhook(forged, DateTime::UNIX_EPOCH);
        assert!(reading.content.is_err() && reading.family == Family::Unknown);
    }

    #[test]
    fn an_unreadable_payload_is_kept_with_its_reason() {
        for bytes in
            [&b"\xff\xfe"[..], b"[1,2]", b"{}", br#"{"event_type":"call.ring"}"#, br#"{"state":"ringing"}"#]
        {
            assert!(read(bytes, DateTime::UNIX_EPOCH).content.is_err());
        }
    }

    #[test]
    fn a_call_is_read_without_the_spots_that_are_no_json() {
        let payload = br#"{"state":"hangup","call_id":5,"event_timestamp":1731632669601,"mos_score":NaN,
            "contact":{"name":"x\ud83d"},"date_ended":1731632669000,"target":{"type":"user","id":9}}"#;
        let reading = read(payload, DateTime::UNIX_EPOCH);
        let again = read(payload, DateTime::UNIX_EPOCH);
        assert!(reading.content.is_ok() && reading.unreadable.is_some());
        assert_eq!((reading.event_type.as_str(), reading.dedup_key), ("hangup", again.dedup_key));
    }

    #[test]
    fn a_time_that_cannot_be_read_fails_the_webhook_and_names_the_field() {
        for (json, field) in [
            (r#"{"event_type":"call.ring","call_id":1,"timestamp":"soon"}"#, "timestamp"),
            (r#"{"event_type":"call.ended","call_id":1,"call":{"ended_at":"tomorrow"}}"#, "ended_at"),
            (r#"{"event_type":"message.received","message_id":1,"sent_at":"x"}"#, "sent_at"),
            (r#"{"state":"hangup","call_id":1,"event_timestamp":5,"date_connected":"x"}"#, "date_connected"),
            (r#"{"id":1,"from_number":"+1","to_number":["+2"],"created_date":"x"}"#, "created_date"),
            (
                r#"{"finding":"concluded","call":{"call_id":1,"state":"hangup","date_ended":"x"}}"#,
                "date_ended",
            ),
        ] {
            let problem = read(json.as_bytes(), DateTime::UNIX_EPOCH).content.expect_err("unreadable");
            assert!(problem.starts_with(&format!("{field} can't be read as a time")), "{json}: {problem}");
        }
    }

    #[test]
    fn a_key_without_a_value_counts_as_absent() {
        for json in [
            r#"{"id":1,"from_number":"+1","to_number":["+2"],"call_id":null,"state":null,"event_type":null}"#,
            r#"{"id":1,"from_number":"+1","to_number":["+2"],"call_id":"","state":"","finding":null}"#,
            r#"{"id":1,"from_number":"+1","to_number":["+2"],"fax_url":null,"fax":{}}"#,
        ] {
            let reading = read(json.as_bytes(), DateTime::UNIX_EPOCH);
            assert!(matches!(reading.content, Ok(Inbound::Message(_))), "{json}: {:?}", reading.content);
        }
        let nothing = r#"{"id":null,"from_number":"+1","to_number":["+2"]}"#;
        assert!(read(nothing.as_bytes(), DateTime::UNIX_EPOCH).content.is_err());
    }

    #[test]
    fn a_fax_is_no_text_message() {
        for json in [
            r#"{"id":1,"from_number":"+1","to_number":"+2","fax_url":"https://dialpad.com/fax/1"}"#,
            r#"{"id":1,"from_number":"+1","to_number":"+2","type":"fax","status":"received"}"#,
            r#"{"id":1,"from_number":"+1","to_number":"+2","message_type":"FAX","text":""}"#,
            r#"{"id":1,"from_number":"+1","to_number":"+2","num_pages":3,"file_url":"https://dialpad.com/f/1"}"#,
        ] {
            let reading = read(json.as_bytes(), DateTime::UNIX_EPOCH);
            assert_eq!(reading.event_type, "fax", "{json}");
            assert!(reading.content.is_err(), "{json}");
        }
    }
}
