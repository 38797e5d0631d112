//! One webhook about one call leg, in the engine's words. `webhook/payload` of the server translates Dialpad's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantNames};
use utoipa::ToSchema;

use super::{millis::Millis, recording::RecordingKnowledge, status::DialpadState};
use crate::id::DialpadCallId;

/// The direction of a call or a message, seen from the company.
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
    /// From outside to the company.
    Inbound,
    /// From the company to outside.
    Outbound,
}

impl Direction {
    /// Returns the word in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The kind of a leg. On a group's leg, Dialpad's `connected` can mean a menu, which is no answer.
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
    /// Of a person whom a group rang.
    User,
    /// Of a main line, department or call centre.
    Group,
    /// Of a person who calls, or was called, without a group between.
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
    /// When it happened, by the clock of the payload.
    pub at: DateTime<Utc>,
    /// What happened.
    pub signal: Signal,
    /// The rest of what the payload says.
    pub knowledge: Knowledge,
    /// How the server learned of it.
    pub origin: Origin,
}

/// How the server learned of something. Events that did not come from a webhook are marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A webhook said so.
    #[default]
    Webhook,
    /// The server asked Dialpad, because a client wanted to know.
    Inquiry,
    /// The server asked Dialpad, because webhooks had been missed.
    Repair,
    /// Nothing was received for too long: it is a guess.
    Presumption,
}

/// What happened to the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The call is on its way to a person: calling, ringing, in a menu or a queue.
    Ringing,
    /// The two sides are connected. After a hold, this can be the only sign that the hold is over.
    Connected,
    /// One side was put on hold.
    Held,
    /// The hold ended, as the webhook says explicitly.
    Resumed,
    /// The leg is over.
    Ended(EndKind),
    /// Nothing was heard of the leg for too long, so it is presumed over. Later live news withdraws that.
    PresumedOver {
        /// The newest live news that was known then, by the payloads' own times.
        last_news: DateTime<Utc>,
    },
    /// The caller was sent to voicemail; the call goes on until the message is left.
    VoicemailStarted,
    /// A voicemail exists. This ends the call.
    VoicemailLeft,
    /// Something became known about the call, a recording for instance. It comes after the call: if the payload says when
    /// the call ended, or nothing else is known of the call, it has ended.
    Learned,
    /// A state that has no event type here. It is passed on as received, and the legs that it names are correlated.
    Raw {
        /// The state or event type in the sender's words.
        state: String,
        /// The payload as JSON.
        payload: Box<serde_json::Value>,
        /// What it says about the call.
        meaning: RawMeaning,
    },
}

impl Signal {
    /// Whether it is about something that comes after a call.
    pub(crate) fn comes_after_the_call(&self) -> bool {
        match self {
            Self::Learned => true,
            Self::Raw { meaning, .. } => matches!(meaning, RawMeaning::Over | RawMeaning::Transcribed),
            _ => false,
        }
    }

    /// Whether the call was going on when it was sent.
    pub(crate) fn is_live(&self) -> bool {
        match self {
            Self::Ringing | Self::Connected | Self::Held | Self::Resumed | Self::VoicemailStarted => true,
            Self::Raw { meaning, .. } => *meaning == RawMeaning::Talking,
            Self::Ended(_) | Self::PresumedOver { .. } | Self::VoicemailLeft | Self::Learned => false,
        }
    }
}

/// What a state that has no event type here says about the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RawMeaning {
    /// Nothing that is known here.
    #[default]
    Nothing,
    /// Two sides are connected (a merge, a supervisor who takes over): a hold is over.
    Talking,
    /// It is about a call that has ended, and says when.
    Over,
    /// There is a transcript: of a voicemail, unless a person answered the call.
    Transcribed,
}

/// How a leg ended, by the signal that said so. The order is that of trust in its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndKind {
    /// One side hung up.
    Hangup,
    /// The call was blocked or declined.
    Rejected,
    /// No person answered.
    Missed,
    /// A voicemail was left.
    Voicemail,
    /// Something that comes after a call, a recording or a survey for instance, said when the call had ended.
    Stated,
    /// Nothing of the end was seen, only something that comes after a call. Replaced by every other end.
    Unseen,
    /// A presumed end that an earlier version stored: see [`Signal::PresumedOver`].
    Presumed,
}

