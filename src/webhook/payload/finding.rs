//! Findings: what the server found out by itself, by asking Dialpad or because a timeout passed. A finding is written
//! into the journal like a webhook and takes the same path from there: a call does not depend on how a fact became
//! known.

use chrono::{DateTime, SecondsFormat, Utc};
use cti_actors::{
    id::DialpadCallId,
    model::call::{CallEvent, Direction, EndKind, Knowledge, Leg, Origin, Signal},
    ports::Inbound,
};
use serde_json::{Map, Value, json};

use super::{Content, fields::Fields, native};

/// The field that marks a payload as a finding, and names its kind.
pub(crate) const MARK: &str = "finding";

/// A finding. Calls are as Dialpad's REST API shows them.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// A call has ended, and the server had missed it.
    Concluded(Map<String, Value>),
    /// The present state of a leg that other legs name, and that sent no webhook itself.
    Observed(Map<String, Value>),
    /// Details of a call that came late: a recording, a transcript.
    Details(Map<String, Value>),
    /// A call was placed for a CRM.
    Placed {
        /// Dialpad's id of the call.
        call: DialpadCallId,
        /// The Dialpad user whose phones ring.
        dialpad_user_id: i64,
        /// The number that is called.
        phone_number: String,
        /// What was passed to Dialpad with it, by which the call is found again.
        custom_data: Option<String>,
        /// When it was placed.
        at: DateTime<Utc>,
    },
    /// A call is presumed to have ended: it has not changed for too long.
    PresumedOver {
        /// The call.
        call: DialpadCallId,
        /// When that was decided.
        at: DateTime<Utc>,
        /// The newest live news that was known then, by the payloads' own times.
        last_news: DateTime<Utc>,
    },
}

impl Finding {
    /// Returns the payload for the journal.
    #[must_use]
    pub fn payload(&self) -> Value {
        let instant = |at: &DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Micros, true);
        match self {
            Self::Concluded(call) => json!({MARK: "concluded", "call": call}),
            Self::Observed(call) => json!({MARK: "observed", "call": call}),
            Self::Details(call) => json!({MARK: "details", "call": call}),
            Self::Placed { call, dialpad_user_id, phone_number, custom_data, at } => json!({
                MARK: "placed", "call_id": call, "dialpad_user_id": dialpad_user_id,
                "phone_number": phone_number, "custom_data": custom_data, "at": instant(at),
            }),
            Self::PresumedOver { call, at, last_news } => json!({
                MARK: "presumed_over", "call_id": call, "at": instant(at), "last_news": instant(last_news),
            }),
        }
    }
}

/// The end of a call, as Dialpad's REST API shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// The call.
    pub call: DialpadCallId,
    /// When it ended, where Dialpad says so.
    pub at: Option<DateTime<Utc>>,
    /// Whether it has a voicemail.
    pub left_a_message: bool,
}

impl Conclusion {
    /// Reads a call. Returns `None` where it has not ended, or can't be understood.
    #[must_use]
    pub fn of(call: &Map<String, Value>) -> Option<Self> {
        let fields = Fields::of(call);
        let (_, known) = conclusion(&fields).ok()?;
        Some(Self {
            call: fields.integer(&["call_id", "id"]).map(DialpadCallId)?,
            at: known.ended_at,
            left_a_message: known.voicemail_url.is_some() || known.voicemail_id.is_some(),
        })
    }
}

