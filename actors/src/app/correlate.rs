//! Finds out which legs of a batch belong to one human call, before they decide.
//!
//! A call that was never seen, or that names a leg for the first time, costs one query, which also returns the calls
//! themselves. One that begins to ring is taken for a new one: that the store knows nothing of it is a condition of the unit
//! of work, so it costs no query. Calls that belong to others cost one more, for all legs of their interactions; and one more where a leg
//! was sent on or merged, because the webhooks do not name the other leg.

mod ringing;

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use self::ringing::ring_together;
use super::{
    call_group::{CallGroup, Correlated, InteractionLegs},
    context::CallContext,
    roster::InteractionRef,
};
use crate::{
    error::StoreError,
    id::{CallId, DialpadCallId, InteractionId},
    model::{
        call::{Links, StoredCall},
        interaction::{LegLinks, find_links, join, may_be_linked, rang_together, sources_of},
    },
    ports::Window,
};

/// Finds the interactions that the calls belong to, and starts the actors that are not running.
pub(super) async fn correlate(
    ctx: &mut CallContext<'_>,
    groups: &[CallGroup],
    now: DateTime<Utc>,
) -> Result<Correlated, StoreError> {
    let uncertain: Vec<&CallGroup> = groups.iter().filter(|group| is_uncertain(ctx, group)).collect();
    let is_unseen = |group: &&CallGroup| {
        let is_known = ctx.roster.get(group.call).is_some() || ctx.recent_legs.has_rung(group.call);
        ctx.expects_new && !is_known && group.begins() && !says_links(group)
    };
    let (new, asked): (Vec<&CallGroup>, Vec<&CallGroup>) = uncertain.iter().copied().partition(is_unseen);
    // Before anything can fail: their actors must not outlive a batch that did not become durable.
    *ctx.unseen = new.iter().map(|group| group.call).collect();
    let mentioned: BTreeSet<DialpadCallId> =
        asked.iter().flat_map(|group| group.names().map(DialpadCallId).chain([group.call])).collect();
    let mentioned: Vec<DialpadCallId> = mentioned.into_iter().collect();
    let relatives = match mentioned[..] {
        [] => Vec::new(),
        _ => ctx.ledger.relatives(ctx.app_id, &mentioned).await?,
    };
    let known: InteractionLegs = relatives.into_iter().map(|call| (call.dialpad_call_id, call)).collect();

    // Legs that name nobody and that nobody names are by themselves.
    let named: BTreeSet<i64> = uncertain
        .iter()
        .flat_map(|group| group.names())
        .chain(known.values().flat_map(|call| call.facts.names()))
        .collect();
    let mut legs = InteractionLegs::new();
    let mut newcomers = InteractionLegs::new();
    for group in uncertain.iter().filter(|group| !known.contains_key(&group.call)) {
        let unseen = unseen(ctx, group.call, now);
        if named.contains(&group.call.0) || group.names().next().is_some() || says_links(group) {
            legs.insert(group.call, unseen);
        } else {
            newcomers.insert(group.call, unseen);
        }
    }
    let ringing = ring_together(ctx, groups, &newcomers, &known, now).await?;
    for (call, unseen) in newcomers {
        if ringing.legs.contains(&call) {
            legs.insert(call, unseen);
        } else if ctx.roster.get(call).is_none() {
            let interaction = unseen.interaction_id;
            ctx.start_actor(unseen, InteractionRef { interaction, names: BTreeSet::new(), alone: true }, now);
        }
    }

    let related = groups.iter().filter_map(|group| {
        ctx.roster.interaction_ref(group.call).filter(|it| !it.alone).map(|it| it.interaction)
    });
    let interactions: BTreeSet<InteractionId> =
        known.values().map(|call| call.interaction_id).chain(related).chain(ringing.interactions).collect();
    load_interactions(ctx, interactions, &mut legs).await?;
    legs.extend(known);
    if legs.is_empty() {
        return Ok(Correlated::default());
    }
    let mut foreseen = foresee(ctx, groups, &mut legs, now).await?;
    for (call, other) in ringing.links {
        if let Some(leg) = foreseen.get_mut(&call) {
            leg.facts.set_links(Links { rang_with: Some(other), ..leg.facts.links() });
        }
    }
    let mut correlated = regroup(ctx, legs, foreseen).await?;
    start_actors(ctx, groups, &mut correlated, now);
    Ok(correlated)
}

