//! What happens on the telephone: a seed and a start time give the webhooks of one call or conversation, always the same.
//!
//! Nothing here reads a clock or the network. Each [`ScheduledWebhook`] also says which CRM event it must cause, so that a test can
//! compare what a server told with what it was told.
//!
//! | flow | Dialpad's states | events told |
//! |---|---|---|
//! | `answered` | ringing, connected, hangup, recording | `call.ring`, `call.started`, `call.ended` |
//! | `missed` | ringing, missed, hangup | `call.ring`, `call.ended` |
//! | `voicemail` | ringing, missed, voicemail, hangup, voicemail_uploaded, transcription | `call.ring`, `call.ended`, `voicemail.received`, `voicemail.updated` |
//! | `hold` | ringing, connected, hold, connected, hangup, recording | `call.ring`, `call.started`, `call.held`, `call.resumed`, `call.ended` |
//! | `outbound` | calling, connected, hangup | `call.ring`, `call.started`, `call.ended` |
//! | `queue` | main line: preanswer, connected (a menu), connected, hangup; call centre: preanswer, queued, connected, hangup; first agent: ringing, missed, hangup; second agent: ringing, connected, hangup, recording | `call.ring`, `call.started` and `call.ended` of each leg, but the first agent's never starts |
//! | `transfer` | ringing, connected, hangup; the colleague's leg: ringing, connected, hangup, recording | `call.ring`, `call.started`, `call.ended` of both |
//! | `warm-transfer` | ringing, connected, hold, hangup; the consultation: calling, connected, hangup; the colleague's leg: connected, hangup | the first leg's with `call.held`; the consultation's; `call.started`, `call.ended` |
//! | `park` | ringing, connected, parked, connected, hangup | like `hold` |
//! | `merge` | ringing, connected, hold, connected, hangup; the other call: calling, connected, merged, hangup | like `hold`; `call.ring`, `call.started`, `call.raw`, `call.ended` |
//! | `message` | a text comes in, the reply goes out, the reply is delivered | `message.received`, `message.sent`, `message.updated` |
//!
//! To add one more: a variant of [`Flow`], its roles and its score in `plot.rs`, a line in the table above; a role that
//! is new as well needs its two ends in `participants.rs`, a step its effect in `leg.rs` and its name in `dialpad.rs` and
//! `workflow.rs`.

pub(crate) mod dialpad;
pub(crate) mod leg;
pub(crate) mod message;
pub(crate) mod participants;
pub(crate) mod playback;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod timeline;
pub(crate) mod workflow;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use participants::{OFFICE_ID, Party, first_user, user_by_id};
pub(crate) use playback::{Playback, Webhook};

/// One story that the simulator can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// A customer calls, a user answers, they talk; a recording follows.
    Answered,
    /// A customer calls and nobody answers.
    Missed,
    /// A customer calls, nobody answers, and the customer leaves a voicemail.
    Voicemail,
    /// An answered call with one hold in it.
    Hold,
    /// A user calls a customer, who answers.
    Outbound,
    /// A customer reaches a call centre over the main line; two agents are rung, and one takes the call.
    Queue,
    /// A user answers and sends the customer on to a colleague.
    Transfer,
    /// The same, after a word with the colleague.
    WarmTransfer,
    /// A user parks a customer and takes the call up again.
    Park,
    /// A user calls another customer and brings both together.
    Merge,
    /// A customer sends a text and a user replies.
    Message,
}

impl Flow {
    /// Every flow, in the order in which help texts list them.
    pub const ALL: [Self; 11] = [
        Self::Answered,
        Self::Missed,
        Self::Voicemail,
        Self::Hold,
        Self::Outbound,
        Self::Queue,
        Self::Transfer,
        Self::WarmTransfer,
        Self::Park,
        Self::Merge,
        Self::Message,
    ];