/// Reads a finding back from the journal.
pub(crate) fn read(kind: &str, object: &Map<String, Value>, received_at: DateTime<Utc>) -> Content {
    let outer = Fields::of(object);
    let shown = object.get("call").and_then(Value::as_object);
    let fields = shown.map_or_else(|| Fields::of(object), Fields::of);
    let Some(call) = fields.integer(&["call_id", "id"]).map(DialpadCallId) else {
        return (None, Err(format!("the finding {kind} names no call")));
    };
    let said_at = outer.instant(&["at"]);
    let event = |at: Option<DateTime<Utc>>, signal, knowledge, origin| {
        let at = at.unwrap_or(received_at);
        outer.unless_unreadable(())?;
        fields.unless_unreadable(Inbound::Call(CallEvent {
            dialpad_call_id: call,
            at,
            signal,
            knowledge,
            origin,
        }))
    };
    match kind {
        "concluded" => {
            let ended_at = fields.instant(&["date_ended"]);
            (
                ended_at,
                conclusion(&fields).and_then(|(end, known)| event(ended_at, end, known, Origin::Repair)),
            )
        }
        "observed" => {
            // The state of a leg that has ended may be that of its recording.
            let (ended_at, state) = match fields.instant(&["date_ended"]) {
                Some(ended_at) => (Some(ended_at), conclusion(&fields)),
                None => {
                    let state = fields.text(&["state"]).unwrap_or_default();
                    let signal = native::signal(&state, shown.unwrap_or(object));
                    let mut knowledge = native::knowledge(&fields, &signal);
                    knowledge.dialpad_state = state.parse().ok();
                    (None, Ok((signal, knowledge)))
                }
            };
            (ended_at, state.and_then(|(signal, known)| event(ended_at, signal, known, Origin::Inquiry)))
        }
        "details" => {
            let knowledge = native::knowledge(&fields, &Signal::Learned);
            (None, event(None, Signal::Learned, knowledge, Origin::Inquiry))
        }
        "placed" => {
            let knowledge = Knowledge {
                direction: Some(Direction::Outbound),
                to_number: outer.text(&["phone_number"]),
                dialpad_user_id: outer.integer(&["dialpad_user_id"]),
                leg: Some(Leg::Direct),
                custom_data: outer.value("custom_data").map(Value::to_string),
                ..Knowledge::default()
            };
            (said_at, event(said_at, Signal::Ringing, knowledge, Origin::Inquiry))
        }
        "presumed_over" => {
            // An earlier version stored only when it was decided.
            let last_news = outer.instant(&["last_news"]).or(said_at).unwrap_or(received_at);
            let presumed = Signal::PresumedOver { last_news };
            (said_at, event(said_at, presumed, Knowledge::default(), Origin::Presumption))
        }
        unknown => (None, Err(format!("{unknown} is no finding"))),
    }
}

/// Reads how a call in Dialpad's history ended, and everything else about it.
fn conclusion(fields: &Fields<'_>) -> Result<(Signal, Knowledge), String> {
    let kind = match fields.text(&["state"]).as_deref() {
        Some("missed") => EndKind::Missed,
        Some("blocked") => EndKind::Rejected,
        Some("hangup" | "voicemail" | "voicemail_uploaded") => EndKind::Hangup,
        _ if fields.instant(&["date_ended"]).is_some() => EndKind::Hangup,
        _ => return Err("Dialpad does not show the call as over".to_owned()),
    };
    let signal = Signal::Ended(kind);
    let mut knowledge = native::knowledge(fields, &signal);
    knowledge.rang_at = fields.instant(&["date_rang", "date_first_rang", "date_started"]);
    Ok((signal, knowledge))
}

#[cfg(test)]
mod tests {
    use cti_actors::model::call::Millis;

    use super::*;

    fn read_back(finding: &Finding) -> CallEvent {
        let payload = finding.payload().to_string();
        match crate::webhook::payload::read(payload.as_bytes(), DateTime::UNIX_EPOCH).content {
            Ok(Inbound::Call(event)) => event,
            other => panic!("expected a call, got {other:?}"),
        }
    }

    fn shown(json: Value) -> Map<String, Value> {
        json.as_object().cloned().expect("an object")
    }