/// What a payload says besides its signal. Every field is optional; `None` never removes what is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// The direction.
    pub direction: Option<Direction>,
    /// The calling number, E.164 where Dialpad knows it.
    pub from_number: Option<String>,
    /// The called number.
    pub to_number: Option<String>,
    /// The Dialpad user of the leg.
    pub dialpad_user_id: Option<i64>,
    /// The kind of leg.
    pub leg: Option<Leg>,
    /// The root call of a graph of legs.
    pub master_call_id: Option<i64>,
    /// The group's leg through which the caller came in.
    pub entry_point_call_id: Option<i64>,
    /// On a group's leg: the leg of the person who took it.
    pub operator_call_id: Option<i64>,
    /// The user or group of the leg.
    pub target_id: Option<i64>,
    /// The user or group who sent the call on to this leg.
    pub transferred_from: Option<i64>,
    /// Whether the call was sent on from this leg.
    pub is_transferred: Option<bool>,
    /// Whether the leg was merged with another one at the time of the webhook.
    pub is_merged: bool,
    /// When the call entered Dialpad.
    pub started_at: Option<DateTime<Utc>>,
    /// When it rang a person. Only replies to the server's own requests say so; a webhook rings at its own time.
    pub rang_at: Option<DateTime<Utc>>,
    /// When the two sides were connected.
    pub connected_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The newest state in Dialpad's own words, as long as the call is live.
    pub dialpad_state: Option<DialpadState>,
    /// The whole length.
    pub duration_ms: Option<Millis>,
    /// The length of talk.
    pub talk_ms: Option<Millis>,
    /// Whether the payload is about a call that has ended, has a place for the length of talk, and leaves it empty.
    pub lacks_talk: bool,
    /// The length of all holds.
    pub hold_ms: Option<Millis>,
    /// The name of the person on the other side.
    pub contact_name: Option<String>,
    /// The name of the user or group of the leg.
    pub target_name: Option<String>,
    /// Whether both sides are in the company.
    pub is_internal: Option<bool>,
    /// Whether the caller asked the queue to be called back.
    pub callback_requested: Option<bool>,
    /// What was passed when the call was placed, as JSON.
    pub custom_data: Option<String>,
    /// The parts of the recording.
    pub recordings: Vec<RecordingKnowledge>,
    /// Where the call's recording is.
    pub recording_url: Option<String>,
    /// Another place of the recording: the administrators' copy, or a page for people. Shown while nothing better is known.
    pub recording_spare_url: Option<String>,
    /// Dialpad's id of the voicemail.
    pub voicemail_id: Option<String>,
    /// Where the voicemail's audio is.
    pub voicemail_url: Option<String>,
    /// Another place of the audio. Shown while nothing better is known.
    pub voicemail_spare_url: Option<String>,
    /// The transcript of the voicemail.
    pub voicemail_transcript: Option<String>,
    /// The length of the voicemail.
    pub voicemail_duration_ms: Option<Millis>,
}

impl Knowledge {
    /// Returns the legs that it names: master, entry point, operator.
    pub(crate) fn leg_ids(&self) -> impl Iterator<Item = i64> {
        [self.master_call_id, self.entry_point_call_id, self.operator_call_id].into_iter().flatten()
    }

    /// Returns where the call's recording is, or the other place of it.
    #[must_use]
    pub fn recording(&self) -> Option<&String> {
        self.recording_url.as_ref().or(self.recording_spare_url.as_ref())
    }

    /// Returns where the voicemail's audio is, or the other place of it.
    #[must_use]
    pub fn voicemail(&self) -> Option<&String> {
        self.voicemail_url.as_ref().or(self.voicemail_spare_url.as_ref())
    }

    /// Whether it says something that is known only once a voicemail was left. A transcript alone is none: it can be that
    /// of the conversation.
    #[must_use]
    pub fn is_of_a_voicemail(&self) -> bool {
        self.voicemail().is_some() || self.voicemail_id.is_some()
    }
}
