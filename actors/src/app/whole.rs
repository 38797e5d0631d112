//! The interactions that a batch has touched: what is shown of each human call as a whole, and the events about it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use super::{batch::Batch, calls::Touched, context::CallContext};
use crate::{
    error::StoreError,
    event::interaction_event,
    id::{AppId, InteractionId},
    model::interaction::{LegShown, StoredInteraction, Summary, news},
    ports::Ledger,
};

/// How long an interaction is kept in memory after its last news. Reading it again costs a query.
const IDLE_TIMEOUT: TimeDelta = TimeDelta::seconds(20);
/// How often those that are idle are looked for.
const EVICTION_INTERVAL: TimeDelta = TimeDelta::seconds(2);
/// How many interactions are kept in memory per app; those that were used last longer ago go first.
const MAX_CACHED: usize = 4096;

/// The interactions that the store has, as far as they were used lately. Another process may have changed them
/// meanwhile: then the store refuses what follows from them, and they are read again.
#[derive(Debug, Default)]
pub(super) struct InteractionCache {
    rows: HashMap<InteractionId, (StoredInteraction, DateTime<Utc>)>,
    evicted_at: Option<DateTime<Utc>>,
}

impl InteractionCache {
    pub(super) fn adopt(&mut self, interactions: &[StoredInteraction], now: DateTime<Utc>) {
        for interaction in interactions {
            // What is over and emitted is rarely needed again.
            if interaction.has_settled || interaction.merged_into.is_some() {
                self.rows.remove(&interaction.id);
            } else {
                self.rows.insert(interaction.id, (interaction.clone(), now));
            }
        }
        if self.rows.len() > MAX_CACHED {
            let mut used: Vec<DateTime<Utc>> = self.rows.values().map(|(_, used_at)| *used_at).collect();
            used.sort_unstable();
            let median = used[used.len() / 2];
            self.rows.retain(|_, (_, used_at)| *used_at > median);
        }
    }

    pub(super) fn forget(&mut self, interactions: &[StoredInteraction]) {
        for interaction in interactions {
            self.rows.remove(&interaction.id);
        }
    }

    pub(super) fn evict_idle(&mut self, now: DateTime<Utc>) {
        if self.evicted_at.is_none_or(|at| now - at >= EVICTION_INTERVAL) {
            self.evicted_at = Some(now);
            self.rows.retain(|_, (_, used_at)| now - *used_at < IDLE_TIMEOUT);
        }
    }

    /// Returns these interactions, from the store where they are not in memory.
    pub(super) async fn read(
        &self,
        ledger: &dyn Ledger,
        app: AppId,
        ids: &[InteractionId],
    ) -> Result<Vec<StoredInteraction>, StoreError> {
        let (cached, unknown): (Vec<InteractionId>, Vec<InteractionId>) =
            ids.iter().partition(|id| self.get(**id).is_some());
        let mut known: Vec<StoredInteraction> =
            cached.iter().filter_map(|id| self.get(*id)).cloned().collect();
        if !unknown.is_empty() {
            known.extend(ledger.interactions(app, &unknown).await?);
        }
        Ok(known)
    }

    fn get(&self, id: InteractionId) -> Option<&StoredInteraction> {
        self.rows.get(&id).map(|(interaction, _)| interaction)
    }
}

/// Adds to the batch what it has changed about whole interactions.
pub(super) async fn apply_whole(
    ctx: &CallContext<'_>,
    cache: &InteractionCache,
    touched: &Touched,
    settle: TimeDelta,
    batch: &mut Batch<'_>,
) -> Result<(), StoreError> {
    let known = load(ctx, cache, touched, batch).await?;
    for (id, (legs, position)) in &touched.interactions {
        let mut legs: Vec<_> = legs.values().collect();
        legs.sort_by_key(|leg| leg.id);
        let shown: Vec<LegShown> = legs
            .iter()
            .filter(|leg| leg.version > 0)
            .map(|leg| LegShown::of(leg, &leg.facts.snapshot()))
            .collect();
        let Some(summary) = Summary::of(&shown) else { continue };
        let Some((interaction, change)) = news(*id, known.get(id), summary, batch.now, settle) else {
            continue;
        };
        if let Some(change) = change {
            let at = batch.time_of(*position);
            batch.add_event(*position, interaction_event(ctx.app_id, *id, &interaction.summary, &change, at));
        }
        batch.add_interaction(interaction);
    }
    for (left, within) in &touched.left {
        if let Some(interaction) = known.get(left).filter(|it| it.merged_into.is_none()) {
            batch.add_interaction(interaction.merged_into(*within));
        }
    }
    Ok(())
}

/// Returns the interactions as the store has them. That of a leg that nobody has heard of before is in none.
async fn load(
    ctx: &CallContext<'_>,
    cache: &InteractionCache,
    touched: &Touched,
    batch: &Batch<'_>,
) -> Result<BTreeMap<InteractionId, StoredInteraction>, StoreError> {
    let is_new = |id: &InteractionId| {
        batch.records().any(|record| record.call.version == 1 && InteractionId::from(record.call.id) == *id)
    };
    let ids: BTreeSet<InteractionId> =
        touched.interactions.keys().chain(touched.left.keys()).copied().filter(|id| !is_new(id)).collect();
    let ids: Vec<InteractionId> = ids.into_iter().collect();
    let known = cache.read(ctx.ledger, ctx.app_id, &ids).await?;
    Ok(known.into_iter().map(|interaction| (interaction.id, interaction)).collect())
}