    #[test]
    fn a_concluded_call_ends_when_it_ended() {
        let event = read_back(&Finding::Concluded(shown(json!({
            "call_id": "6000000000000001", "direction": "inbound", "state": "hangup", "external_number": "+1",
            "internal_number": "+2", "date_started": "1704110400000", "date_rang": "1704110401000",
            "date_connected": "1704110405000", "date_ended": "1704110465000", "total_duration": 65000.03,
            "target": {"id": "555", "type": "user"},
        }))));
        assert_eq!(event.dialpad_call_id, DialpadCallId(6_000_000_000_000_001));
        assert_eq!((event.at.timestamp(), event.origin), (1_704_110_465, Origin::Repair));
        assert_eq!(event.signal, Signal::Ended(EndKind::Hangup));
        assert_eq!(event.knowledge.rang_at.map(|at| at.timestamp()), Some(1_704_110_401));
        assert_eq!(event.knowledge.dialpad_user_id, Some(555));
        assert_eq!(event.knowledge.duration_ms, Some(Millis::from_f64(65_000.03)));
    }

    #[test]
    fn a_call_that_continues_is_not_concluded() {
        let payload = Finding::Concluded(shown(json!({"call_id": "1", "state": "connected"}))).payload();
        let reading = crate::webhook::payload::read(payload.to_string().as_bytes(), DateTime::UNIX_EPOCH);
        assert!(reading.content.is_err());
    }

    #[test]
    fn an_observed_leg_is_in_the_state_that_dialpad_shows() {
        let leg = json!({"call_id": "2", "state": "connected", "entry_point_call_id": "1", "target": {"id": "7", "type": "user"}});
        let event = read_back(&Finding::Observed(shown(leg)));
        assert_eq!((event.signal, event.knowledge.leg), (Signal::Connected, Some(Leg::User)));

        let over = json!({"call_id": "2", "state": "recording", "date_ended": "1704110465000"});
        let event = read_back(&Finding::Observed(shown(over)));
        assert_eq!((event.signal, event.origin), (Signal::Ended(EndKind::Hangup), Origin::Inquiry));
    }

    #[test]
    fn a_placed_call_rings_outbound() {
        let at = DateTime::from_timestamp(1_704_110_400, 0).expect("a valid instant");
        let call = DialpadCallId(9);
        let event = read_back(&Finding::Placed {
            call,
            dialpad_user_id: 5,
            phone_number: "+3".into(),
            custom_data: Some("order 7".into()),
            at,
        });
        assert_eq!(event.knowledge.custom_data.as_deref(), Some("\"order 7\""));
        assert_eq!((event.dialpad_call_id, event.at, event.signal), (call, at, Signal::Ringing));
        assert_eq!(event.knowledge.direction, Some(Direction::Outbound));
    }

    #[test]
    fn a_presumed_end_says_what_was_known_last() {
        let instant = |second| DateTime::from_timestamp(second, 0).expect("a valid instant");
        let (at, last_news) = (instant(1_704_110_400), instant(1_704_100_000));
        let event = read_back(&Finding::PresumedOver { call: DialpadCallId(9), at, last_news });
        assert_eq!((event.at, event.origin), (at, Origin::Presumption));
        assert_eq!(event.signal, Signal::PresumedOver { last_news });

        let stored_before = br#"{"finding":"presumed_over","call_id":9,"at":"2024-01-01T12:00:00Z"}"#;
        let read = crate::webhook::payload::read(stored_before, DateTime::UNIX_EPOCH).content;
        let Ok(Inbound::Call(event)) = read else { panic!("expected a call, got {read:?}") };
        assert_eq!(event.signal, Signal::PresumedOver { last_news: at });
    }

    #[test]
    fn a_repeated_finding_has_the_same_key() {
        let key = |json: Value| {
            let payload = Finding::Details(shown(json)).payload().to_string();
            crate::webhook::payload::read(payload.as_bytes(), DateTime::UNIX_EPOCH).dedup_key
        };
        let details = key(json!({"call_id": "1", "recording_url": ["u"]}));
        assert_eq!(details, key(json!({"call_id": "1", "recording_url": ["u"]})));
        assert_ne!(details, key(json!({"call_id": "1", "recording_url": ["v"]})));
    }
}
