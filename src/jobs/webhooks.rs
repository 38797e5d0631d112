//! Checks the apps' webhooks at Dialpad, each at its time.

use super::periodic::{every, periodic_once};
use crate::{dialpad::webhooks::WebhookReconciler, store::Store};

/// Runs unless `AUTO_SUBSCRIBE` is off.
pub(super) async fn run(store: Store, reconciler: WebhookReconciler) {
    if !reconciler.is_automatic() {
        return;
    }
    let ticks = every(reconciler.due_interval());
    periodic_once(store, "check webhooks", ticks, reconciler, |reconciler| {
        Box::pin(reconciler.reconcile_due())
    })
    .await;
}
