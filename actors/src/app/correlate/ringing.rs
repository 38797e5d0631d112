//! Legs that ring together, although no webhook names them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::after;
use crate::{
    app::{
        call_group::{CallGroup, InteractionLegs},
        context::CallContext,
    },
    error::StoreError,
    id::{DialpadCallId, InteractionId},
    model::{
        call::{Links, StoredCall},
        interaction::rang_with,
    },
};

/// The legs that rang for the same caller at the same time, as far as one of them is in the batch.
#[derive(Default)]
pub(super) struct Ringing {
    /// The legs of the batch that ring with others.
    pub(super) legs: BTreeSet<DialpadCallId>,
    /// The interactions of the other legs.
    pub(super) interactions: BTreeSet<InteractionId>,
    pub(super) links: Vec<(DialpadCallId, DialpadCallId)>,
}

/// Finds the legs with which those of the batch ring, although no webhook names them. Each leg of the batch is a candidate
/// for those after it.
pub(super) async fn ring_together(
    ctx: &mut CallContext<'_>,
    groups: &[CallGroup],
    newcomers: &InteractionLegs,
    known: &InteractionLegs,
    now: DateTime<Utc>,
) -> Result<Ringing, StoreError> {
    let mut ringing = Ringing::default();
    let of_batch = after(groups.iter().filter(|group| group.rings()), newcomers, known);
    let mut rang: Vec<&StoredCall> =
        of_batch.values().filter(|leg| leg.facts.links() == Links::default()).collect();
    rang.sort_by_key(|leg| leg.id);
    let mut near: Vec<(&StoredCall, Vec<DialpadCallId>)> = Vec::new();
    let mut is_before = BTreeSet::new();
    for leg in rang {
        let mut candidates = ctx.recent_legs.near(leg);
        candidates.retain(|call| is_before.contains(call) || !of_batch.contains_key(call));
        if !candidates.is_empty() {
            near.push((leg, candidates));
        }
        ctx.recent_legs.add_ring(leg.dialpad_call_id, &leg.facts, now);
        is_before.insert(leg.dialpad_call_id);
    }
    if near.is_empty() {
        return Ok(ringing);
    }
    let all = near.iter().flat_map(|(_, candidates)| candidates);
    let unloaded: BTreeSet<DialpadCallId> =
        all.filter(|call| !of_batch.contains_key(call)).copied().collect();
    let unloaded: Vec<DialpadCallId> = unloaded.into_iter().collect();
    let stored = match unloaded[..] {
        [] => Vec::new(),
        _ => ctx.ledger.relatives(ctx.app_id, &unloaded).await?,
    };
    let stored: InteractionLegs = stored.into_iter().map(|call| (call.dialpad_call_id, call)).collect();
    for (leg, candidates) in near {
        let candidates = candidates.iter().filter_map(|call| of_batch.get(call).or_else(|| stored.get(call)));
        if let Some(other) = rang_with(leg, candidates) {
            ringing.interactions.extend(stored.get(&other).map(|it| it.interaction_id));
            ringing.legs.extend([leg.dialpad_call_id, other]);
            ringing.links.push((leg.dialpad_call_id, other));
        }
    }
    Ok(ringing)
}
