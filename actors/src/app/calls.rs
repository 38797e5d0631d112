//! The calls of a batch: each decides on its webhooks, once `kinship` has found out which of them belong together.
//!
//! A call that stands alone takes all its webhooks at once, side by side with the others. Legs that belong together
//! take theirs one by one in the order of the journal, and after each of them hear what it proves of the others: so
//! what is told does not depend on where a batch ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use actix::{Actor, Addr};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use metrics::counter;
use tracing::{error, warn};

use super::{
    batch::Batch,
    correlate::Correlated,
    pipeline::{NextStep, Pipeline, STORE_RETRY},
    roster::{InteractionRef, Restart},
};
use crate::{
    app::call_actor::{Apply, CallActor, Settle},
    engine::MissingLeg,
    error::StoreError,
    id::{DialpadCallId, InteractionId},
    model::{
        call::{CallCommand, CallEvent, Status, StoredCall},
        interaction::proofs,
    },
};

/// The webhooks of one call within a batch.
pub(super) struct Group {
    pub(super) call: DialpadCallId,
    /// Their places in the batch.
    pub(super) places: Vec<usize>,
    pub(super) events: Vec<CallEvent>,
    /// Whether some were left for the next batch.
    pub(super) deferred: bool,
}

impl Group {
    /// The legs that its webhooks name.
    pub(super) fn names(&self) -> impl Iterator<Item = i64> {
        self.events.iter().flat_map(|event| {
            let known = &event.knowledge;
            [known.master_call_id, known.entry_point_call_id, known.operator_call_id].into_iter().flatten()
        })
    }
}

/// The legs of one interaction as the batch has left them so far.
pub(super) type InteractionLegs = BTreeMap<DialpadCallId, StoredCall>;

/// A call actor died over the webhook at this place.
struct Died {
    call: DialpadCallId,
    place: usize,
}

impl Pipeline {
    /// Lets all calls of a batch decide. Says how to go on after it.
    pub(super) async fn apply_calls(
        &mut self,
        groups: Vec<Group>,
        batch: &mut Batch<'_>,
    ) -> Result<NextStep, StoreError> {
        let gathered = self.gather(&groups, batch.now).await?;
        let (alone, related): (Vec<Group>, Vec<Group>) = groups
            .into_iter()
            .partition(|group| self.roster.interaction_ref(group.call).is_some_and(|it| it.alone));
        let mut pace = self.apply_alone(alone, batch).await;
        let mut by_interaction: BTreeMap<InteractionId, Vec<Group>> = BTreeMap::new();
        for group in related {
            if let Some(interaction_ref) = self.roster.interaction_ref(group.call) {
                by_interaction.entry(interaction_ref.interaction).or_default().push(group);
            }
        }
        let mut families = self.families(by_interaction.keys().copied(), gathered).await?;
        for (interaction, groups) in by_interaction {
            let family = families.entry(interaction).or_default();
            match self.apply_family(interaction, family, &groups, batch).await {
                Ok(()) => groups.iter().for_each(|group| self.finish(group, batch)),
                Err(died) => pace = self.requeue(&died, family, &groups, batch),
            }
        }
        Ok(pace)
    }

    pub(super) fn start(
        &mut self,
        call: StoredCall,
        interaction_ref: InteractionRef,
        now: DateTime<Utc>,
    ) -> Addr<CallActor> {
        let id = call.dialpad_call_id;
        let actor = CallActor::new(self.app_id, call).start();
        self.roster.insert(id, actor.clone(), interaction_ref, now);
        actor
    }

    /// The calls that stand alone, side by side.
    async fn apply_alone(&mut self, groups: Vec<Group>, batch: &mut Batch<'_>) -> NextStep {
        let now = batch.now;
        let decisions = groups.into_iter().map(|mut group| async {
            let commands = std::mem::take(&mut group.events).into_iter().map(Into::into).collect();
            let outcome = match (self.roster.get(group.call), self.roster.interaction_ref(group.call)) {
                (Some(actor), Some(interaction_ref)) => {
                    let apply =
                        Apply { commands, now, interaction_id: interaction_ref.interaction, goes_on: false };
                    actor.send(apply).await.ok()
                }
                _ => None,
            };
            (group, outcome)
        });
        let decided = join_all(decisions).await;
        let mut pace = NextStep::Again;
        for (group, outcome) in decided {
            match outcome {
                Some(outcome) => {
                    self.note(group.call, outcome.record.as_ref().map(|record| record.snapshot.status), now);
                    batch.take(group.call, &group.places, outcome);
                    self.finish(&group, batch);
                }
                None => {
                    // If it was one webhook, that one has used up an attempt; if there were several, they come again
                    // one at a time, to find the one that does it.
                    match group.places[..] {
                        [place] => batch.record_failed_attempt(place, "the call could not take this event"),
                        _ => drop(self.quarantined.insert(group.call)),
                    }
                    pace = self.note_crash(group.call, now);
                }
            }
        }
        pace
    }

    /// The legs of these interactions as the store knows them, and those that nobody has seen before.
    async fn families(
        &self,
        interactions: impl Iterator<Item = InteractionId>,
        gathered: Correlated,
    ) -> Result<HashMap<InteractionId, InteractionLegs>, StoreError> {
        let ids: Vec<InteractionId> = interactions.chain(gathered.merged.keys().copied()).collect();
        let mut families: HashMap<InteractionId, InteractionLegs> = HashMap::new();
        if ids.is_empty() {
            return Ok(families);
        }
        let stored = self.ports.ledger.legs(self.app_id, &ids).await?;
        for leg in gathered.newcomers.into_values().chain(stored) {
            let within = gathered.merged.get(&leg.interaction_id).copied().unwrap_or(leg.interaction_id);
            families.entry(within).or_default().insert(leg.dialpad_call_id, leg);
        }
        Ok(families)
    }

