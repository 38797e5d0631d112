//! The webhooks of a batch, sorted by call and by message.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::batch::Batch;
use crate::{
    id::{DialpadCallId, InteractionId},
    model::{
        call::{CallEvent, StoredCall},
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

    /// Returns the legs that its webhooks name.
    pub(super) fn names(&self) -> impl Iterator<Item = i64> {
        self.events.iter().flat_map(|event| {
            let known = &event.knowledge;
            [known.master_call_id, known.entry_point_call_id, known.operator_call_id].into_iter().flatten()
        })
    }
}

/// A webhook about a message, and its position in the batch.
pub(super) type MessageAt<'p> = (usize, &'p MessageEvent);

/// The legs of one interaction as the batch has left them so far.
pub(super) type InteractionLegs = BTreeMap<DialpadCallId, StoredCall>;

/// What is known about the calls of a batch before they decide.
#[derive(Default)]
pub(super) struct Correlated {
    /// Calls that are not in the store.
    pub(super) newcomers: InteractionLegs,
    /// Interactions that turned out to be part of an older one.
    pub(super) merged: HashMap<InteractionId, InteractionId>,
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
