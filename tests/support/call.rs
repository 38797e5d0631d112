//! The webhooks of a call, in either payload family.

use serde_json::{Value, json};

/// 2024-01-01T12:00:00Z: when the calls of the tests start.
pub(crate) const NOON: i64 = 1_704_110_400;

/// A call and its webhooks. Times are seconds after noon.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: i64,
    direction: &'static str,
    from: String,
    to: String,
    user: i64,
    organization: Option<i64>,
}

impl Call {
    /// An inbound call to user 555.
    pub(crate) fn new(id: i64) -> Self {
        let (from, to) = ("+14155551234".to_owned(), "+14155555678".to_owned());
        Self { id, direction: "inbound", from, to, user: 555, organization: None }
    }

    pub(crate) fn outbound(mut self) -> Self {
        self.direction = "outbound";
        self
    }

    pub(crate) fn between(mut self, from: &str, to: &str) -> Self {
        (self.from, self.to) = (from.to_owned(), to.to_owned());
        self
    }

    pub(crate) fn of_user(mut self, user: i64) -> Self {
        self.user = user;
        self
    }

    /// Names the organization in its webhooks.
    pub(crate) fn of_organization(mut self, organization: i64) -> Self {
        self.organization = Some(organization);
        self
    }

    pub(crate) fn ring(&self, at: i64) -> Value {
        self.event("call.ring", at)
    }

    pub(crate) fn started(&self, at: i64) -> Value {
        self.event("call.started", at)
    }

    pub(crate) fn held(&self, at: i64) -> Value {
        self.event("call.held", at)
    }

    pub(crate) fn resumed(&self, at: i64) -> Value {
        self.event("call.resumed", at)
    }

    pub(crate) fn ended(&self, at: i64) -> Value {
        self.event("call.ended", at)
    }

    pub(crate) fn voicemail(&self, at: i64) -> Value {
        self.event("voicemail.received", at)
            .with("voicemail_id", "vm_123456")
            .with("recording_url", "https://dialpad.com/api/v2/recordings/call123/download")
            .with("transcript", "Hi, please call me back")
            .with("duration_seconds", 28)
    }

    /// Returns the webhooks of an answered call with one hold: 180 seconds, 172 of them talk.
    pub(crate) fn life(&self) -> [Value; 5] {
        [self.ring(0), self.started(3), self.held(45), self.resumed(50), self.ended(180)]
    }

    /// Returns an event of the workflow family.
    pub(crate) fn event(&self, event_type: &str, at: i64) -> Value {
        let event = json!({
            "event_type": event_type,
            "call_id": self.id,
            "direction": self.direction,
            "from_number": self.from,
            "to_number": self.to,
            "dialpad_user_id": self.user,
            "timestamp": NOON + at,
        });
        match self.organization {
            Some(organization) => event.with("organization_id", organization),
            None => event,
        }
    }

    /// Returns a snapshot of Dialpad's own family: times in milliseconds, every field present, most of them null.
    pub(crate) fn state(&self, state: &str, at: i64) -> Value {
        let (external, internal) =
            if self.direction == "inbound" { (&self.from, &self.to) } else { (&self.to, &self.from) };
        json!({
            "call_id": self.id,
            "state": state,
            "direction": self.direction,
            "event_timestamp": milliseconds(at),
            "date_started": milliseconds(0),
            "date_rang": null,
            "date_connected": null,
            "date_ended": null,
            "external_number": external,
            "internal_number": internal,
            "target": {"type": "user", "id": self.user, "office_id": 5_527_348_325_810_176_i64, "name": "Ada", "phone": internal},
            "contact": {"id": 6_501_394_203_i64, "type": "local", "name": "Grace", "phone": external, "email": ""},
            "entry_point_target": {},
            "proxy_target": {},
            "master_call_id": null,
            "entry_point_call_id": null,
            "operator_call_id": null,
            "is_transferred": false,
            "was_recorded": false,
            "recording_details": [],
            "labels": [],
            "talk_time": 0,
            "hold_time": 0,
        })
    }

    /// Returns the snapshot after an answer 3 seconds into the call.
    pub(crate) fn answered_state(&self, state: &str, at: i64) -> Value {
        self.state(state, at).with("date_rang", milliseconds(1)).with("date_connected", milliseconds(3))
    }
}

/// Converts seconds after noon to Unix milliseconds.
fn milliseconds(at: i64) -> i64 {
    (NOON + at) * 1000
}

/// Changes a field of a payload.
pub(crate) trait With {
    fn with(self, name: &str, value: impl Into<Value>) -> Self;
    fn without(self, name: &str) -> Self;
}

impl With for Value {
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self[name] = value.into();
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.as_object_mut().expect("a payload is an object").remove(name);
        self
    }
}

/// Pads a payload to exactly this length.
pub(crate) fn lengthened(payload: Value, length: usize) -> String {
    let bare = payload.clone().with("padding", "").to_string().len();
    let padded = payload.with("padding", "x".repeat(length - bare)).to_string();
    assert_eq!(padded.len(), length);
    padded
}
