//! The text messages of a batch. They need no actors: each webhook is applied to what the store knows.

use std::collections::{BTreeSet, HashMap};

use super::{batch::Batch, pipeline::Pipeline};
use crate::{
    error::StoreError,
    event::message_event,
    model::message::{self, MessageEvent, StoredMessage},
};

impl Pipeline {
    /// Applies webhooks about messages, each at its place in the batch.
    pub(super) async fn apply_messages(
        &self,
        messages: &[(usize, &MessageEvent)],
        batch: &mut Batch<'_>,
    ) -> Result<(), StoreError> {
        if messages.is_empty() {
            return Ok(());
        }
        let ids: BTreeSet<String> =
            messages.iter().map(|(_, event)| event.dialpad_message_id.clone()).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let known = self.ports.ledger.messages(self.app_id, &ids).await?;
        let mut known: HashMap<String, StoredMessage> =
            known.into_iter().map(|message| (message.dialpad_message_id.clone(), message)).collect();
        let mut changed: BTreeSet<String> = BTreeSet::new();
        for (place, event) in messages {
            let id = &event.dialpad_message_id;
            let (facts, change) = message::apply(known.get(id).map(|message| &message.facts), event);
            let message = known
                .entry(id.clone())
                .or_insert_with(|| StoredMessage::unseen(id.clone(), facts.clone(), batch.now));
            if change.is_some() {
                message.updated_at = batch.now;
            }
            if message.facts != facts || message.version == 0 {
                // One write per message and batch, whatever the number of its webhooks.
                message.version += i64::from(changed.insert(id.clone()));
                message.facts = facts;
            }
            let event = change.map(|change| message_event(self.app_id, message, change, event.at));
            batch.tell(*place, event);
            batch.processed(&[*place]);
        }
        batch.write(changed.iter().filter_map(|id| known.remove(id)));
        Ok(())
    }
}
