//! The call flows: a seed and a start time give the webhooks of one call or conversation, always the same.
//!
//! No clock and no network: time is an argument. Each [`ScheduledWebhook`] names the CRM event that it must cause, so
//! that a test can compare the events that a server emitted with the webhooks that it received.
//!
//! | flow | Dialpad's states | CRM events |
//! |---|---|---|
//! | `answered` | ringing, connected, hangup, recording | `call.ring`, `call.started`, `call.ended` |
//! | `missed` | ringing, missed, hangup | `call.ring`, `call.ended` |
//! | `voicemail` | ringing, missed, voicemail, hangup, voicemail_uploaded, transcription | `call.ring`, `call.ended`, `voicemail.received`, `voicemail.updated` |
//! | `hold` | ringing, connected, hold, connected, hangup, recording | `call.ring`, `call.started`, `call.held`, `call.resumed`, `call.ended` |
//! | `outbound` | calling, connected, hangup | `call.ring`, `call.started`, `call.ended` |
//! | `queue` | main line: preanswer, connected (a menu), connected, hangup; call center: preanswer, queued, connected, hangup; first agent: ringing, missed, hangup; second agent: ringing, connected, hangup, recording | `call.ring`, `call.started` and `call.ended` of each leg; no `call.started` of the first agent |
//! | `abandoned` | main line: preanswer, connected (a menu), hangup; call center: preanswer, queued, hangup; agent: ringing, missed, hangup | `call.ring`, `call.ended` of each leg |
//! | `queue-voicemail` | the same, and on the call center's leg: voicemail, hangup, voicemail_uploaded, transcription | the same, then `voicemail.received`, `voicemail.updated` |
//! | `blocked` | blocked, hangup | `call.ended` |
//! | `unanswered` | calling, hangup | `call.ring`, `call.ended` |
//! | `transfer` | ringing, connected, hangup; the colleague's leg: ringing, connected, hangup, recording | `call.ring`, `call.started`, `call.ended` of both |
//! | `warm-transfer` | ringing, connected, hold, hangup; the consultation: calling, connected, hangup; the colleague's leg: connected, hangup | the first leg's with `call.held`; the consultation's; `call.started`, `call.ended` |
//! | `park` | ringing, connected, parked, connected, hangup | like `hold` |
//! | `merge` | ringing, connected, hold, connected, hangup; the other call: calling, connected, merged, hangup | like `hold`; `call.ring`, `call.started`, `call.raw`, `call.ended` |
//! | `message` | a text arrives, the reply is sent, the reply is delivered | `message.received`, `message.sent`, `message.updated` |
//!
//! To add a flow: a variant of [`Flow`], its roles and steps in `timeline.rs`, a row in the table above. A new role also
//! needs its two parties in `participants.rs`; a new step its effect in `leg.rs` and its name in `dialpad.rs` and
//! `workflow.rs`.

pub(crate) mod command;
pub(crate) mod dialpad;
pub(crate) mod event_type;
pub(crate) mod leg;
pub(crate) mod message;
pub(crate) mod participants;
pub(crate) mod playback;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod timeline;
pub(crate) mod workflow;

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

pub(crate) use command::{Arrival, Command, NewIds};
pub use event_type::EventType;
pub(crate) use message::{SentText, sent_over_api};
pub(crate) use participants::{
    OFFICE_ID, Party, centre, contacts, department, first_user, main_line, outside, target_by_id, user_by_id,
    users,
};
pub(crate) use playback::{Playback, Webhook};

/// A scenario that the simulator plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownFlow, parse_err_fn = UnknownFlow::new)]
pub enum Flow {
    /// A customer calls, a user answers, they talk; a recording follows.
    Answered,
    /// A customer calls and nobody answers.
    Missed,
    /// A customer calls, nobody answers, and the customer leaves a voicemail.
    Voicemail,
    /// An answered call with one hold.
    Hold,
    /// A user calls a customer, who answers.
    Outbound,
    /// A customer reaches a call center over the main line; two agents are rung, and one answers.
    Queue,
    /// A customer waits in a call center's queue, and hangs up before an agent answers.
    Abandoned,
    /// A customer waits in a call center's queue, no agent answers, and the customer leaves a voicemail.
    QueueVoicemail,
    /// A customer calls whose number the company has blocked.
    Blocked,
    /// A user calls a customer, who does not answer.
    Unanswered,
    /// A user answers and transfers the customer to a colleague.
    Transfer,
    /// The same, after a consultation with the colleague.
    WarmTransfer,
    /// A user parks a customer and resumes the call.
    Park,
    /// A user calls another customer and merges both calls.
    Merge,
    /// A customer sends a text and a user replies.
    Message,
}

