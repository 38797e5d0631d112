//! What can be triggered by name: one event, or a whole flow.

use std::fmt;
use std::str::FromStr;

use crate::simulator::flows::Flow;

/// Something to trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The one webhook that tells this CRM event.
    Told(Told),
    /// Every webhook of a flow.
    Flow(Flow),
}

/// A CRM event that a single webhook tells, and the flow that this webhook is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub(super) name: &'static str,
    pub(super) flow: Flow,
}

/// To add one more: a line here, as long as both payload families tell it in that flow.
pub(super) const TOLD: [Told; 8] = [
    Told { name: "call.ring", flow: Flow::Answered },
    Told { name: "call.started", flow: Flow::Answered },
    Told { name: "call.held", flow: Flow::Hold },
    Told { name: "call.resumed", flow: Flow::Hold },
    Told { name: "call.ended", flow: Flow::Answered },
    Told { name: "voicemail.received", flow: Flow::Voicemail },
    Told { name: "message.received", flow: Flow::Message },
    Told { name: "message.sent", flow: Flow::Message },
];

impl Event {
    /// Whether it goes from the company to the outside.
    pub(super) fn is_outgoing(self) -> bool {
        match self {
            Self::Told(told) => told.name == "message.sent",
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
