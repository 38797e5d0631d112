//! The legs of one interaction in a batch. They take their webhooks one by one in the order of the journal. A leg takes a
//! webhook together with what the others prove about it then; after that the others learn what it proves about them. So
//! what is emitted does not depend on where a batch ends, and is right at once where the proof came first.

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
        call::{CallCommand, CallEvent},
        interaction::proofs,
    },
};

/// The actor of a call died while it applied the webhook at this position.
#[derive(Clone, Copy, Debug)]
pub(super) struct ActorDied {
    pub(super) call: DialpadCallId,
    pub(super) position: usize,
}

/// Applies the webhooks of one interaction. On an error, some legs have drafts that must be discarded.
pub(super) async fn apply_interaction(
    ctx: &mut CallContext<'_>,
    interaction: InteractionId,
    legs: &mut InteractionLegs,
    groups: &[CallGroup],
    batch: &mut Batch<'_>,
) -> Result<(), ActorDied> {
    let mut webhooks: Vec<(usize, &CallEvent)> =
        groups.iter().flat_map(|group| group.positions.iter().copied().zip(&group.events)).collect();
    webhooks.sort_by_key(|(position, _)| *position);
    let Some((first, _)) = webhooks.first().copied() else { return Ok(()) };

    for call in legs_to_move(interaction, legs, groups) {
        decide(ctx, call, None, first, interaction, legs, batch).await?;
    }
    for (position, event) in webhooks {
        let webhook = with_proof(event, legs);
        decide(ctx, event.dialpad_call_id, Some(webhook), position, interaction, legs, batch).await?;
        for (call, proven) in new_proofs(event, legs) {
            decide(ctx, call, Some(proven), position, interaction, legs, batch).await?;
        }
    }
    report_missing_legs(ctx, legs);
    Ok(())
}

/// Returns the legs without webhooks in this batch that move to the interaction.
fn legs_to_move(
    interaction: InteractionId,
    legs: &InteractionLegs,
    groups: &[CallGroup],
) -> Vec<DialpadCallId> {
    let has_webhooks = |call: DialpadCallId| groups.iter().any(|group| group.call == call);
    let moves =
        legs.values().filter(|leg| leg.interaction_id != interaction && !has_webhooks(leg.dialpad_call_id));
    moves.map(|leg| leg.dialpad_call_id).collect()
}

/// Returns a webhook with what the other legs prove about its leg once it is known.
fn with_proof(event: &CallEvent, legs: &InteractionLegs) -> CallCommand {
    let call = event.dialpad_call_id;
    let mut facts = legs.get(&call).map(|leg| leg.facts.clone()).unwrap_or_default();
    facts.absorb(event);
    let others = legs.iter().filter(|(other, _)| **other != call).map(|(other, leg)| (*other, &leg.facts));
    let all: Vec<_> = std::iter::once((call, &facts)).chain(others).collect();
    CallCommand::Webhook { event: event.clone(), proof: proofs(&all).into_iter().next() }
}

/// Returns the legs about which the others prove something else since this webhook, each with the command to say so.
fn new_proofs(cause: &CallEvent, legs: &InteractionLegs) -> Vec<(DialpadCallId, CallCommand)> {
    let facts: Vec<_> = legs.iter().map(|(call, leg)| (*call, &leg.facts)).collect();
    let mut proven = Vec::new();
    for ((call, facts), proof) in facts.iter().zip(proofs(&facts)) {
        if facts.proof() != proof {
            proven.push((*call, CallCommand::Proven { proof, at: cause.at, origin: cause.origin }));
        }
    }
    proven
}

/// Reports the operators' legs that are named and were never received.
fn report_missing_legs(ctx: &CallContext<'_>, legs: &InteractionLegs) {
    let operators = legs.values().filter_map(|leg| leg.facts.leg_ids()[2]).map(DialpadCallId);
    for call in operators.filter(|operator| !legs.contains_key(operator)) {
        ctx.missing_legs.report(MissingLeg { app_id: ctx.app_id, call });
    }
}

/// Lets one leg decide on one command, or only on its interaction, on top of what it decided before.
async fn decide(
    ctx: &mut CallContext<'_>,
    call: DialpadCallId,
    command: Option<CallCommand>,
    position: usize,
    interaction_id: InteractionId,
    legs: &mut InteractionLegs,
    batch: &mut Batch<'_>,
) -> Result<(), ActorDied> {
    let died = ActorDied { call, position };
    let actor = actor_of(ctx, call, interaction_id, legs, batch).ok_or(died)?;
    let apply = Apply {
        commands: command.into_iter().collect(),
        now: batch.now,
        interaction_id,
        continues: batch.has_draft(call),
    };
    let outcome = actor.send(apply).await.map_err(|_| died)?;
    ctx.roster.move_to(call, interaction_id);
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
    let names = leg.facts.leg_ids().into_iter().flatten().collect();
    let interaction_ref = InteractionRef { interaction, names, alone: false };
    Some(ctx.start_actor(leg.clone(), interaction_ref, batch.now))
}
