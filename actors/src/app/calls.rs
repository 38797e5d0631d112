//! The calls of a batch: each decides on its webhooks, once it is known which of them belong together.
//!
//! A call that stands alone takes all its webhooks at once, concurrently with the others. Legs of one interaction are
//! applied by [`interactions`](super::interactions).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use metrics::counter;
use tracing::{error, warn};

use super::{
    batch::Batch,
    call_actor::Apply,
    call_group::{CallGroup, Correlated, InteractionLegs},
    context::CallContext,
    correlate::{load_interactions, regroup},
    interactions::{ActorDied, Decisions, apply_interaction},
    next_step::{NextStep, STORE_BACKOFF},
    roster::{InteractionRef, Restart},
};
use crate::{
    error::StoreError,
    id::{DialpadCallId, InteractionId},
    model::{
        call::{CallEvent, Links, StoredCall},
        interaction::{waiters_of, waits_for},
    },
    ports::Window,
};

/// Why a webhook that crashes its call's actor fails.
const ACTOR_DIED: &str = "the call could not take this event";

/// What a batch has left of the interactions of its calls.
#[derive(Default)]
pub(super) struct Touched {
    /// The interactions with all their legs, and the position of the last webhook that concerns each.
    pub(super) interactions: BTreeMap<InteractionId, (InteractionLegs, usize)>,
    /// Interactions to which no leg belongs any longer, each with the one that its legs are now a part of.
    pub(super) left: BTreeMap<InteractionId, InteractionId>,
}

/// Applies the webhooks of all calls of a batch.
pub(super) async fn apply_calls(
    ctx: &mut CallContext<'_>,
    groups: Vec<CallGroup>,
    correlated: Correlated,
    batch: &mut Batch<'_>,
) -> Result<(NextStep, Touched), StoreError> {
    let causes: BTreeMap<DialpadCallId, (usize, CallEvent)> =
        groups.iter().filter_map(|group| Some((group.call, group.last_webhook()?))).collect();
    let (related, alone): (Vec<CallGroup>, Vec<CallGroup>) =
        groups.into_iter().partition(|group| correlated.refs.contains_key(&group.call));
    let mut next = apply_alone(ctx, alone, batch).await;
    let mut touched = Touched::default();
    for record in batch.records().filter(|record| !correlated.refs.contains_key(&record.call.dialpad_call_id))
    {
        let call = &record.call;
        let Some((position, _)) = causes.get(&call.dialpad_call_id) else { continue };
        let legs = InteractionLegs::from([(call.dialpad_call_id, call.clone())]);
        touched.interactions.insert(call.interaction_id, (legs, *position));
    }

    let Correlated { mut interactions, refs, links, smaller, left } = correlated;
    let found = Found { refs: &refs, links: &links, smaller: &smaller };
    let cause = related.iter().filter_map(CallGroup::first_webhook).min_by_key(|(position, _)| *position);
    if let Some(cause) = cause {
        match apply_related(ctx, &mut interactions, &found, &related, cause, batch).await {
            Ok(of_related) => {
                related.iter().for_each(|group| finish(ctx, group, batch));
                touched.interactions.extend(of_related);
                touched.left = left;
            }
            Err(died) => {
                let legs = interactions.into_values().flatten().collect();
                next = requeue(ctx, &died, &legs, &related, batch);
            }
        }
    }
    relink(ctx, &causes, &mut touched, batch).await?;
    Ok((next, touched))
}

/// What was found out about the calls of a batch.
struct Found<'b> {
    refs: &'b HashMap<DialpadCallId, InteractionRef>,
    links: &'b HashMap<DialpadCallId, Links>,
    smaller: &'b BTreeSet<InteractionId>,
}