    /// The legs of one interaction, webhook by webhook.
    async fn apply_family(
        &mut self,
        interaction: InteractionId,
        family: &mut InteractionLegs,
        groups: &[Group],
        batch: &mut Batch<'_>,
    ) -> Result<(), Died> {
        let mut webhooks: Vec<(usize, &CallEvent)> =
            groups.iter().flat_map(|group| group.places.iter().copied().zip(&group.events)).collect();
        webhooks.sort_by_key(|(place, _)| *place);
        let Some((first, _)) = webhooks.first().copied() else { return Ok(()) };
        let strays: Vec<DialpadCallId> = family
            .values()
            .filter(|leg| {
                leg.interaction_id != interaction && groups.iter().all(|it| it.call != leg.dialpad_call_id)
            })
            .map(|leg| leg.dialpad_call_id)
            .collect();
        for call in strays {
            self.decide(call, None, first, interaction, family, batch).await?;
        }
        for (place, event) in webhooks {
            self.decide(event.dialpad_call_id, Some(event.clone().into()), place, interaction, family, batch)
                .await?;
            let legs: Vec<_> = family.iter().map(|(call, leg)| (*call, &leg.facts)).collect();
            let change: Vec<_> = legs
                .iter()
                .zip(proofs(&legs))
                .filter(|((_, facts), proof)| facts.proof() != *proof)
                .map(|((call, _), proof)| (*call, proof))
                .collect();
            for (call, proof) in change {
                let proven = CallCommand::Proven { proof, at: event.at, origin: event.origin };
                self.decide(call, Some(proven), place, interaction, family, batch).await?;
            }
        }
        self.report_missing_legs(family);
        Ok(())
    }

    /// Says which operators' legs are named and were never heard from: Dialpad does not always tell of them, and only
    /// they know who answered.
    fn report_missing_legs(&self, family: &InteractionLegs) {
        let operators = family.values().filter_map(|leg| leg.facts.leg_ids()[2]).map(DialpadCallId);
        for call in operators.filter(|operator| !family.contains_key(operator)) {
            // Nobody has to listen, and whoever does not keep up hears of it with the next webhook.
            let _ = self.missing_legs.try_send(MissingLeg { app_id: self.app_id, call });
        }
    }

    /// Lets one leg decide on one webhook (or on nothing but where it belongs), on top of what it decided before.
    async fn decide(
        &mut self,
        call: DialpadCallId,
        command: Option<CallCommand>,
        place: usize,
        interaction_id: InteractionId,
        family: &mut InteractionLegs,
        batch: &mut Batch<'_>,
    ) -> Result<(), Died> {
        let died = Died { call, place };
        let actor = match (self.roster.get(call), family.get(&call)) {
            (Some(actor), _) => actor.clone(),
            (None, Some(leg)) => {
                let names = leg.facts.leg_ids().into_iter().flatten().collect();
                let interaction_ref = InteractionRef { interaction: interaction_id, names, alone: false };
                self.start(leg.clone(), interaction_ref, batch.now)
            }
            (None, None) => return Err(died),
        };
        let goes_on = batch.has_draft(call);
        let commands = command.into_iter().collect();
        let apply = Apply { commands, now: batch.now, interaction_id, goes_on };
        let outcome = actor.send(apply).await.map_err(|_| died)?;
        self.roster.move_to(call, interaction_id);
        self.note(call, outcome.record.as_ref().map(|record| record.snapshot.status), batch.now);
        if let Some(record) = &outcome.record {
            family.insert(call, record.call.clone());
        }
        batch.take(call, &[place], outcome);
        Ok(())
    }

    /// Notes that a call was heard of.
    fn note(&mut self, call: DialpadCallId, status: Option<Status>, now: DateTime<Utc>) {
        self.roster.touch(call, now, status == Some(Status::Ended));
    }

    /// All webhooks of a group are dealt with.
    fn finish(&mut self, group: &Group, batch: &mut Batch<'_>) {
        batch.processed(&group.places);
        if group.deferred {
            self.inbox().invalidate();
        } else {
            self.quarantined.remove(&group.call);
        }
    }

    /// A leg died, and the whole interaction is left as it was: its webhooks come again, without the one that killed
    /// once that has used up its attempts.
    fn requeue(
        &mut self,
        died: &Died,
        family: &InteractionLegs,
        groups: &[Group],
        batch: &mut Batch<'_>,
    ) -> NextStep {
        let members: BTreeSet<DialpadCallId> = family.keys().copied().chain([died.call]).collect();
        let places: Vec<usize> = groups.iter().flat_map(|group| group.places.iter().copied()).collect();
        batch.forget(&members, &places);
        for call in &members {
            if let Some(actor) = self.roster.get(*call) {
                actor.do_send(Settle::Discard);
            }
            // Where it belongs may not have become durable.
            self.roster.remove(*call);
        }
        batch.record_failed_attempt(died.place, "the call could not take this event");
        self.note_crash(died.call, batch.now)
    }

    /// A call actor died and will be rebuilt from the store.
    fn note_crash(&mut self, call: DialpadCallId, now: DateTime<Utc>) -> NextStep {
        counter!("cti_call_actor_crashes_total").increment(1);
        warn!(app.id = %self.app_id, call.id = %call, "a call actor died and is rebuilt from the store");
        self.inbox().invalidate();
        match self.roster.crashed(call, now) {
            Restart::Allowed => NextStep::Again,
            Restart::After(pause) => {
                error!(app.id = %self.app_id, pause_s = pause.num_seconds(), "too many call actors died; pausing");
                NextStep::After(pause.to_std().unwrap_or(STORE_RETRY))
            }
        }
    }
}
