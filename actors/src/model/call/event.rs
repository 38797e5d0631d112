//! What one webhook says about one call leg, in the engine's own words. Which words Dialpad used is the
//! business of the edge that read the payload.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantNames};
use utoipa::ToSchema;

use crate::id::DialpadCallId;

/// Seen from the company: who called whom.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    EnumString,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Direction {
    /// Somebody outside called the company.
    Inbound,
    /// The company called somebody outside.
    Outbound,
}

impl Direction {
    /// Returns the word in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Whom a leg belongs to. It decides what "connected" means: on a group leg a caller who hears a menu is
/// connected too, yet nobody has answered.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    EnumString,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Leg {
    /// A person who was rung on behalf of a group.
    User,
    /// A main line, department or call centre.
    Group,
    /// A person who was called, or who calls, without a group between.
    Direct,
}

impl Leg {
    /// Returns the word in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One webhook about one call leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEvent {
    /// The leg.
    pub dialpad_call_id: DialpadCallId,
    /// When it happened, by the payload's own clock.
    pub at: DateTime<Utc>,
    /// What happened.
    pub signal: Signal,
    /// What else the payload knows.
    pub knowledge: Knowledge,
    /// How this came to be known.
    pub origin: Origin,
}

/// How something came to be known. A CRM hears of what did not come by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Dialpad said so in a webhook.
    #[default]
    Webhook,
    /// The server asked, for somebody who wanted to know.
    Inquiry,
    /// The server asked, because webhooks had been missing.
    Repair,
    /// Nobody said so: too much time has passed.
    Presumption,
}

/// What happened to the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It is on its way to a person: calling, ringing, in a menu or a queue.
    Ringing,
    /// The two sides are joined. After a hold this is the only sign that the hold is over.
    Connected,
    /// One side waits.
    Held,
    /// The hold is over, said in so many words.
    Resumed,
    /// The leg is over.
    Ended(EndKind),
    /// The caller is being sent to voicemail; the call goes on until the message is left.
    VoicemailStarted,
    /// A voicemail message exists. This ends the call.
    VoicemailLeft,
    /// Something became known about the call: a recording, for instance.
    Learned,
    /// A state for which there is no name here. It is passed on as it came and changes nothing; only the legs that it
    /// names count.
    Raw {
        /// The state or event type in the sender's words.
        state: String,
        /// The payload, as JSON.
        payload: Box<serde_json::Value>,
    },
}

/// How a leg ended, by the signal that said so. The order is that of trust in its instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndKind {
    /// Somebody hung up.
    Hangup,
    /// The call was blocked or declined.
    Rejected,
    /// Nobody answered.
    Missed,
    /// A voicemail was left.
    Voicemail,
    /// Nobody said so, but it must have.
    Presumed,
}

/// What a payload knows besides its signal. Every field is optional; `None` never takes anything away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// Who called whom.
    pub direction: Option<Direction>,
    /// The calling number, E.164 where Dialpad knows it.
    pub from_number: Option<String>,
    /// The called number.
    pub to_number: Option<String>,
    /// The Dialpad user whose leg this is.
    pub dialpad_user_id: Option<i64>,
    /// What sort of leg it is.
    pub leg: Option<Leg>,
    /// The root call of a graph of legs.
    pub master_call_id: Option<i64>,
    /// The group leg through which this leg's caller came in.
    pub entry_point_call_id: Option<i64>,
    /// On a group leg: the person's leg that took it.
    pub operator_call_id: Option<i64>,
    /// The user or group whose leg this is.
    pub target_id: Option<i64>,
    /// The user or group who sent the call on to this leg.
    pub transferred_from: Option<i64>,
    /// When the call entered Dialpad.
    pub started_at: Option<DateTime<Utc>>,
    /// When it rang a person. Only what the server asked for says so; a webhook rings at its own instant.
    pub rang_at: Option<DateTime<Utc>>,
    /// When the two sides were joined.
    pub connected_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The whole length in milliseconds.
    pub duration_ms: Option<i64>,
    /// The length of talk in milliseconds.
    pub talk_ms: Option<i64>,
    /// The length of all holds in milliseconds.
    pub hold_ms: Option<i64>,
    /// Where the call's recording is.
    pub recording_url: Option<String>,
    /// Where else it may be had: the administrators' copy, or a page for people. Shown while nothing better is known.
    pub recording_spare_url: Option<String>,
    /// Dialpad's name of the voicemail.
    pub voicemail_id: Option<String>,
    /// Where the voicemail's audio is.
    pub voicemail_url: Option<String>,
    /// Where else it may be had. Shown while nothing better is known.
    pub voicemail_spare_url: Option<String>,
    /// What was said on the voicemail.
    pub voicemail_transcript: Option<String>,
    /// The length of the voicemail in milliseconds.
    pub voicemail_duration_ms: Option<i64>,
}

impl Knowledge {
    /// Where the call's recording is, or may be had.
    #[must_use]
    pub fn recording(&self) -> Option<&String> {
        self.recording_url.as_ref().or(self.recording_spare_url.as_ref())
    }

    /// Where the voicemail's audio is, or may be had.
    #[must_use]
    pub fn voicemail(&self) -> Option<&String> {
        self.voicemail_url.as_ref().or(self.voicemail_spare_url.as_ref())
    }

    /// Whether a message must have been left for somebody to know this.
    #[must_use]
    pub fn is_of_a_voicemail(&self) -> bool {
        self.voicemail().is_some() || self.voicemail_id.is_some() || self.voicemail_transcript.is_some()
    }
}
