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
    call_actor::{Apply, Settle},
    call_group::{CallGroup, Correlated, InteractionLegs},
    context::CallContext,
    interactions::{ActorDied, apply_interaction},
    next_step::{NextStep, STORE_BACKOFF},
    roster::Restart,
};
use crate::{
    error::StoreError,
    id::{DialpadCallId, InteractionId},
};

/// Why a webhook that crashes its call's actor fails.
const ACTOR_DIED: &str = "the call could not take this event";

/// Applies the webhooks of all calls of a batch.
pub(super) async fn apply_calls(
    ctx: &mut CallContext<'_>,
    groups: Vec<CallGroup>,
    correlated: Correlated,
    batch: &mut Batch<'_>,
) -> Result<NextStep, StoreError> {
    let (alone, related): (Vec<CallGroup>, Vec<CallGroup>) = groups
        .into_iter()
        .partition(|group| ctx.roster.interaction_ref(group.call).is_some_and(|it| it.alone));
    let mut next = apply_alone(ctx, alone, batch).await;

    let mut by_interaction: BTreeMap<InteractionId, Vec<CallGroup>> = BTreeMap::new();
    for group in related {
        if let Some(interaction_ref) = ctx.roster.interaction_ref(group.call) {
            by_interaction.entry(interaction_ref.interaction).or_default().push(group);
        }
    }
    let mut legs_by_interaction = load_legs(ctx, by_interaction.keys().copied(), correlated).await?;
    for (interaction, groups) in by_interaction {
        let legs = legs_by_interaction.entry(interaction).or_default();
        match apply_interaction(ctx, interaction, legs, &groups, batch).await {
            Ok(()) => groups.iter().for_each(|group| finish(ctx, group, batch)),
            Err(died) => next = requeue(ctx, &died, legs, &groups, batch),
        }
    }
    Ok(next)
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
                actor.send(Apply { commands, now, interaction_id, continues: false }).await.ok()
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

/// Loads the legs of these interactions, and adds those that are not in the store.
async fn load_legs(
    ctx: &CallContext<'_>,
    interactions: impl Iterator<Item = InteractionId>,
    correlated: Correlated,
) -> Result<HashMap<InteractionId, InteractionLegs>, StoreError> {
    let ids: Vec<InteractionId> = interactions.chain(correlated.merged.keys().copied()).collect();
    let mut legs_by_interaction: HashMap<InteractionId, InteractionLegs> = HashMap::new();
    if ids.is_empty() {
        return Ok(legs_by_interaction);
    }
    let stored = ctx.ledger.legs(ctx.app_id, &ids).await?;
    for leg in correlated.newcomers.into_values().chain(stored) {
        let within = correlated.merged.get(&leg.interaction_id).copied().unwrap_or(leg.interaction_id);
        legs_by_interaction.entry(within).or_default().insert(leg.dialpad_call_id, leg);
    }
    Ok(legs_by_interaction)
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
    for call in &members {
        if let Some(actor) = ctx.roster.get(*call) {
            actor.do_send(Settle::Discard);
        }
        // The interaction that the roster has for it may not have become durable.
        ctx.roster.remove(*call);
    }
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
