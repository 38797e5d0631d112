//! Finds out which legs of a batch belong to one human call, before they decide. A call that was never seen, or that
//! names a leg for the first time, costs one query, which also returns the calls themselves.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    call_group::{CallGroup, Correlated, InteractionLegs},
    context::CallContext,
    roster::InteractionRef,
};
use crate::{
    error::StoreError,
    id::{DialpadCallId, InteractionId},
    model::{
        call::StoredCall,
        interaction::{LegLinks, join, sent_on_from},
    },
};

/// How long after the last webhook of a leg the call may be sent on from it.
const TRANSFER_TIMEOUT: TimeDelta = TimeDelta::minutes(10);

/// Finds the interactions that the calls belong to, and starts the actors that are not running.
pub(super) async fn correlate(
    ctx: &mut CallContext<'_>,
    groups: &[CallGroup],
    now: DateTime<Utc>,
) -> Result<Correlated, StoreError> {
    let names_something_new = |group: &&CallGroup| match ctx.roster.interaction_ref(group.call) {
        Some(interaction_ref) => !group.names().all(|name| interaction_ref.names.contains(&name)),
        None => true,
    };
    let uncertain: Vec<&CallGroup> = groups.iter().filter(names_something_new).collect();
    if uncertain.is_empty() {
        return Ok(Correlated::default());
    }

    let mentioned: BTreeSet<DialpadCallId> =
        uncertain.iter().flat_map(|group| group.names().map(DialpadCallId).chain([group.call])).collect();
    let mentioned: Vec<DialpadCallId> = mentioned.into_iter().collect();
    let relatives = ctx.ledger.relatives(ctx.app_id, &mentioned).await?;
    let mut known: InteractionLegs = relatives.into_iter().map(|call| (call.dialpad_call_id, call)).collect();

    let mut correlated = Correlated::default();
    let mut links = Vec::with_capacity(uncertain.len());
    for group in &uncertain {
        let call = match known.get(&group.call) {
            Some(call) => call,
            None => {
                let mut unseen = StoredCall::unseen(group.call, now);
                if let Some(interaction_ref) = ctx.roster.interaction_ref(group.call) {
                    unseen.interaction_id = interaction_ref.interaction;
                }
                correlated.newcomers.entry(group.call).or_insert(unseen)
            }
        };
        let mut leg = LegLinks::of(call);
        leg.names.extend(group.names());
        links.push(leg);
    }
    let foreseen = foresee_transfers(&uncertain, &known, &correlated.newcomers);
    follow_transfers(ctx, &foreseen, &mut links, &mut known, now).await?;
    let in_batch: HashSet<DialpadCallId> = uncertain.iter().map(|group| group.call).collect();
    let others = known.values().filter(|call| !in_batch.contains(&call.dialpad_call_id));
    links.extend(others.map(LegLinks::of));

    for (call, interaction_ref) in interactions_of(&links, &mut correlated.merged) {
        if ctx.roster.get(call).is_some() {
            ctx.roster.bind(call, interaction_ref);
        } else if in_batch.contains(&call)
            && let Some(stored) = known.remove(&call).or_else(|| correlated.newcomers.get(&call).cloned())
        {
            ctx.start_actor(stored, interaction_ref, now);
        }
    }
    Ok(correlated)
}

/// Finds the legs that calls were sent on from: the new leg does not name them. `foreseen` are the legs of `links`, or
/// none where nothing was sent on.
async fn follow_transfers(
    ctx: &CallContext<'_>,
    foreseen: &[StoredCall],
    links: &mut [LegLinks],
    known: &mut InteractionLegs,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let lacks_origin =
        |call: &&StoredCall| call.interaction_id == call.id.into() && call.facts.transferred_from().is_some();
    let senders: BTreeSet<i64> =
        foreseen.iter().filter(lacks_origin).filter_map(|call| call.facts.transferred_from()).collect();
    if senders.is_empty() {
        return Ok(());
    }
    let senders: Vec<i64> = senders.into_iter().collect();
    let stored = ctx.ledger.recent_calls_of(ctx.app_id, &senders, now - TRANSFER_TIMEOUT).await?;
    // A leg of this very batch is known as it will be after the batch.
    let is_foreseen =
        |call: &StoredCall| foreseen.iter().any(|other| other.dialpad_call_id == call.dialpad_call_id);
    let stored: Vec<&StoredCall> = stored.iter().filter(|call| !is_foreseen(call)).collect();
    for (leg, links) in foreseen.iter().zip(links).filter(|(leg, _)| lacks_origin(leg)) {
        let candidates = stored.iter().copied().chain(foreseen);
        let Some(origin) = sent_on_from(leg, candidates) else { continue };
        links.names.push(origin.dialpad_call_id.0);
        if !is_foreseen(origin) {
            known.entry(origin.dialpad_call_id).or_insert_with(|| origin.clone());
        }
    }
    Ok(())
}

/// Returns the calls as they will be after the batch, if any of them was sent on; otherwise none, which is nearly always
/// the case.
fn foresee_transfers(
    groups: &[&CallGroup],
    known: &InteractionLegs,
    newcomers: &InteractionLegs,
) -> Vec<StoredCall> {
    let stored = |group: &CallGroup| known.get(&group.call).or_else(|| newcomers.get(&group.call));
    let was_sent_on = |group: &&CallGroup| {
        let reported = group.events.iter().any(|event| event.knowledge.transferred_from.is_some());
        reported || stored(group).is_some_and(|call| call.facts.transferred_from().is_some())
    };
    if !groups.iter().any(was_sent_on) {
        return Vec::new();
    }
    let after_batch = |group: &&CallGroup| {
        let mut call = stored(group)?.clone();
        group.events.iter().for_each(|event| call.facts.absorb(event));
        Some(call)
    };
    groups.iter().filter_map(after_batch).collect()
}

/// Returns the interaction of each leg, and records the interactions that become part of an older one.
fn interactions_of(
    links: &[LegLinks],
    merged: &mut HashMap<InteractionId, InteractionId>,
) -> HashMap<DialpadCallId, InteractionRef> {
    let joined = join(links);
    let mut sizes: HashMap<InteractionId, usize> = HashMap::new();
    for interaction in joined.values() {
        *sizes.entry(*interaction).or_default() += 1;
    }
    let mut refs = HashMap::with_capacity(links.len());
    for leg in links {
        let interaction = joined[&leg.call];
        if interaction != leg.interaction {
            merged.insert(leg.interaction, interaction);
        }
        let alone = leg.names.is_empty() && interaction == leg.interaction && sizes[&interaction] == 1;
        let names = leg.names.iter().copied().collect();
        refs.insert(leg.call, InteractionRef { interaction, names, alone });
    }
    refs
}
