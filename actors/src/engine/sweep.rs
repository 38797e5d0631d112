//! Wakes the apps whose webhooks have been pending for too long: those that an earlier process left, and those whose
//! wake was lost.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::{periodic::periodic, refresher_handle::RefresherHandle, tenants::Tenants};
use crate::error::StoreError;

/// How old a pending webhook must be to be swept: younger ones are about to be processed.
pub(super) const MIN_AGE: TimeDelta = TimeDelta::seconds(1);

/// Sweeps until it is stopped, and starts the token refresher again where it has died.
pub(super) async fn run(
    tenants: Arc<Tenants>,
    refresher: Arc<RefresherHandle>,
    interval: Duration,
    stop: CancellationToken,
) {
    // At the first sweep nothing is about to be processed: whatever is pending was left by an earlier process.
    let mut min_age = TimeDelta::zero();
    periodic("journal sweep", interval, stop, async || {
        sweep(&tenants, min_age).await?;
        min_age = MIN_AGE;
        refresher.revive();
        Ok(())
    })
    .await;
}

/// Wakes every app that has a webhook which has been pending for longer than `min_age`.
pub(super) async fn sweep(tenants: &Tenants, min_age: TimeDelta) -> Result<(), StoreError> {
    let since = tenants.ports().clock.now() - min_age;
    for app in tenants.ports().journal.backlog(since).await? {
        tenants.of(app).notify();
    }
    Ok(())
}
