//! Computes the stored numbers in E.164 form: after the region of an app was changed, and after an update of the server.

use std::time::Duration;

use super::periodic::{every, periodic_once};
use crate::store::Store;

/// Looks for outdated numbers. The process that changes a region computes them at once; this continues what it could not
/// finish.
pub(super) async fn run(store: Store, interval: Duration) {
    periodic_once(store.clone(), "numbers", every(interval), store, |store| {
        Box::pin(async { store.apps().update_numbers().await })
    })
    .await;
}
