//! Watches the open sessions from outside: whether their keys are still valid, whether they take what they are given,
//! what other processes have published, and whether a feed was reset. Each is one query, whatever the number of sessions.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use tokio_util::sync::CancellationToken;

use super::{periodic::periodic_or_woken, tenants::Tenants};
use crate::{
    error::StoreError,
    feed::Known,
    id::{AppId, KeyId},
    session::{CloseCode, TenantHandle},
    tuning::Tuning,
};

/// Watches until it is stopped.
pub(super) async fn run(tenants: Arc<Tenants>, tuning: Tuning, stop: CancellationToken) {
    let wake = tenants.watch_now();
    periodic_or_woken("session watch", tuning.session_watch_interval, wake, stop, async || {
        let listened = tenants.with_sessions();
        for tenant in &listened {
            tenant.sessions.close_stuck(tuning.stuck_session_timeout);
        }
        if listened.is_empty() {
            return Ok(());
        }
        close_invalid_keys(&tenants, &listened).await?;
        advance_feeds(&tenants, &listened).await?;
        tenants.evict_lost_consumers().await
    })
    .await;
}

async fn close_invalid_keys(tenants: &Tenants, listened: &[Arc<TenantHandle>]) -> Result<(), StoreError> {
    let keys: BTreeSet<KeyId> = listened.iter().flat_map(|tenant| tenant.sessions.keys()).collect();
    let keys: Vec<KeyId> = keys.into_iter().collect();
    let valid: HashSet<KeyId> = tenants.ports().gate.still_valid(&keys).await?.into_iter().collect();
    for key in keys.into_iter().filter(|key| !valid.contains(key)) {
        for tenant in listened {
            let reason = "the API key has ended, or the app is switched off";
            tenant.sessions.close_of_key(key, CloseCode::Forbidden, reason);
        }
    }
    Ok(())
}

async fn advance_feeds(tenants: &Tenants, listened: &[Arc<TenantHandle>]) -> Result<(), StoreError> {
    let known: HashMap<AppId, Known> =
        listened.iter().map(|tenant| (tenant.app_id, tenant.feed.known())).collect();
    let apps: Vec<AppId> = known.keys().copied().collect();
    let log = &*tenants.ports().log;
    for (app, epoch, head) in log.heads(&apps).await? {
        if let Some(tenant) = listened.iter().find(|tenant| tenant.app_id == app) {
            tenant.feed.check(log, known[&app], epoch, head).await?;
        }
    }
    Ok(())
}
