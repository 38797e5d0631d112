//! Has the ends of human calls emitted that are over, and for which nothing more came for a while. What is due is in the
//! store, so a restart loses none; the supervisors emit each once, whichever process is first.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{periodic::periodic, tenants::Tenants};
use crate::error::StoreError;

/// How many interactions are handed to the supervisors at a time.
const MAX_DUE: usize = 1000;

/// Settles until it is stopped.
pub(super) async fn run(tenants: Arc<Tenants>, interval: Duration, stop: CancellationToken) {
    periodic("settling of interactions", interval, stop, async || settle(&tenants).await).await;
}

/// Hands every interaction to its supervisor whose end is due.
pub(super) async fn settle(tenants: &Tenants) -> Result<(), StoreError> {
    let ports = tenants.ports();
    let now = ports.clock.now();
    for (app, interaction) in ports.ledger.unsettled(now, MAX_DUE).await? {
        if let Some(tenant) = tenants.owned(app) {
            tenant.settle(interaction);
        }
    }
    Ok(())
}
