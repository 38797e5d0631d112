//! A webhook on its way into the journal.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cti_actors::id::AppId;

use super::{
    dedup_key::DedupKey,
    payload::Reading,
    routing::{Destination, Disposition},
};

/// One row of the journal that is not written yet: a webhook for one app.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// The app; `None` while no app is known for it.
    pub app_id: Option<AppId>,
    /// The organization that the payload names.
    pub organization_id: Option<i64>,
    /// What makes two webhooks of an app the same one.
    pub dedup_key: DedupKey,
    /// Its event type or state, in the sender's words.
    pub event_type: String,
    /// The payload as it came; of a JWS, its claims.
    pub payload: Arc<[u8]>,
    /// What happens to it.
    pub disposition: Disposition,
    /// What of it could not be read, although the rest was.
    pub unreadable: Option<String>,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

impl NewWebhook {
    /// Makes the row for one destination of a webhook.
    #[must_use]
    pub fn new(
        reading: &Reading,
        destination: Destination,
        payload: Arc<[u8]>,
        received_at: DateTime<Utc>,
    ) -> Self {
        Self {
            app_id: destination.app_id,
            organization_id: reading.organization_id,
            dedup_key: reading.dedup_key,
            event_type: reading.event_type.clone(),
            payload,
            disposition: destination.disposition,
            unreadable: reading.unreadable.clone(),
            received_at,
        }
    }

    /// Returns the reason that the journal shows: why it is not processed, or what of it was left out.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.disposition.reason_or(self.unreadable.as_deref())
    }
}
