//! The calls of a batch: their actors are started, the legs of one human call are found, and each decides on its
//! webhooks.
//!
//! A call that stands alone takes all its webhooks at once, side by side with the others. Legs that belong together
//! take theirs one by one in the order of the journal, and after each of them hear what it proves of the others: so
//! what is told does not depend on where a batch ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use actix::{Actor, Addr};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use metrics::counter;
use tracing::{error, warn};

use super::{
    batch::Batch,
    pipeline::{Pace, Pipeline, STORE_RETRY},
    roster::{Bonds, Restart},
};
use crate::{
    call::{Apply, CallActor, CallEvent, Knowledge, Settle, Signal, Status, StoredCall},
    engine::Unheard,
    error::StoreError,
    id::{DialpadCallId, InteractionId},
    interaction::{Kin, join, proofs, sent_on_from},
};

/// A call that is sent on begins to ring within this time of the last word about the leg that it came from.
const SENT_ON_WITHIN: TimeDelta = TimeDelta::minutes(10);

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
    fn names(&self) -> impl Iterator<Item = i64> {
        self.events.iter().flat_map(|event| {
            let known = &event.knowledge;
            [known.master_call_id, known.entry_point_call_id, known.operator_call_id].into_iter().flatten()
        })
    }
}

/// The legs of one interaction as the batch has left them so far.
type Family = BTreeMap<DialpadCallId, StoredCall>;

