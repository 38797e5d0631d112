//! Checks the apps' webhooks at Dialpad, each at its time.

use super::periodic::{every, periodic};
use crate::dialpad::webhooks::WebhookReconciler;

/// Runs unless `AUTO_SUBSCRIBE` is off.
pub(super) async fn run(reconciler: WebhookReconciler) {
    if !reconciler.is_automatic() {
        return;
    }
    let ticks = every(reconciler.due_interval());
    periodic("check webhooks", ticks, reconciler, |reconciler| Box::pin(reconciler.reconcile_due())).await;
}
