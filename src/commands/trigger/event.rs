//! The names that `trigger` accepts: one event, or a flow.

use std::fmt;
use std::str::FromStr;

use cti_simulator::flows::{Flow, ScheduledWebhook};

/// Something to trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The webhook that causes one event.
    Single(SingleEvent),
    /// Every webhook of a flow.
    Flow(Flow),
}

/// An event, and the flow from which its webhook is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleEvent {
    pub(super) name: &'static str,
    pub(super) flow: Flow,
    /// Dialpad's `state` of the webhook, if it does not cause a CRM event.
    pub(super) state: Option<&'static str>,
}

/// To add an event: a line here, if a payload family has a webhook for it in that flow.
pub(super) const SINGLE_EVENTS: [SingleEvent; 12] = [
    single("call.ring", Flow::Answered),
    single("call.started", Flow::Answered),
    single("call.held", Flow::Hold),
    single("call.resumed", Flow::Hold),
    single("call.ended", Flow::Answered),
    single("call.raw", Flow::Merge),
    SingleEvent { name: "call.recording.completed", flow: Flow::Answered, state: Some("recording") },
    single("voicemail.received", Flow::Voicemail),
    single("voicemail.updated", Flow::Voicemail),
    single("message.received", Flow::Message),
    single("message.sent", Flow::Message),
    single("message.updated", Flow::Message),
];

const fn single(name: &'static str, flow: Flow) -> SingleEvent {
    SingleEvent { name, flow, state: None }
}

impl SingleEvent {
    /// Returns whether this webhook causes the event.
    pub(super) fn matches(self, webhook: &ScheduledWebhook) -> bool {
        match self.state {
            Some(state) => webhook.payload["state"] == state || webhook.payload["event_type"] == self.name,
            None => webhook.expected_event.is_some_and(|event| event.name() == self.name),
        }
    }
}

impl Event {
    /// Returns whether it goes from the company to the customer.
    pub(super) fn is_outgoing(self) -> bool {
        match self {
            Self::Single(single) => matches!(single.name, "message.sent" | "message.updated"),
            Self::Flow(flow) => matches!(flow, Flow::Outbound | Flow::Unanswered),
        }
    }
}

/// An unknown name.
#[derive(Debug, thiserror::Error)]
#[error("there are the events {} and the flows {}", listed(SINGLE_EVENTS.iter().map(|single| single.name)), listed(Flow::ALL))]
pub struct UnknownEvent;

fn listed<T: fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Event {
    type Err = UnknownEvent;

    fn from_str(name: &str) -> Result<Self, UnknownEvent> {
        let single = SINGLE_EVENTS.into_iter().find(|single| single.name == name).map(Self::Single);
        single.or_else(|| name.parse().ok().map(Self::Flow)).ok_or(UnknownEvent)
    }
}