/// Whether the legs that a call belongs to must be looked for.
fn is_uncertain(ctx: &CallContext<'_>, group: &CallGroup) -> bool {
    match ctx.roster.interaction_ref(group.call) {
        Some(interaction_ref) => {
            says_links(group)
                || (interaction_ref.alone && group.rings())
                || !group.names().all(|name| interaction_ref.names.contains(&name))
        }
        None => true,
    }
}

/// Whether a webhook says that the leg belongs to one that it does not name.
fn says_links(group: &CallGroup) -> bool {
    group.events.iter().any(|event| event.knowledge.transferred_from.is_some() || event.knowledge.is_merged)
}

/// Returns a call that the store does not have. A live one has an interaction already.
fn unseen(ctx: &CallContext<'_>, call: DialpadCallId, now: DateTime<Utc>) -> StoredCall {
    let mut unseen = StoredCall::unseen(call, now);
    if let Some(interaction_ref) = ctx.roster.interaction_ref(call) {
        unseen.interaction_id = interaction_ref.interaction;
        if interaction_ref.alone {
            unseen.id = CallId(interaction_ref.interaction.0);
        }
    }
    unseen
}

/// Adds all legs of these interactions.
pub(super) async fn load_interactions(
    ctx: &CallContext<'_>,
    interactions: BTreeSet<InteractionId>,
    legs: &mut InteractionLegs,
) -> Result<(), StoreError> {
    if interactions.is_empty() {
        return Ok(());
    }
    let ids: Vec<InteractionId> = interactions.into_iter().collect();
    let stored = ctx.ledger.legs(ctx.app_id, &ids).await?;
    legs.extend(stored.into_iter().map(|leg| (leg.dialpad_call_id, leg)));
    Ok(())
}

/// Returns the legs as they will be after the batch. Where one of them was sent on or merged, the batch's other calls of
/// that user or group are added: it may belong to them.
async fn foresee(
    ctx: &CallContext<'_>,
    groups: &[CallGroup],
    legs: &mut InteractionLegs,
    now: DateTime<Utc>,
) -> Result<InteractionLegs, StoreError> {
    let mut foreseen = after(groups.iter(), legs, legs);
    let senders: BTreeSet<i64> =
        foreseen.values().flat_map(|leg| sources_of(&leg.facts)).map(|window| window.target).collect();
    if senders.is_empty() {
        return Ok(foreseen);
    }
    let is_of_sender = |group: &&CallGroup| {
        let mut targets = group.events.iter().filter_map(|event| event.knowledge.target_id);
        !foreseen.contains_key(&group.call) && targets.any(|target| senders.contains(&target))
    };
    let others: Vec<DialpadCallId> = groups.iter().filter(is_of_sender).map(|group| group.call).collect();
    if others.is_empty() {
        return Ok(foreseen);
    }
    let stored = ctx.ledger.relatives(ctx.app_id, &others).await?;
    let stored = stored.into_iter().filter(|call| others.contains(&call.dialpad_call_id));
    let mut candidates: InteractionLegs = stored.map(|call| (call.dialpad_call_id, call)).collect();
    for call in others {
        candidates.entry(call).or_insert_with(|| unseen(ctx, call, now));
    }
    foreseen.extend(after(groups.iter(), &candidates, &candidates));
    legs.extend(candidates);
    Ok(foreseen)
}

/// Returns the legs of these groups as they will be after the batch, and the others as they are.
fn after<'g>(
    groups: impl Iterator<Item = &'g CallGroup>,
    legs: &InteractionLegs,
    more: &InteractionLegs,
) -> InteractionLegs {
    let mut after = legs.clone();
    for group in groups {
        let Some(stored) = legs.get(&group.call).or_else(|| more.get(&group.call)) else { continue };
        let leg = after.entry(group.call).or_insert_with(|| stored.clone());
        group.events.iter().for_each(|event| leg.facts.absorb(event));
    }
    after
}

/// Starts the actors of the batch's calls that are not running.
fn start_actors(
    ctx: &mut CallContext<'_>,
    groups: &[CallGroup],
    correlated: &mut Correlated,
    now: DateTime<Utc>,
) {
    for group in groups {
        let Some(interaction_ref) = correlated.refs.get(&group.call) else { continue };
        let legs = correlated.interactions.get(&interaction_ref.interaction);
        let stored = legs.and_then(|legs| legs.get(&group.call));
        if let Some(stored) = stored.filter(|_| ctx.roster.get(group.call).is_none()) {
            ctx.start_actor(stored.clone(), interaction_ref.clone(), now);
        }
    }
}