    /// The name on the command line and in the control API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Missed => "missed",
            Self::Voicemail => "voicemail",
            Self::Hold => "hold",
            Self::Outbound => "outbound",
            Self::Queue => "queue",
            Self::Transfer => "transfer",
            Self::WarmTransfer => "warm-transfer",
            Self::Park => "park",
            Self::Merge => "merge",
            Self::Message => "message",
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A name that belongs to no flow.
#[derive(Debug, thiserror::Error)]
#[error("unknown flow \"{0}\"; there are {list}", list = Flow::ALL.map(Flow::name).join(", "))]
pub struct UnknownFlow(pub String);

impl FromStr for Flow {
    type Err = UnknownFlow;

    fn from_str(name: &str) -> Result<Self, UnknownFlow> {
        Self::ALL.into_iter().find(|flow| flow.name() == name).ok_or_else(|| UnknownFlow(name.to_owned()))
    }
}

/// The shape of the payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// What Dialpad itself sends: a snapshot of the leg with its `state`, times in milliseconds, no company id.
    #[default]
    Dialpad,
    /// Flat objects with an `event_type`, times in seconds and an `organization_id`.
    Workflow,
}

/// One webhook of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduledWebhook {
    /// How long after the previous step (the first: after the start) it happens.
    pub after: Duration,
    /// The body, before it is signed.
    pub payload: Value,
    /// The CRM event about its call or text that must have been told once it was dealt with; `None` when it only adds
    /// knowledge to what was told before.
    pub expected_event: Option<&'static str>,
}

/// Everything about a flow that its seed does not decide.
#[derive(Clone, Debug)]
pub struct FlowOptions {
    /// When the first step happens.
    pub start: DateTime<Utc>,
    /// Named in the payloads when given. Dialpad's real events never name the company: leave it out to be like them.
    pub organization_id: Option<i64>,
    /// Where the links to recordings point: scheme and host.
    pub media_base: String,
    /// Scales the flow itself, with all times in it: 1 is as in life, 0 as fast as can be told apart.
    pub time_scale: f64,
    /// What the caller fixes instead of leaving it to chance.
    pub overrides: Overrides,
}

/// Facts of a flow fixed by hand.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The id of the call (of the first leg or text, where there are several).
    pub call_id: Option<i64>,
    /// The number of the outside party.
    pub external_number: Option<String>,
    /// The number on the company's side.
    pub internal_number: Option<String>,
    /// The Dialpad user who takes spec.
    pub user_id: Option<i64>,
    /// What whoever placed the call attached to it.
    pub custom_data: Option<String>,
}

/// Writes out a flow. The same arguments give the same steps; another start also gives another call id, so that a seed
/// can be played twice without naming the same call twice.
pub fn webhooks(flow: Flow, family: Family, seed: u64, options: &FlowOptions) -> Vec<ScheduledWebhook> {
    let mut steps = Vec::new();
    let mut waited = Duration::ZERO;
    for played in Playback::new(flow, family, seed, options.clone()) {
        waited += played.after;
        // A played that a family has no word for only makes the next step come later.
        if let Some(Webhook { payload, expected_event }) = played.webhook {
            steps.push(ScheduledWebhook { after: std::mem::take(&mut waited), payload, expected_event });
        }
    }
    steps
}

/// How long a flow takes at its natural pace, from its first step to its last.
pub fn duration(flow: Flow, family: Family, seed: u64) -> Duration {
    let anywhen = FlowOptions {
        start: DateTime::UNIX_EPOCH,
        organization_id: None,
        media_base: String::new(),
        time_scale: 1.0,
        overrides: Overrides::default(),
    };
    webhooks(flow, family, seed, &anywhen).iter().map(|step| step.after).sum()
}

/// The start that lets a flow played at `pace` end about now: a flow that is hurried lies in the past, so that none of
/// its times is ahead of the reader's clock.
pub fn start_for(now: DateTime<Utc>, natural: Duration, pace: f64) -> DateTime<Utc> {
    now - natural.mul_f64((1.0 - pace).max(0.0))
}