/// Applies the webhooks of calls that belong to others, one interaction after the other. Returns the interactions that
/// they have touched.
async fn apply_related(
    ctx: &mut CallContext<'_>,
    interactions: &mut BTreeMap<InteractionId, InteractionLegs>,
    found: &Found<'_>,
    related: &[CallGroup],
    cause: (usize, &CallEvent),
    batch: &mut Batch<'_>,
) -> Result<BTreeMap<InteractionId, (InteractionLegs, usize)>, ActorDied> {
    let mut touched = BTreeMap::new();
    for (interaction, legs) in interactions {
        let is_mine =
            |group: &&CallGroup| found.refs.get(&group.call).is_some_and(|it| it.interaction == *interaction);
        let groups: Vec<&CallGroup> = related.iter().filter(is_mine).collect();
        let is_smaller = found.smaller.contains(interaction);
        let links = found.links;
        let decisions = Decisions { interaction: *interaction, groups: &groups, links, is_smaller, cause };
        if apply_interaction(ctx, &decisions, legs, batch).await? {
            let last = groups.iter().filter_map(|group| group.positions.last()).max();
            let position = last.copied().unwrap_or(cause.0);
            touched.insert(*interaction, (legs.clone(), position));
        }
    }
    Ok(touched)
}

/// Looks at the legs again that wait for a leg of this batch: those that were sent on, or merged, and whose webhooks came
/// before its own.
async fn relink(
    ctx: &mut CallContext<'_>,
    causes: &BTreeMap<DialpadCallId, (usize, CallEvent)>,
    touched: &mut Touched,
    batch: &mut Batch<'_>,
) -> Result<(), StoreError> {
    let windows = batch.records().filter_map(|record| waiters_of(&record.call.facts));
    let windows: Vec<Window> = windows.filter(|window| ctx.recent_legs.may_wait_in(window)).collect();
    batch.records().for_each(|record| ctx.recent_legs.add_wait(&record.call.facts));
    if windows.is_empty() {
        return Ok(());
    }
    let waiting = ctx.ledger.waiting_in(ctx.app_id, &windows).await?;
    if waiting.is_empty() {
        return Ok(());
    }
    let changed: Vec<StoredCall> = batch.records().map(|record| record.call.clone()).collect();

    let is_waited_for = |call: &&StoredCall| {
        let mine = waiters_of(&call.facts).map(|window| window.target);
        waiting.iter().filter_map(|other| waits_for(&other.facts)).any(|(target, _)| mine == Some(target))
    };
    let sources: Vec<&StoredCall> = changed.iter().filter(is_waited_for).collect();
    let cause = sources.iter().filter_map(|call| causes.get(&call.dialpad_call_id)).max_by_key(|it| it.0);
    let Some((position, event)) = cause else { return Ok(()) };

    let mut legs = InteractionLegs::new();
    let mut unloaded = BTreeSet::new();
    for call in waiting.iter().chain(sources) {
        let of_batch = batch.record(call.dialpad_call_id).map(|record| record.call.interaction_id);
        let interaction = of_batch.unwrap_or(call.interaction_id);
        match touched.interactions.get(&interaction) {
            Some((known, _)) => legs.extend(known.iter().map(|(call, leg)| (*call, leg.clone()))),
            None => drop(unloaded.insert(interaction)),
        }
    }
    load_interactions(ctx, unloaded, &mut legs).await?;
    // What an interaction of the store was before this batch is replaced by what the batch has made of it.
    for leg in legs.values_mut() {
        if let Some(record) = batch.record(leg.dialpad_call_id) {
            leg.clone_from(&record.call);
        }
    }
    let foreseen = legs.clone();
    let Correlated { interactions, links, left, smaller, .. } = regroup(ctx, legs, foreseen).await?;
    for (interaction, mut legs) in interactions {
        let (is_smaller, cause) = (smaller.contains(&interaction), (*position, event));
        let decisions = Decisions { interaction, groups: &[], links: &links, is_smaller, cause };
        let has_changed = apply_interaction(ctx, &decisions, &mut legs, batch).await.map_err(|died| {
            record_crash(ctx, died.call, batch.now);
            StoreError::Unavailable(format!("the actor of call {} died", died.call))
        })?;
        if has_changed {
            for (known, _) in touched.interactions.values_mut() {
                known.retain(|call, _| !legs.contains_key(call));
            }
            touched.interactions.insert(interaction, (legs, *position));
        }
    }
    touched.interactions.retain(|_, (legs, _)| !legs.is_empty());
    touched.left.extend(left);
    let remaining = &touched.interactions;
    touched.left.retain(|left, _| !remaining.contains_key(left));
    Ok(())
}