/// Finds out which of these legs, and of those that they are linked to, belong together. `foreseen` are the same legs as
/// they will be. Interactions may become one, and legs may leave the one that they were thought to belong to.
pub(super) async fn regroup(
    ctx: &mut CallContext<'_>,
    mut legs: InteractionLegs,
    mut foreseen: InteractionLegs,
) -> Result<Correlated, StoreError> {
    part_answered(&mut foreseen);
    let mut links = follow_links(ctx, &mut legs, &mut foreseen).await?;
    for (call, leg) in &foreseen {
        let before = legs.get(call).map(|leg| leg.facts.links()).unwrap_or_default();
        if leg.facts.links() != before {
            links.insert(*call, leg.facts.links());
        }
    }
    let named: Vec<LegLinks> = foreseen.values().map(LegLinks::of).collect();
    let joined = join(&named);
    let mut sizes: HashMap<InteractionId, usize> = HashMap::new();
    for interaction in joined.values() {
        *sizes.entry(*interaction).or_default() += 1;
    }

    let mut correlated = Correlated { links, ..Correlated::default() };
    for leg in named {
        let Some(stored) = legs.remove(&leg.call) else { continue };
        let interaction = joined[&leg.call];
        let may_be_linked = may_be_linked(&foreseen[&leg.call].facts);
        let alone = leg.names.is_empty() && sizes[&interaction] == 1 && !may_be_linked;
        let names = leg.names.into_iter().collect();
        let interaction_ref = InteractionRef { interaction, names, alone };
        ctx.roster.bind(leg.call, interaction_ref.clone());
        correlated.refs.insert(leg.call, interaction_ref);
        if stored.interaction_id != interaction {
            correlated.smaller.insert(stored.interaction_id);
        }
        let was_head = stored.interaction_id == stored.id.into();
        if was_head || !correlated.left.contains_key(&stored.interaction_id) {
            correlated.left.insert(stored.interaction_id, interaction);
        }
        correlated.interactions.entry(interaction).or_default().insert(leg.call, stored);
    }
    let remaining = &correlated.interactions;
    correlated.left.retain(|left, _| !remaining.contains_key(left));
    Ok(correlated)
}

/// Drops the links between legs that rang together and were both answered: they are two calls.
fn part_answered(foreseen: &mut InteractionLegs) {
    let linked =
        foreseen.values().filter_map(|leg| Some((leg, foreseen.get(&leg.facts.links().rang_with?)?)));
    let parted = linked.filter(|(leg, other)| !rang_together(leg, other));
    let parted: Vec<DialpadCallId> = parted.map(|(leg, _)| leg.dialpad_call_id).collect();
    for call in parted {
        if let Some(leg) = foreseen.get_mut(&call) {
            leg.facts.set_links(Links { rang_with: None, ..leg.facts.links() });
        }
    }
}

/// Finds the legs from which others were sent on, or with which they were merged: the webhooks do not name them. The
/// legs of their interactions are added. Returns the links that changed.
async fn follow_links(
    ctx: &CallContext<'_>,
    legs: &mut InteractionLegs,
    foreseen: &mut InteractionLegs,
) -> Result<HashMap<DialpadCallId, Links>, StoreError> {
    let mut found: HashMap<DialpadCallId, Links> = HashMap::new();
    let windows: Vec<Window> = foreseen.values().flat_map(|leg| sources_of(&leg.facts)).collect();
    if windows.is_empty() {
        return Ok(found);
    }
    let stored = ctx.ledger.calls_in(ctx.app_id, &windows).await?;
    let mut candidates: InteractionLegs =
        stored.into_iter().map(|call| (call.dialpad_call_id, call)).collect();
    // What this batch changes is known as it will be after the batch.
    candidates.extend(foreseen.iter().map(|(call, leg)| (*call, leg.clone())));
    for leg in foreseen.values().filter(|leg| may_be_linked(&leg.facts)) {
        let links = find_links(leg, candidates.values());
        if links != leg.facts.links() {
            found.insert(leg.dialpad_call_id, links);
        }
    }

    let linked: BTreeSet<InteractionId> = found
        .values()
        .flat_map(|links| links.iter())
        .filter(|call| !foreseen.contains_key(call))
        .filter_map(|call| candidates.get(&call).map(|call| call.interaction_id))
        .collect();
    let mut others = InteractionLegs::new();
    load_interactions(ctx, linked, &mut others).await?;
    for (call, leg) in others {
        foreseen.entry(call).or_insert_with(|| leg.clone());
        legs.entry(call).or_insert(leg);
    }
    for (call, links) in &found {
        if let Some(leg) = foreseen.get_mut(call) {
            leg.facts.set_links(*links);
        }
    }
    Ok(found)
}
