//! What the metrics show of the journal.

use chrono::{DateTime, Utc};
use cti_actors::{error::StoreError, id::AppId};
use strum::{IntoStaticStr, VariantArray};

use crate::store::{JournalStore, db::types::Id, on_db};

/// `$1`: the app of the canary.
const PENDING: &str =
    "SELECT COUNT(*) AS count, MIN(received_at) AS oldest FROM webhook_events WHERE status = 'pending'
    AND app_id IS DISTINCT FROM $1";
/// Each status has an index of its own. What came in and could not be read had no attempt.
const UNPROCESSED: &str =
    "SELECT status, COALESCE(reason, '') AS reason, COUNT(*) AS count FROM webhook_events
    WHERE status = 'unrouted' GROUP BY status, reason
    UNION ALL SELECT status, CASE WHEN attempts > 0 THEN 'given_up' ELSE 'unreadable' END AS why, COUNT(*)
    FROM webhook_events WHERE status = 'failed' GROUP BY status, why";

/// Why a webhook has failed, in short.
#[derive(Clone, Copy, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(in crate::store) enum FailedReason {
    /// Its payload can't be understood.
    Unreadable,
    /// It could not be applied in several attempts.
    GivenUp,
}

/// The webhooks that wait to be processed.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct Pending {
    pub(in crate::store) count: i64,
    /// When the first of them came.
    pub(in crate::store) oldest: Option<DateTime<Utc>>,
}

/// How many webhooks are kept without being processed.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct Unprocessed {
    /// `unrouted` or `failed`.
    pub(in crate::store) status: String,
    /// The reason of an unrouted one, or the short reason of a failed one.
    pub(in crate::store) reason: String,
    pub(in crate::store) count: i64,
}

impl JournalStore<'_> {
    pub(in crate::store) async fn pending(self) -> Result<Pending, StoreError> {
        on_db!(self.store, read db => sqlx::query_as(PENDING).bind(Id::from(AppId::CANARY)).fetch_one(db).await)
    }

    pub(in crate::store) async fn unprocessed(self) -> Result<Vec<Unprocessed>, StoreError> {
        on_db!(self.store, read db => sqlx::query_as(UNPROCESSED).fetch_all(db).await)
    }
}
