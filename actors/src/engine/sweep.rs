//! Wakes the apps whose webhooks have been pending for too long: those that an earlier process left, and those whose
//! wake was lost.

use std::sync::Arc;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::{periodic::periodic, refresher_handle::RefresherHandle, tenants::Tenants};
use crate::{
    error::StoreError,
    tuning::{Owned, Tuning},
};

/// How old a pending webhook must be to be swept: younger ones are about to be processed.
pub(super) const MIN_AGE: TimeDelta = TimeDelta::seconds(1);

/// Sweeps until it is stopped, and starts the token refresher again where it has died.
pub(super) async fn run(
    tenants: Arc<Tenants>,
    refresher: Arc<RefresherHandle>,
    tuning: Tuning,
    stop: CancellationToken,
) {
    // At the first sweep nothing is about to be processed: whatever is pending was left by an earlier process. Where
    // another process may have written it, waiting would only delay it.
    let later_min_age = match tuning.owned {
        Owned::AllApps => MIN_AGE,
        Owned::LeasedApps => TimeDelta::zero(),
    };
    let mut min_age = TimeDelta::zero();
    periodic("journal sweep", tuning.sweep_interval, stop, async || {
        sweep(&tenants, min_age).await?;
        min_age = later_min_age;
        refresher.revive();
        Ok(())
    })
    .await;
}

/// Wakes every app that has a webhook which has been pending for longer than `min_age`.
pub(super) async fn sweep(tenants: &Tenants, min_age: TimeDelta) -> Result<(), StoreError> {
    let since = tenants.ports().clock.now() - min_age;
    for app in tenants.ports().journal.backlog(since).await? {
        if let Some(tenant) = tenants.owned(app) {
            tenant.notify();
        }
    }
    Ok(())
}