impl Flow {
    /// Every flow, in the order of the help texts.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns its name on the command line and in the control API.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The name of no flow.
#[derive(Debug, thiserror::Error)]
#[error("unknown flow \"{0}\"; there are {list}", list = list(Flow::ALL))]
pub struct UnknownFlow(pub String);

impl UnknownFlow {
    fn new(name: &str) -> Self {
        Self(name.to_owned())
    }
}

fn list(flows: &[Flow]) -> String {
    flows.iter().map(|flow| flow.name()).collect::<Vec<_>>().join(", ")
}

/// The payload family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Dialpad's own events: a snapshot of the leg with its `state`, times in milliseconds, no company id.
    #[default]
    Dialpad,
    /// Flat objects with an `event_type`, times in seconds and an `organization_id`.
    Workflow,
}

/// One webhook of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduledWebhook {
    /// The delay after the previous webhook; of the first one, after the start.
    pub after: Duration,
    /// The body before it is signed.
    pub payload: Value,
    /// The leg as the REST API shows it now; `None` for text messages.
    pub call: Option<Value>,
    /// The CRM event about its call or text that the server must have emitted once it has processed the webhook; `None` if
    /// the webhook only adds facts.
    pub expected_event: Option<EventType>,
}

/// The parameters of a flow besides its seed.
#[derive(Clone, Debug)]
pub struct FlowOptions {
    /// When the first step happens.
    pub start: DateTime<Utc>,
    /// The organization that the payloads name. Dialpad's real events never name the company: `None` is realistic.
    pub organization_id: Option<i64>,
    /// Scheme and host of the links to recordings.
    pub media_base: String,
    /// Scales all times of the flow: 1 is realistic, 0 leaves one millisecond between steps.
    pub time_scale: f64,
    /// Values that are fixed instead of random.
    pub overrides: Overrides,
}

/// Fixed values of a flow.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The id of the call (of the first leg or text, if there are several).
    pub call_id: Option<i64>,
    /// The number of the external party.
    pub external_number: Option<String>,
    /// The number on the company's side.
    pub internal_number: Option<String>,
    /// The Dialpad user who takes part.
    pub user_id: Option<i64>,
    /// The `custom_data` of a call that was placed over the API.
    pub custom_data: Option<String>,
}

/// Returns an id like Dialpad's at random, for what is made over the API.
pub(crate) fn random_id() -> i64 {
    participants::next_id(&mut Xoshiro256PlusPlus::seed_from_u64(rand::random()))
}

/// Returns all webhooks of a flow. The same arguments give the same webhooks. Another start gives another call id, so
/// that a seed can be played twice without reusing a call id.
pub fn webhooks(flow: Flow, family: Family, seed: u64, options: &FlowOptions) -> Vec<ScheduledWebhook> {
    let mut webhooks = Vec::new();
    let mut waited = Duration::ZERO;
    for played in Playback::new(flow, family, seed, options.clone()) {
        waited += played.after;
        // A step without a webhook in this family only delays the next one.
        if let Some(Webhook { payload, expected_event }) = played.webhook {
            let (after, call) = (std::mem::take(&mut waited), played.call);
            webhooks.push(ScheduledWebhook { after, payload, call, expected_event });
        }
    }
    webhooks
}

/// Returns the time from a flow's first webhook to its last, unscaled.
pub fn duration(flow: Flow, family: Family, seed: u64) -> Duration {
    let options = FlowOptions {
        start: DateTime::UNIX_EPOCH,
        organization_id: None,
        media_base: String::new(),
        time_scale: 1.0,
        overrides: Overrides::default(),
    };
    webhooks(flow, family, seed, &options).iter().map(|webhook| webhook.after).sum()
}

/// Returns the start with which a flow played at `pace` ends about now: a flow that is played faster starts in the past,
/// so that none of its times lies in the future.
pub fn start_for(now: DateTime<Utc>, natural: Duration, pace: f64) -> DateTime<Utc> {
    now - natural.mul_f64((1.0 - pace).max(0.0))
}
