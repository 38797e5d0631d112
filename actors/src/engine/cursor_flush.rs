//! Writes the cursors of named consumers to the store. Acknowledgements are many and cheap: the first one after a quiet
//! time is written at once, and those that arrive meanwhile are written together, a moment later.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{periodic::periodic, tenants::Tenants};

/// How long the store is left alone after a flush.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
/// How often it is checked whether leases of the consumers must be renewed, and how often a process that shares one shows that
/// it lives.
const RENEW_INTERVAL: Duration = Duration::from_millis(500);

/// Flushes until it is stopped.
pub(super) async fn run(tenants: Arc<Tenants>, stop: CancellationToken) {
    periodic("cursor flush", FLUSH_INTERVAL, stop.clone(), async || {
        tokio::select! {
            () = stop.cancelled() => {}
            // Without a change it flushes all the same: leases must be renewed.
            _ = timeout(RENEW_INTERVAL, tenants.cursor_store().dirty()) => {}
        }
        let flushed = tenants.flush_cursors().await;
        if flushed.is_err() {
            tenants.cursor_store().mark_dirty();
        }
        flushed
    })
    .await;
}
