//! The answer to a webhook that was kept.

use chrono::{DateTime, Utc};
use cti_actors::id::JournalId;
use metrics::histogram;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::metrics::WebhookOutcome,
    webhook::{
        new_webhook::NewWebhook,
        payload::{Family, Reading},
        routing::Disposition,
    },
};

/// The answer to a webhook that was kept.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTaken)]
pub(in crate::http) struct Taken {
    success: bool,
    /// Its id in the journal; of a duplicate, the id of the first one. Null while it is spooled.
    event_id: Option<JournalId>,
    /// Whether the journal had it already. A duplicate is neither processed nor emitted again.
    duplicate: bool,
    /// `unrouted` or `failed`, where it is kept without being processed; `spooled`, where it is processed once the
    /// database is available again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    status: Option<&'static str>,
    /// Why it is not processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

impl Taken {
    /// Answers that the webhook is in the journal.
    pub(super) fn stored(event_id: Option<JournalId>, duplicate: bool, unprocessed: Unprocessed) -> Self {
        let Unprocessed { status, reason, .. } = unprocessed;
        Self { success: true, event_id, duplicate, status, reason }
    }

    /// Answers that the webhook is in the spool.
    pub(super) fn spooled() -> Self {
        Self { success: true, event_id: None, duplicate: false, status: Some("spooled"), reason: None }
    }

    pub(super) fn example() -> Self {
        let event_id = "018cc4e5-2270-7c12-8f01-6a7b8c9d0e1f".parse().ok();
        Self { success: true, event_id, duplicate: false, status: None, reason: None }
    }
}

/// Why a webhook is not processed for any app; empty where it is processed for one.
pub(super) struct Unprocessed {
    outcome: WebhookOutcome,
    status: Option<&'static str>,
    reason: Option<String>,
}

impl Unprocessed {
    pub(super) fn of(webhooks: &[NewWebhook]) -> Self {
        let is_processed =
            webhooks.iter().any(|webhook| matches!(webhook.disposition, Disposition::Pending(_)));
        let first = webhooks.first().filter(|_| !is_processed).map(|webhook| &webhook.disposition);
        Self {
            outcome: first.map_or(WebhookOutcome::Accepted, WebhookOutcome::from),
            status: first.map(Disposition::status),
            reason: first.and_then(Disposition::reason).map(str::to_owned),
        }
    }
}

/// Counts a webhook that is in the journal.
pub(super) fn record(
    reading: &Reading,
    unprocessed: &Unprocessed,
    duplicate: bool,
    received_at: DateTime<Utc>,
) {
    let outcome = if duplicate { WebhookOutcome::Duplicate } else { unprocessed.outcome };
    outcome.count(reading.family);
    if let (Some(at), Family::Native | Family::Workflow) = (reading.at, reading.family) {
        let lag = (received_at - at).to_std().unwrap_or_default();
        histogram!("cti_webhook_lag_seconds").record(lag);
    }
}
