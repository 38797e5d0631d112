//! The webhooks of a call, and how their events are recognized in the feed.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// Dialpad's id of call number 0: above 32 bits, as real ids are.
const FIRST_CALL_ID: i64 = 5_000_000_000;

/// The webhooks of a call, in the order in which they happen.
///
/// Both notes are webhooks without an event type of their own. They are emitted each time that they are processed, so they
/// show a webhook that was processed twice, which leaves no trace in the state of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    Ring,
    FirstNote,
    Started,
    Held,
    SecondNote,
    Resumed,
    Ended,
}

impl Step {
    pub(crate) const ALL: [Self; 7] = [
        Self::Ring,
        Self::FirstNote,
        Self::Started,
        Self::Held,
        Self::SecondNote,
        Self::Resumed,
        Self::Ended,
    ];

    /// Returns the `event_type` of the webhook.
    fn sent_as(self) -> &'static str {
        match self {
            Self::Ring => "call.ring",
            Self::FirstNote | Self::SecondNote => "call.noted",
            Self::Started => "call.started",
            Self::Held => "call.held",
            Self::Resumed => "call.resumed",
            Self::Ended => "call.ended",
        }
    }

    /// Whether the webhook has an event of its own whatever is known of its call. The others change nothing, or only add
    /// something, when a later one was processed before.
    pub(crate) fn is_always_emitted(self) -> bool {
        matches!(self, Self::FirstNote | Self::SecondNote | Self::Ended)
    }

    /// Returns the seconds from the ring to the event.
    fn offset(self) -> i64 {
        match self {
            Self::Ring => 0,
            Self::FirstNote => 1,
            Self::Started => 3,
            Self::Held => 45,
            Self::SecondNote => 46,
            Self::Resumed => 50,
            Self::Ended => 180,
        }
    }

    /// Returns which webhook caused an event; `None` for an event that no webhook has for itself, like `call.updated`.
    pub(crate) fn of_event(kind: &str, event: &Value) -> Option<Self> {
        match kind {
            "call.ring" => Some(Self::Ring),
            "call.started" => Some(Self::Started),
            "call.held" => Some(Self::Held),
            "call.resumed" => Some(Self::Resumed),
            "call.ended" => Some(Self::Ended),
            "call.raw" => match event["payload"]["note"].as_u64() {
                Some(1) => Some(Self::FirstNote),
                Some(2) => Some(Self::SecondNote),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A call of the load. Its webhooks are the same bytes whenever they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Its number, from 0.
    pub(crate) number: u32,
    /// When it rings, in unix seconds.
    pub(crate) rings_at: i64,
}

impl Call {
    /// Returns a call that rang some minutes ago: none of its events lies in the future.
    pub(crate) fn recent(number: u32) -> Self {
        Self { number, rings_at: unix_now() - 300 }
    }

    pub(crate) fn id(self) -> i64 {
        FIRST_CALL_ID + i64::from(self.number)
    }

    /// Returns the number of the call with this id of Dialpad's.
    pub(crate) fn number_of(id: i64) -> Option<u32> {
        u32::try_from(id.checked_sub(FIRST_CALL_ID)?).ok()
    }

    /// Returns the Dialpad user whom it rings.
    pub(crate) fn user(self) -> i64 {
        500 + i64::from(self.number % 50)
    }

    /// Returns the body of a webhook.
    pub(crate) fn webhook(self, step: Step) -> String {
        let caller = self.number % 10_000_000;
        let mut body = json!({
            "event_type": step.sent_as(),
            "call_id": self.id(),
            "direction": "inbound",
            // Each call has a caller of its own: calls that share one may be legs of one interaction.
            "from_number": format!("+1415{caller:07}"),
            "to_number": "+14155555678",
            "dialpad_user_id": self.user(),
            "timestamp": self.rings_at + step.offset(),
        });
        match step {
            Step::FirstNote => body["note"] = json!(1),
            Step::SecondNote => body["note"] = json!(2),
            _ => {}
        }
        body.to_string()
    }
}

/// Returns the signature of a webhook: HMAC-SHA256 in hexadecimal digits.
pub(crate) fn sign(secret: &str, body: &[u8]) -> String {
    let key = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    hex::encode(key.chain_update(body).finalize().into_bytes())
}

/// Returns the present time in unix seconds.
pub(crate) fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_recognized_in_the_feed() {
        let call = Call { number: 7, rings_at: 1_704_067_200 };
        for step in Step::ALL {
            let payload: Value = serde_json::from_str(&call.webhook(step)).unwrap();
            assert_eq!(payload["call_id"], 5_000_000_007_i64);
            let (kind, event) = match payload["event_type"].as_str().unwrap() {
                "call.noted" => ("call.raw".to_owned(), json!({ "payload": payload })),
                kind => (kind.to_owned(), json!({})),
            };
            assert_eq!(Step::of_event(&kind, &event), Some(step));
        }
        assert_eq!(Step::of_event("call.updated", &json!({})), None);
        assert_eq!(Call::number_of(call.id()), Some(7));
        assert_eq!(Call::number_of(7), None);
    }
}