/// Applies the webhooks of calls that stand alone, concurrently.
async fn apply_alone(ctx: &mut CallContext<'_>, groups: Vec<CallGroup>, batch: &mut Batch<'_>) -> NextStep {
    let now = batch.now;
    let roster = &*ctx.roster;
    let decisions = groups.into_iter().map(|mut group| async {
        let commands = std::mem::take(&mut group.events).into_iter().map(Into::into).collect();
        let outcome = match (roster.get(group.call), roster.interaction_ref(group.call)) {
            (Some(actor), Some(interaction_ref)) => {
                let interaction_id = interaction_ref.interaction;
                actor.send(Apply { commands, now, interaction_id, links: None, continues: false }).await.ok()
            }
            _ => None,
        };
        (group, outcome)
    });
    let decided = join_all(decisions).await;
    let mut next = NextStep::Again;
    for (group, outcome) in decided {
        if let Some(outcome) = outcome {
            ctx.touch(group.call, &outcome, now);
            batch.add_outcome(group.call, &group.positions, outcome);
            finish(ctx, &group, batch);
            continue;
        }
        // A single webhook has used up an attempt. Several come again one at a time, to find the one that causes it.
        match group.positions[..] {
            [position] => batch.record_failed_attempt(position, ACTOR_DIED),
            _ => drop(ctx.quarantined.insert(group.call)),
        }
        next = record_crash(ctx, group.call, now);
    }
    next
}

/// Marks the webhooks of a group as processed.
fn finish(ctx: &mut CallContext<'_>, group: &CallGroup, batch: &mut Batch<'_>) {
    batch.mark_processed(&group.positions);
    if group.deferred {
        ctx.inbox.lock().invalidate();
    } else {
        ctx.quarantined.remove(&group.call);
    }
}

/// Leaves an interaction as it was, because one of its actors died: its webhooks come again, without the one that
/// caused it once that has used up its attempts.
fn requeue(
    ctx: &mut CallContext<'_>,
    died: &ActorDied,
    legs: &InteractionLegs,
    groups: &[CallGroup],
    batch: &mut Batch<'_>,
) -> NextStep {
    let members: BTreeSet<DialpadCallId> = legs.keys().copied().chain([died.call]).collect();
    let positions: Vec<usize> = groups.iter().flat_map(|group| group.positions.iter().copied()).collect();
    batch.discard(&members, &positions);
    // What they have staged, and the interactions that the roster has for them, will not become durable.
    members.iter().for_each(|call| ctx.roster.remove(*call));
    batch.record_failed_attempt(died.position, ACTOR_DIED);
    record_crash(ctx, died.call, batch.now)
}

/// Records that a call actor died. It is rebuilt from the store.
fn record_crash(ctx: &mut CallContext<'_>, call: DialpadCallId, now: DateTime<Utc>) -> NextStep {
    counter!("cti_call_actor_crashes_total").increment(1);
    warn!(app.id = %ctx.app_id, call.id = %call, "a call actor died and is rebuilt from the store");
    ctx.stats.record_error(format_args!("the actor of call {call} died"), now);
    ctx.inbox.lock().invalidate();
    match ctx.roster.record_crash(call, now) {
        Restart::Allowed => NextStep::Again,
        Restart::After(pause) => {
            error!(app.id = %ctx.app_id, pause_s = pause.num_seconds(), "too many call actors died; pausing");
            NextStep::After(pause.to_std().unwrap_or(STORE_BACKOFF))
        }
    }
}
