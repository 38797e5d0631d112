//! The text messages of a batch. They need no actors: each webhook is applied to what the store has.

use std::collections::{BTreeSet, HashMap};

use super::{batch::Batch, call_group::MessageAt};
use crate::{
    error::StoreError,
    event::message_event,
    id::AppId,
    model::message::{self, StoredMessage},
    ports::Ledger,
};

/// Applies webhooks about messages, each at its position in the batch.
pub(super) async fn apply_messages(
    app_id: AppId,
    ledger: &dyn Ledger,
    messages: &[MessageAt<'_>],
    batch: &mut Batch<'_>,
) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let ids: BTreeSet<String> = messages.iter().map(|(_, event)| event.dialpad_message_id.clone()).collect();
    let ids: Vec<String> = ids.into_iter().collect();
    let known = ledger.messages(app_id, &ids).await?;
    let mut known: HashMap<String, StoredMessage> =
        known.into_iter().map(|message| (message.dialpad_message_id.clone(), message)).collect();
    let mut changed: BTreeSet<String> = BTreeSet::new();
    for (position, event) in messages {
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
        if let Some(change) = change {
            batch.add_event(*position, message_event(app_id, message, change, event.at));
        }
        batch.mark_processed(&[*position]);
    }
    batch.add_messages(changed.iter().filter_map(|id| known.remove(id)));
    Ok(())
}
