//! Removes what is older than its retention.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cti_actors::{clock::Clock, error::StoreError};
use tracing::{info, warn};

use super::periodic::{every, periodic};
use crate::{
    config::Retention,
    store::{
        Store,
        retention::{Pace, Pruned, PrunedCalls},
    },
};

pub(super) async fn run(store: Store, clock: Arc<dyn Clock>, retention: Retention) {
    let ticks = every(retention.interval);
    periodic("prune", ticks, store, |store| Box::pin(prune(store, clock.now(), retention))).await;
}

/// Removes each kind of old rows, also when another kind could not be removed.
async fn prune(store: &Store, now: DateTime<Utc>, retention: Retention) -> Result<(), StoreError> {
    let keys = store.idempotency().prune().await;
    let authorizations = store.oauth_sessions().prune().await;
    let processed = prune_processed(store, now, retention).await;
    let unrouted = prune_unrouted(store, now, retention).await;
    let calls = prune_calls(store, now, retention).await;
    processed.and(unrouted).and(calls).and(keys).and(authorizations)?;
    store.retention().completed();
    Ok(())
}

async fn prune_processed(store: &Store, now: DateTime<Utc>, retention: Retention) -> Result<(), StoreError> {
    let pace = Pace::default();
    let pruned = store.retention().prune(now - retention.events, now - retention.journal, &pace).await?;
    if pruned != Pruned::default() {
        info!(events = pruned.events, webhooks = pruned.webhooks, "old events and webhooks were removed");
    }
    Ok(())
}

async fn prune_unrouted(store: &Store, now: DateTime<Utc>, retention: Retention) -> Result<(), StoreError> {
    let webhooks = store.retention().prune_unrouted(now - retention.unrouted, &Pace::default()).await?;
    if webhooks > 0 {
        warn!(webhooks, "unrouted webhooks were removed because no app took them in time");
    }
    Ok(())
}

async fn prune_calls(store: &Store, now: DateTime<Utc>, retention: Retention) -> Result<(), StoreError> {
    let Some(kept) = retention.calls else { return Ok(()) };
    let pruned = store.retention().prune_calls(now - kept, &Pace::default()).await?;
    if pruned != PrunedCalls::default() {
        let PrunedCalls { calls, interactions, voicemails, messages } = pruned;
        info!(calls, interactions, voicemails, messages, "old calls and messages were removed");
    }
    Ok(())
}
