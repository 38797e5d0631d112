//! Which legs of a batch belong to one human call: found out before they decide, for those of which it is not known yet.
//! A call that was never seen, or that names a leg for the first time, costs one question to the store, which brings the
//! calls themselves along.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    calls::{Group, InteractionLegs},
    pipeline::Pipeline,
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

/// A call that is sent on begins to ring within this time of the last word about the leg that it came from.
const SENT_ON_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// What was found out about the calls of a batch before they decide.
#[derive(Default)]
pub(super) struct Correlated {
    /// Calls that nobody has seen before.
    pub(super) newcomers: InteractionLegs,
    /// Interactions that turned out to be part of an older one.
    pub(super) merged: HashMap<InteractionId, InteractionId>,
}

impl Pipeline {
    /// Finds out to which interactions the calls belong, and starts the actors that are not awake.
    pub(super) async fn gather(
        &mut self,
        groups: &[Group],
        now: DateTime<Utc>,
    ) -> Result<Correlated, StoreError> {
        let is_news = |group: &&Group| match self.roster.interaction_ref(group.call) {
            Some(interaction_ref) => !group.names().all(|name| interaction_ref.names.contains(&name)),
            None => true,
        };
        let change: Vec<&Group> = groups.iter().filter(is_news).collect();
        if change.is_empty() {
            return Ok(Correlated::default());
        }
        let named = change.iter().flat_map(|group| group.names().map(DialpadCallId).chain([group.call]));
        let named: Vec<DialpadCallId> = named.collect::<BTreeSet<_>>().into_iter().collect();
        let relatives = self.ports.ledger.relatives(self.app_id, &named).await?;
        let mut known: InteractionLegs =
            relatives.into_iter().map(|call| (call.dialpad_call_id, call)).collect();

        let mut gathered = Correlated::default();
        let mut links = Vec::with_capacity(change.len());
        for group in &change {
            let call = match known.get(&group.call) {
                Some(call) => call,
                None => {
                    let mut unseen = StoredCall::unseen(group.call, now);
                    if let Some(interaction_ref) = self.roster.interaction_ref(group.call) {
                        unseen.interaction_id = interaction_ref.interaction;
                    }
                    gathered.newcomers.entry(group.call).or_insert(unseen)
                }
            };
            let mut leg = LegLinks::of(call);
            leg.names.extend(group.names());
            links.push(leg);
        }
        let foreseen = foresee_transfers(&change, &known, &gathered.newcomers);
        self.follow_transfers(&foreseen, &mut links, &mut known, now).await?;
        let in_batch: HashSet<DialpadCallId> = change.iter().map(|group| group.call).collect();
        links.extend(
            known.values().filter(|call| !in_batch.contains(&call.dialpad_call_id)).map(LegLinks::of),
        );

        let interaction_ref = bonds_of(&links, &mut gathered.merged);
        for (call, interaction_ref) in interaction_ref {
            if self.roster.get(call).is_some() {
                self.roster.bind(call, interaction_ref);
            } else if in_batch.contains(&call)
                && let Some(stored) = known.remove(&call).or_else(|| gathered.newcomers.get(&call).cloned())
            {
                self.start(stored, interaction_ref, now);
            }
        }
        Ok(gathered)
    }

    /// A leg to which a call was sent on does not name the leg that it came from: that one is looked for. `foreseen` are
    /// the legs of `links`, or none where nothing was sent on.
    async fn follow_transfers(
        &self,
        foreseen: &[StoredCall],
        links: &mut [LegLinks],
        known: &mut InteractionLegs,
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
        for (leg, links) in foreseen.iter().zip(links).filter(|(leg, _)| is_looked_for(leg)) {
            let Some(origin) = sent_on_from(leg, stored.iter().copied().chain(foreseen)) else { continue };
            links.names.push(origin.dialpad_call_id.0);
            if !is_foreseen(origin) {
                known.entry(origin.dialpad_call_id).or_insert_with(|| origin.clone());
            }
        }
        Ok(())
    }
}

/// The calls as they will be after the batch, if any of them was sent on to where it is; none otherwise, which is nearly
/// always so.
fn foresee_transfers(
    change: &[&Group],
    known: &InteractionLegs,
    newcomers: &InteractionLegs,
) -> Vec<StoredCall> {
    let stored = |group: &Group| known.get(&group.call).or_else(|| newcomers.get(&group.call));
    let was_sent_on = |group: &&Group| {
        let said = group.events.iter().any(|event| event.knowledge.transferred_from.is_some());
        said || stored(group).is_some_and(|call| call.facts.transferred_from().is_some())
    };
    if !change.iter().any(was_sent_on) {
        return Vec::new();
    }
    let after = |group: &&Group| {
        let mut call = stored(group)?.clone();
        group.events.iter().for_each(|event| call.facts.absorb(event));
        Some(call)
    };
    change.iter().filter_map(after).collect()
}

/// Which interaction each leg belongs to, and which interactions that makes part of an older one.
fn bonds_of(
    links: &[LegLinks],
    merged: &mut HashMap<InteractionId, InteractionId>,
) -> HashMap<DialpadCallId, InteractionRef> {
    let joined = join(links);
    let mut sizes: HashMap<InteractionId, usize> = HashMap::new();
    joined.values().for_each(|interaction| *sizes.entry(*interaction).or_default() += 1);
    links
        .iter()
        .map(|leg| {
            let interaction = joined[&leg.call];
            if interaction != leg.interaction {
                merged.insert(leg.interaction, interaction);
            }
            let alone = leg.names.is_empty() && interaction == leg.interaction && sizes[&interaction] == 1;
            (leg.call, InteractionRef { interaction, names: leg.names.iter().copied().collect(), alone })
        })
        .collect()
}
