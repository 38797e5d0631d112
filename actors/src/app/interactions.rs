//! The legs of one interaction in a batch. They take their webhooks one by one in the order of the journal. A leg takes a
//! webhook together with what the others prove about it then; after that the others learn what it proves about them. So
//! what is emitted does not depend on where a batch ends, and is right at once where the proof came first.

use std::collections::HashMap;

use actix::Addr;

use super::{
    batch::Batch,
    call_actor::{Apply, CallActor},
    call_group::{CallGroup, InteractionLegs},
    context::CallContext,
    missing_leg::MissingLeg,
    roster::InteractionRef,
};
use crate::{
    id::{DialpadCallId, InteractionId},
    model::{
        call::{CallCommand, CallEvent, CallFacts, Links, StoredCall},
        interaction::{new_proofs, with_proof},
    },
};

/// The actor of a call died while it applied the webhook at this position.
#[derive(Clone, Copy, Debug)]
pub(super) struct ActorDied {
    pub(super) call: DialpadCallId,
    pub(super) position: usize,
}

/// What the legs of an interaction are to decide on.
pub(super) struct Decisions<'b> {
    pub(super) interaction: InteractionId,
    /// The webhooks of its legs.
    pub(super) groups: &'b [&'b CallGroup],
    /// The links of legs that changed.
    pub(super) links: &'b HashMap<DialpadCallId, Links>,
    /// Whether a leg has left it.
    pub(super) is_smaller: bool,
    /// The webhook that causes legs without webhooks to move, and its position.
    pub(super) cause: (usize, &'b CallEvent),
}

/// Applies the webhooks of one interaction. Returns whether anything about it can have changed. On an error, some legs
/// have drafts that must be discarded.
pub(super) async fn apply_interaction(
    ctx: &mut CallContext<'_>,
    decisions: &Decisions<'_>,
    legs: &mut InteractionLegs,
    batch: &mut Batch<'_>,
) -> Result<bool, ActorDied> {
    let Decisions { interaction, groups, links, is_smaller, cause } = *decisions;
    let mut webhooks: Vec<(usize, &CallEvent)> =
        groups.iter().flat_map(|group| group.positions.iter().copied().zip(&group.events)).collect();
    webhooks.sort_by_key(|(position, _)| *position);
    let (first, cause) = webhooks.first().copied().unwrap_or(cause);

    let moves = legs_to_move(decisions, legs);
    for call in &moves {
        let step = Step { call: *call, command: None, position: first, interaction, links };
        decide(ctx, step, legs, batch).await?;
    }
    if is_smaller || !moves.is_empty() {
        apply_proofs(ctx, decisions, first, cause, legs, batch).await?;
    }
    let has_decided = is_smaller || !moves.is_empty() || !webhooks.is_empty();
    for (position, event) in webhooks {
        let command = Some(with_proof(event, &facts_of(legs)));
        let step = Step { call: event.dialpad_call_id, command, position, interaction, links };
        decide(ctx, step, legs, batch).await?;
        apply_proofs(ctx, decisions, position, event, legs, batch).await?;
    }
    if has_decided {
        report_missing_legs(ctx, legs);
    }
    Ok(has_decided)
}

/// Lets every leg decide on what the others prove since this webhook.
async fn apply_proofs(
    ctx: &mut CallContext<'_>,
    decisions: &Decisions<'_>,
    position: usize,
    cause: &CallEvent,
    legs: &mut InteractionLegs,
    batch: &mut Batch<'_>,
) -> Result<(), ActorDied> {
    let Decisions { interaction, links, .. } = *decisions;
    for (call, proven) in new_proofs(cause, &facts_of(legs)) {
        let step = Step { call, command: Some(proven), position, interaction, links };
        decide(ctx, step, legs, batch).await?;
    }
    Ok(())
}

/// Returns the legs without webhooks in this batch that move to the interaction, or that are linked otherwise.
fn legs_to_move(decisions: &Decisions<'_>, legs: &InteractionLegs) -> Vec<DialpadCallId> {
    let Decisions { interaction, groups, links, .. } = decisions;
    let has_webhooks = |call: DialpadCallId| groups.iter().any(|group| group.call == call);
    let is_changed = |leg: &&StoredCall| {
        let links = links.get(&leg.dialpad_call_id);
        leg.interaction_id != *interaction || links.is_some_and(|links| *links != leg.facts.links())
    };
    let moves = legs.values().filter(is_changed).map(|leg| leg.dialpad_call_id);
    moves.filter(|call| !has_webhooks(*call)).collect()
}

/// Returns what is known of each leg.
fn facts_of(legs: &InteractionLegs) -> Vec<(DialpadCallId, &CallFacts)> {
    legs.iter().map(|(call, leg)| (*call, &leg.facts)).collect()
}

/// Reports the operators' legs that are named and were never received.
fn report_missing_legs(ctx: &CallContext<'_>, legs: &InteractionLegs) {
    let operators = legs.values().filter_map(|leg| leg.facts.leg_ids()[2]).map(DialpadCallId);
    for call in operators.filter(|operator| !legs.contains_key(operator)) {
        ctx.missing_legs.report(MissingLeg { app_id: ctx.app_id, call });
    }
}

/// One decision of one leg.
struct Step<'b> {
    call: DialpadCallId,
    /// `None`: only on its interaction and its links.
    command: Option<CallCommand>,
    position: usize,
    interaction: InteractionId,
    links: &'b HashMap<DialpadCallId, Links>,
}

/// Lets one leg decide, on top of what it decided before.
async fn decide(
    ctx: &mut CallContext<'_>,
    step: Step<'_>,
    legs: &mut InteractionLegs,
    batch: &mut Batch<'_>,
) -> Result<(), ActorDied> {
    let Step { call, command, position, interaction, links } = step;
    let died = ActorDied { call, position };
    let actor = actor_of(ctx, call, interaction, legs, batch).ok_or(died)?;
    let apply = Apply {
        commands: command.into_iter().collect(),
        now: batch.now,
        interaction_id: interaction,
        links: links.get(&call).copied(),
        continues: batch.has_draft(call),
    };
    let outcome = actor.send(apply).await.map_err(|_| died)?;
    ctx.touch(call, &outcome, batch.now);
    if let Some(record) = &outcome.record {
        legs.insert(call, record.call.clone());
    }
    batch.add_outcome(call, &[position], outcome);
    Ok(())
}

/// Returns the actor of a leg, and starts it if it is not running.
fn actor_of(
    ctx: &mut CallContext<'_>,
    call: DialpadCallId,
    interaction: InteractionId,
    legs: &InteractionLegs,
    batch: &Batch<'_>,
) -> Option<Addr<CallActor>> {
    if let Some(actor) = ctx.roster.get(call) {
        return Some(actor.clone());
    }
    let leg = legs.get(&call)?;
    let names = leg.facts.names().collect();
    let interaction_ref = InteractionRef { interaction, names, alone: false };
    Some(ctx.start_actor(leg.clone(), interaction_ref, batch.now))
}
