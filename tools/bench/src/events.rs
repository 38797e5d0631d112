//! The calls of the bench. Every event is a pure function of its number: its signature can be computed in advance, without
//! keeping all bodies in memory.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Dialpad's id of call number 0: above 32 bits, as real ids are.
const FIRST_CALL_ID: i64 = 5_000_000_000;

/// The events of a call, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The call rings.
    Ring,
    /// The call is answered.
    Started,
    /// The call ends.
    Ended,
}

impl Phase {
    /// All phases, in order.
    pub(crate) const ALL: [Self; 3] = [Self::Ring, Self::Started, Self::Ended];

    /// Returns the event type, in webhooks and in the feed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ring => "call.ring",
            Self::Started => "call.started",
            Self::Ended => "call.ended",
        }
    }

    /// Returns the seconds from the ring to the event.
    fn offset(self) -> i64 {
        match self {
            Self::Ring => 0,
            Self::Started => 3,
            Self::Ended => 45,
        }
    }
}

/// One event of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// The call's number, from 0.
    pub(crate) call: u32,
    /// The phase of the call.
    pub(crate) phase: Phase,
}

impl Event {
    /// Returns its index among all events: three per call.
    pub(crate) fn index(self) -> usize {
        self.call as usize * Phase::ALL.len() + self.phase as usize
    }

    /// Parses a message of the feed; `None` if it is not an event of the bench.
    pub(crate) fn parse(kind: &str, call_id: i64) -> Option<Self> {
        let phase = Phase::ALL.into_iter().find(|phase| phase.name() == kind)?;
        let call = u32::try_from(call_id.checked_sub(FIRST_CALL_ID)?).ok()?;
        Some(Self { call, phase })
    }
}

/// Builds webhook bodies; all calls ring at the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PayloadTemplate {
    rings_at: i64,
}

impl PayloadTemplate {
    /// Lets the calls ring a minute ago: no event lies in the future, and none is old enough to be ended by the sweep.
    pub(crate) fn recent() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { rings_at: i64::try_from(now).unwrap_or_default() - 60 }
    }

    /// Appends the body of an event's webhook. The same event always gives the same bytes.
    pub(crate) fn write_body(&self, event: Event, out: &mut Vec<u8>) {
        let kind = event.phase.name();
        let call_id = FIRST_CALL_ID + i64::from(event.call);
        let caller = event.call % 10_000_000;
        let user_id = 500 + event.call % 50;
        let timestamp = self.rings_at + event.phase.offset();
        let ended = match event.phase {
            Phase::Ring | Phase::Started => "",
            Phase::Ended => {
                r#""duration_seconds":42,"recording_url":"https://dialpad.com/recordings/1.wav","#
            }
        };
        let created_at = DateTime::from_timestamp(self.rings_at, 0).unwrap_or_default();
        let created_at = created_at.format("%Y-%m-%dT%H:%M:%SZ");
        let written = write!(
            out,
            r#"{{"event_type":"{kind}","call_id":{call_id},"direction":"inbound","from_number":"+1415{caller:07}","to_number":"+14155555678","dialpad_user_id":{user_id},{ended}"timestamp":{timestamp},"raw_payload":{{"event":"{kind}","call":{{"id":{call_id},"direction":"INBOUND","from_number":"+1415{caller:07}","to_number":"+14155555678","user_id":{user_id},"created_at":"{created_at}"}}}}}}"#
        );
        written.expect("writing to a vector cannot fail");
    }

    /// Signs the events of calls `0..calls`, ordered by [`Event::index`].
    pub(crate) fn sign(&self, secret: &str, calls: u32) -> Vec<Signature> {
        let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        let mut body = Vec::with_capacity(1_024);
        let events = (0..calls).flat_map(|call| Phase::ALL.map(|phase| Event { call, phase }));
        events
            .map(|event| {
                body.clear();
                self.write_body(event, &mut body);
                key.clone().chain_update(&body).finalize().into_bytes().into()
            })
            .collect()
    }
}

/// An HMAC-SHA256 over a webhook body.
pub(crate) type Signature = [u8; 32];

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: PayloadTemplate = PayloadTemplate { rings_at: 1_704_067_200 };

    fn body(event: Event) -> serde_json::Value {
        let mut bytes = Vec::new();
        TEMPLATE.write_body(event, &mut bytes);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_body_is_a_webhook_without_an_organization() {
        let body = body(Event { call: 7, phase: Phase::Ended });
        assert_eq!(body["event_type"], "call.ended");
        assert_eq!(body["call_id"], 5_000_000_007_i64);
        assert_eq!(body["timestamp"], 1_704_067_245);
        assert_eq!(body["duration_seconds"], 42);
        assert_eq!(body["raw_payload"]["call"]["created_at"], "2024-01-01T00:00:00Z");
        assert!(body.get("organization_id").is_none());
    }

    #[test]
    fn an_event_is_parsed_from_the_feed() {
        let event = Event { call: 12, phase: Phase::Started };
        assert_eq!(Event::parse("call.started", 5_000_000_012), Some(event));
        assert_eq!(event.index(), 37);
        assert_eq!(Event::parse("call.updated", 5_000_000_012), None);
        assert_eq!(Event::parse("call.ring", 12), None);
    }

    #[test]
    fn every_event_is_signed_over_its_own_body() {
        let signatures = TEMPLATE.sign("secret", 3);
        assert_eq!(signatures.len(), 9);
        let event = Event { call: 2, phase: Phase::Ring };
        let mut bytes = Vec::new();
        TEMPLATE.write_body(event, &mut bytes);
        let mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap().chain_update(&bytes);
        mac.verify_slice(&signatures[event.index()]).unwrap();
    }
}
