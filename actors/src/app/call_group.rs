//! The webhooks of a batch, sorted by call and by message.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{batch::Batch, roster::InteractionRef};
use crate::{
    id::{DialpadCallId, InteractionId},
    model::{
        call::{CallEvent, Links, Signal, StoredCall},
        message::MessageEvent,
    },
    ports::Inbound,
};

/// The webhooks of one call within a batch.
pub(super) struct CallGroup {
    pub(super) call: DialpadCallId,
    /// Their positions in the batch.
    pub(super) positions: Vec<usize>,
    pub(super) events: Vec<CallEvent>,
    /// Whether some were left for the next batch.
    pub(super) deferred: bool,
}

impl CallGroup {
    fn new(call: DialpadCallId) -> Self {
        Self { call, positions: Vec::new(), events: Vec::new(), deferred: false }
    }

    /// Whether one of its webhooks rings.
    pub(super) fn rings(&self) -> bool {
        self.events.iter().any(|event| event.signal == Signal::Ringing)
    }

    /// Whether it begins with a ring and names no other leg, as most new calls do.
    pub(super) fn begins(&self) -> bool {
        let rings_first = self.events.first().is_some_and(|event| event.signal == Signal::Ringing);
        rings_first && self.names().next().is_none()
    }

    /// Returns its first webhook, and its position.
    pub(super) fn first_webhook(&self) -> Option<(usize, &CallEvent)> {
        self.positions.first().copied().zip(self.events.first())
    }

    /// Returns its last webhook, and its position.
    pub(super) fn last_webhook(&self) -> Option<(usize, CallEvent)> {
        self.positions.last().copied().zip(self.events.last().cloned())
    }

    /// Returns the legs that its webhooks name.
    pub(super) fn names(&self) -> impl Iterator<Item = i64> {
        self.events.iter().flat_map(|event| event.knowledge.leg_ids())
    }
}

/// A webhook about a message, and its position in the batch.
pub(super) type MessageAt<'p> = (usize, &'p MessageEvent);

/// The legs of one interaction as the batch has left them so far.
pub(super) type InteractionLegs = BTreeMap<DialpadCallId, StoredCall>;

/// Which calls belong together, before they decide.
#[derive(Default)]
pub(super) struct Correlated {
    /// The interactions to which a call of the batch belongs or has belonged, with all their legs as they were before
    /// it. A call that is in none of them is by itself.
    pub(super) interactions: BTreeMap<InteractionId, InteractionLegs>,
    /// The same, by call.
    pub(super) refs: HashMap<DialpadCallId, InteractionRef>,
    /// The links between legs that were found, where they differ from those that the legs have.
    pub(super) links: HashMap<DialpadCallId, Links>,
    /// Interactions that a leg has left.
    pub(super) smaller: BTreeSet<InteractionId>,
    /// Interactions to which no leg belongs any longer, each with the one that its legs are now a part of.
    pub(super) left: BTreeMap<InteractionId, InteractionId>,
}

/// Sorts a batch by call, in order of first appearance, and by message. Webhooks that could not be read fail here. Of a
/// call in quarantine, only the first webhook is taken.
pub(super) fn group_by_call<'p>(
    batch: &mut Batch<'p>,
    quarantined: &BTreeSet<DialpadCallId>,
) -> (Vec<CallGroup>, Vec<MessageAt<'p>>) {
    let mut groups: Vec<CallGroup> = Vec::new();
    let mut index_of: HashMap<DialpadCallId, usize> = HashMap::new();
    let mut messages = Vec::new();
    for (position, pending) in batch.pending.iter().enumerate() {
        match &pending.content {
            Err(reason) => batch.mark_failed(position, reason),
            Ok(Inbound::Message(event)) => messages.push((position, event)),
            Ok(Inbound::Call(event)) => {
                let call = event.dialpad_call_id;
                let index = *index_of.entry(call).or_insert_with(|| {
                    groups.push(CallGroup::new(call));
                    groups.len() - 1
                });
                let group = &mut groups[index];
                if quarantined.contains(&call) && !group.positions.is_empty() {
                    group.deferred = true;
                    continue;
                }
                group.positions.push(position);
                group.events.push(event.clone());
            }
        }
    }
    (groups, messages)
}
