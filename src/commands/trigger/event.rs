//! What can be triggered by name: one event, or a whole flow.

use std::fmt;
use std::str::FromStr;

use cti_simulator::flows::{Flow, ScheduledWebhook};

/// Something to trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The one webhook that tells this CRM event.
    Told(Told),
    /// Every webhook of a flow.
    Flow(Flow),
}

/// An event that a single webhook causes or is, and the flow that this webhook is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub(super) name: &'static str,
    pub(super) flow: Flow,
    /// The `state` of Dialpad's webhook, where none of our events is told at once.
    pub(super) state: Option<&'static str>,
}

/// To add one more: a line here, as long as a payload family tells it in that flow.
pub(super) const TOLD: [Told; 12] = [
    told("call.ring", Flow::Answered),
    told("call.started", Flow::Answered),
    told("call.held", Flow::Hold),
    told("call.resumed", Flow::Hold),
    told("call.ended", Flow::Answered),
    told("call.raw", Flow::Merge),
    Told { name: "call.recording.completed", flow: Flow::Answered, state: Some("recording") },
    told("voicemail.received", Flow::Voicemail),
    told("voicemail.updated", Flow::Voicemail),
    told("message.received", Flow::Message),
    told("message.sent", Flow::Message),
    told("message.updated", Flow::Message),
];

const fn told(name: &'static str, flow: Flow) -> Told {
    Told { name, flow, state: None }
}

impl Told {
    /// Whether this is the webhook.
    pub(super) fn is(self, step: &ScheduledWebhook) -> bool {
        match self.state {
            Some(state) => step.payload["state"] == state || step.payload["event_type"] == self.name,
            None => step.expected_event.is_some_and(|event| event.name() == self.name),
        }
    }
}

impl Event {
    /// Whether it goes from the company to the outside.
    pub(super) fn is_outgoing(self) -> bool {
        match self {
            Self::Told(told) => matches!(told.name, "message.sent" | "message.updated"),
            Self::Flow(flow) => flow == Flow::Outbound,
        }
    }
}

/// A name that nothing has.
#[derive(Debug, thiserror::Error)]
#[error("there are the events {} and the flows {}", listed(TOLD.iter().map(|told| told.name)), listed(Flow::ALL))]
pub struct UnknownEvent;

fn listed<T: fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Event {
    type Err = UnknownEvent;

    fn from_str(name: &str) -> Result<Self, UnknownEvent> {
        let told = TOLD.into_iter().find(|told| told.name == name).map(Self::Told);
        told.or_else(|| name.parse().ok().map(Self::Flow)).ok_or(UnknownEvent)
    }
}