/// What was found out about the calls of a batch before they decide.
#[derive(Default)]
struct Gathered {
    /// Calls that nobody has seen before.
    newcomers: Family,
    /// Interactions that turned out to be part of an older one.
    merged: HashMap<InteractionId, InteractionId>,
}

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
    ) -> Result<Pace, StoreError> {
        let gathered = self.gather(&groups, batch.now).await?;
        let (alone, related): (Vec<Group>, Vec<Group>) =
            groups.into_iter().partition(|group| self.roster.bonds(group.call).is_some_and(|it| it.alone));
        let mut pace = self.apply_alone(alone, batch).await;
        let mut by_interaction: BTreeMap<InteractionId, Vec<Group>> = BTreeMap::new();
        for group in related {
            if let Some(bonds) = self.roster.bonds(group.call) {
                by_interaction.entry(bonds.interaction).or_default().push(group);
            }
        }
        let mut families = self.families(by_interaction.keys().copied(), gathered).await?;
        for (interaction, groups) in by_interaction {
            let family = families.entry(interaction).or_default();
            match self.apply_family(interaction, family, &groups, batch).await {
                Ok(()) => groups.iter().for_each(|group| self.finish(group, batch)),
                Err(died) => pace = self.give_back(&died, family, &groups, batch),
            }
        }
        Ok(pace)
    }

    /// Finds out to which interactions the calls belong, and starts the actors that are not awake.
    async fn gather(&mut self, groups: &[Group], now: DateTime<Utc>) -> Result<Gathered, StoreError> {
        let is_news = |group: &&Group| match self.roster.bonds(group.call) {
            Some(bonds) => !group.names().all(|name| bonds.names.contains(&name)),
            None => true,
        };
        let news: Vec<&Group> = groups.iter().filter(is_news).collect();
        if news.is_empty() {
            return Ok(Gathered::default());
        }
        let named = news.iter().flat_map(|group| group.names().map(DialpadCallId).chain([group.call]));
        let named: Vec<DialpadCallId> = named.collect::<BTreeSet<_>>().into_iter().collect();
        let relatives = self.ports.ledger.relatives(self.app_id, &named).await?;
        let mut known: Family = relatives.into_iter().map(|call| (call.dialpad_call_id, call)).collect();

        let mut gathered = Gathered::default();
        // As they will be after the batch: only what they name of each other is taken from here.
        let mut foreseen = Vec::with_capacity(news.len());
        for group in &news {
            let mut call = known.get(&group.call).cloned().unwrap_or_else(|| {
                let mut unseen = StoredCall::unseen(group.call, now);
                if let Some(bonds) = self.roster.bonds(group.call) {
                    unseen.interaction_id = bonds.interaction;
                }
                gathered.newcomers.insert(group.call, unseen.clone());
                unseen
            });
            group.events.iter().for_each(|event| call.facts.absorb(event));
            foreseen.push(call);
        }
        let mut kin: Vec<Kin> = foreseen.iter().map(Kin::of).collect();
        for (kin, group) in kin.iter_mut().zip(&news) {
            kin.names.extend(group.names());
        }
        self.follow_transfers(&foreseen, &mut kin, &mut known, now).await?;
        kin.extend(
            known.values().filter(|call| news.iter().all(|it| it.call != call.dialpad_call_id)).map(Kin::of),
        );

        let bonds = bonds_of(&kin, &mut gathered.merged);
        for (call, bonds) in bonds {
            if self.roster.get(call).is_some() {
                self.roster.bind(call, bonds);
            } else if news.iter().any(|group| group.call == call)
                && let Some(stored) = known.remove(&call).or_else(|| gathered.newcomers.get(&call).cloned())
            {
                self.start(stored, bonds, now);
            }
        }
        Ok(gathered)
    }

    /// A leg to which a call was sent on does not name the leg that it came from: that one is looked for.
    async fn follow_transfers(
        &self,
        foreseen: &[StoredCall],
        kin: &mut [Kin],
        known: &mut Family,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let is_looked_for = |call: &&StoredCall| {
            call.interaction_id == call.id.into() && call.facts.transferred_from().is_some()
        };
        let senders: BTreeSet<i64> =
            foreseen.iter().filter(is_looked_for).filter_map(|call| call.facts.transferred_from()).collect();
        if senders.is_empty() {
            return Ok(());
        }
        let senders: Vec<i64> = senders.into_iter().collect();
        let since = now - SENT_ON_WITHIN;
        let stored = self.ports.ledger.recent_calls_of(self.app_id, &senders, since).await?;
        // A leg of this very batch is known as it will be after it.
        let is_foreseen =
            |call: &StoredCall| foreseen.iter().any(|it| it.dialpad_call_id == call.dialpad_call_id);
        let stored: Vec<&StoredCall> = stored.iter().filter(|call| !is_foreseen(call)).collect();
        for (leg, kin) in foreseen.iter().zip(kin).filter(|(leg, _)| is_looked_for(leg)) {
            let Some(origin) = sent_on_from(leg, stored.iter().copied().chain(foreseen)) else { continue };
            kin.names.push(origin.dialpad_call_id.0);
            if !is_foreseen(origin) {
                known.entry(origin.dialpad_call_id).or_insert_with(|| origin.clone());
            }
        }
        Ok(())
    }

    fn start(&mut self, call: StoredCall, bonds: Bonds, now: DateTime<Utc>) -> Addr<CallActor> {
        let id = call.dialpad_call_id;
        let actor = CallActor::new(self.app_id, call).start();
        self.roster.insert(id, actor.clone(), bonds, now);
        actor
    }

    /// The calls that stand alone, side by side.
    async fn apply_alone(&mut self, groups: Vec<Group>, batch: &mut Batch<'_>) -> Pace {
        let now = batch.now;
        let decisions = groups.into_iter().map(|mut group| async {
            let events = std::mem::take(&mut group.events);
            let outcome = match (self.roster.get(group.call), self.roster.bonds(group.call)) {
                (Some(actor), Some(bonds)) => {
                    let apply = Apply { events, now, interaction_id: bonds.interaction, goes_on: false };
                    actor.send(apply).await.ok()
                }
                _ => None,
            };
            (group, outcome)
        });
        let decided = join_all(decisions).await;
        let mut pace = Pace::Again;
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
                        [place] => batch.penalise(place, "the call could not take this event"),
                        _ => drop(self.cautious.insert(group.call)),
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
        gathered: Gathered,
    ) -> Result<HashMap<InteractionId, Family>, StoreError> {
        let ids: Vec<InteractionId> = interactions.chain(gathered.merged.keys().copied()).collect();
        let mut families: HashMap<InteractionId, Family> = HashMap::new();
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
        family: &mut Family,
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
            self.decide(event.dialpad_call_id, Some(event.clone()), place, interaction, family, batch)
                .await?;
            let legs: Vec<_> = family.iter().map(|(call, leg)| (*call, &leg.facts)).collect();
            let news: Vec<_> = legs
                .iter()
                .zip(proofs(&legs))
                .filter(|((_, facts), proof)| facts.proof() != *proof)
                .map(|((call, _), proof)| (*call, Signal::Proven(proof)))
                .collect();
            for (call, signal) in news {
                let knowledge = Knowledge::default();
                let proven = CallEvent { dialpad_call_id: call, signal, knowledge, ..event.clone() };
                self.decide(call, Some(proven), place, interaction, family, batch).await?;
            }
        }
        self.miss_operators(family);
        Ok(())
    }

    /// Says which operators' legs are named and were never heard from: Dialpad does not always tell of them, and only
    /// they know who answered.
    fn miss_operators(&self, family: &Family) {
        let operators = family.values().filter_map(|leg| leg.facts.leg_ids()[2]).map(DialpadCallId);
        for call in operators.filter(|operator| !family.contains_key(operator)) {
            // Nobody has to listen, and whoever does not keep up hears of it with the next webhook.
            let _ = self.unheard.try_send(Unheard { app_id: self.app_id, call });
        }
    }

    /// Lets one leg decide on one webhook (or on nothing but where it belongs), on top of what it decided before.
    async fn decide(
        &mut self,
        call: DialpadCallId,
        event: Option<CallEvent>,
        place: usize,
        interaction_id: InteractionId,
        family: &mut Family,
        batch: &mut Batch<'_>,
    ) -> Result<(), Died> {
        let died = Died { call, place };
        let actor = match (self.roster.get(call), family.get(&call)) {
            (Some(actor), _) => actor.clone(),
            (None, Some(leg)) => {
                let names = leg.facts.leg_ids().into_iter().flatten().collect();
                let bonds = Bonds { interaction: interaction_id, names, alone: false };
                self.start(leg.clone(), bonds, batch.now)
            }
            (None, None) => return Err(died),
        };
        let goes_on = batch.has_draft(call);
        let events = event.into_iter().collect();
        let apply = Apply { events, now: batch.now, interaction_id, goes_on };
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
            self.inbox().doubt();
        } else {
            self.cautious.remove(&group.call);
        }
    }

    /// A leg died, and the whole interaction is left as it was: its webhooks come again, without the one that killed
    /// once that has used up its attempts.
    fn give_back(&mut self, died: &Died, family: &Family, groups: &[Group], batch: &mut Batch<'_>) -> Pace {
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
        batch.penalise(died.place, "the call could not take this event");
        self.note_crash(died.call, batch.now)
    }

    /// A call actor died and will be rebuilt from the store.
    fn note_crash(&mut self, call: DialpadCallId, now: DateTime<Utc>) -> Pace {
        counter!("cti_call_actor_crashes_total").increment(1);
        warn!(app.id = %self.app_id, call.id = %call, "a call actor died and is rebuilt from the store");
        self.inbox().doubt();
        match self.roster.crashed(call, now) {
            Restart::Allowed => Pace::Again,
            Restart::After(pause) => {
                error!(app.id = %self.app_id, pause_s = pause.num_seconds(), "too many call actors died; pausing");
                Pace::After(pause.to_std().unwrap_or(STORE_RETRY))
            }
        }
    }
}

/// Which interaction each leg belongs to, and which interactions that makes part of an older one.
fn bonds_of(
    kin: &[Kin],
    merged: &mut HashMap<InteractionId, InteractionId>,
) -> HashMap<DialpadCallId, Bonds> {
    let joined = join(kin);
    let mut sizes: HashMap<InteractionId, usize> = HashMap::new();
    joined.values().for_each(|interaction| *sizes.entry(*interaction).or_default() += 1);
    kin.iter()
        .map(|leg| {
            let interaction = joined[&leg.call];
            if interaction != leg.interaction {
                merged.insert(leg.interaction, interaction);
            }
            let alone = leg.names.is_empty() && interaction == leg.interaction && sizes[&interaction] == 1;
            (leg.call, Bonds { interaction, names: leg.names.iter().copied().collect(), alone })
        })
        .collect()
}
