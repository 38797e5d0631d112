//! Writing units of work: those of several apps at once, each as a whole. SQLite runs one statement after the other,
//! PostgreSQL the same ones joined into one.

mod postgres;
mod sqlite;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use cti_actors::{
    error::StoreError,
    id::{AppId, Fence, Seq},
    unit::{Receipt, Unit},
};
use sqlx::error::{DatabaseError, ErrorKind};

pub(in crate::store) use self::{postgres::write_postgres, sqlite::write_sqlite};
use super::{LIST_TAIL, rows::UnitRows};
use crate::store::db::{
    bulk::{Column, Rows},
    pool::store_error,
    types::Id,
};

/// The row of an incoming webhook, with its final status.
const INCOMING_HEAD: &str = "INSERT INTO webhook_events
    (id, app_id, organization_id, dedup_key, event_type, payload, status, attempts, reason, received_at, processed_at)";

/// The rows are legs of which nothing may be known. The column refuses null, which fails the whole unit if a call names one
/// of them. That none of them is known itself, the versions guard.
const UNSEEN_HEAD: &str = "UPDATE feed_epoch SET epoch = NULL WHERE EXISTS (WITH named (app_id, leg) AS (";
const UNSEEN_TAIL: &str = ") SELECT 1 FROM named CROSS JOIN calls WHERE calls.app_id = named.app_id
        AND calls.master_call_id IS NOT NULL AND calls.master_call_id = named.leg
    UNION ALL SELECT 1 FROM named CROSS JOIN calls WHERE calls.app_id = named.app_id
        AND calls.entry_point_call_id IS NOT NULL AND calls.entry_point_call_id = named.leg
    UNION ALL SELECT 1 FROM named CROSS JOIN calls WHERE calls.app_id = named.app_id
        AND calls.operator_call_id IS NOT NULL AND calls.operator_call_id = named.leg)";

const CALLS_HEAD: &str = "INSERT INTO calls
    (id, app_id, dialpad_call_id, direction, from_number, to_number, from_e164, to_e164, contact_name, target_name,
     is_internal, callback_requested, custom_data, recordings, status, dialpad_state, outcome, dialpad_user_id,
     ringing_at, answered_at, ended_at, duration_seconds, talk_seconds, hold_seconds, recording_url, is_voicemail, voicemail_id,
     leg, master_call_id, entry_point_call_id, operator_call_id, target_id, link_target, link_at,
     interaction_id, answered_elsewhere, facts, version, created_at, updated_at)";
/// The version is a guard: after a write in between it becomes null, which the column refuses, and the whole statement
/// fails.
const CALLS_TAIL: &str = "ON CONFLICT (app_id, dialpad_call_id) DO UPDATE SET
    direction = EXCLUDED.direction, from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number,
    from_e164 = EXCLUDED.from_e164, to_e164 = EXCLUDED.to_e164, contact_name = EXCLUDED.contact_name,
    target_name = EXCLUDED.target_name, is_internal = EXCLUDED.is_internal,
    callback_requested = EXCLUDED.callback_requested, custom_data = EXCLUDED.custom_data,
    recordings = EXCLUDED.recordings, status = EXCLUDED.status, dialpad_state = EXCLUDED.dialpad_state, outcome = EXCLUDED.outcome, dialpad_user_id = EXCLUDED.dialpad_user_id,
    ringing_at = EXCLUDED.ringing_at, answered_at = EXCLUDED.answered_at, ended_at = EXCLUDED.ended_at,
    duration_seconds = EXCLUDED.duration_seconds, talk_seconds = EXCLUDED.talk_seconds,
    hold_seconds = EXCLUDED.hold_seconds, recording_url = EXCLUDED.recording_url,
    is_voicemail = EXCLUDED.is_voicemail, voicemail_id = EXCLUDED.voicemail_id, leg = EXCLUDED.leg,
    master_call_id = EXCLUDED.master_call_id, entry_point_call_id = EXCLUDED.entry_point_call_id,
    operator_call_id = EXCLUDED.operator_call_id, target_id = EXCLUDED.target_id,
    link_target = EXCLUDED.link_target, link_at = EXCLUDED.link_at,
    interaction_id = EXCLUDED.interaction_id, answered_elsewhere = EXCLUDED.answered_elsewhere,
    facts = EXCLUDED.facts, updated_at = EXCLUDED.updated_at,
    version = CASE WHEN calls.version = EXCLUDED.version - 1 THEN EXCLUDED.version END";

const INTERACTIONS_HEAD: &str = "INSERT INTO interactions
    (app_id, id, status, outcome, direction, external_number, external_e164, summary, merged_into, settles_at, has_settled, version,
     created_at, updated_at)";
/// The version is a guard, as that of calls is.
const INTERACTIONS_TAIL: &str = "ON CONFLICT (app_id, id) DO UPDATE SET
    status = EXCLUDED.status, outcome = EXCLUDED.outcome, direction = EXCLUDED.direction,
    external_number = EXCLUDED.external_number, external_e164 = EXCLUDED.external_e164, summary = EXCLUDED.summary, merged_into = EXCLUDED.merged_into,
    settles_at = EXCLUDED.settles_at, has_settled = EXCLUDED.has_settled, updated_at = EXCLUDED.updated_at,
    version = CASE WHEN interactions.version = EXCLUDED.version - 1 THEN EXCLUDED.version END";

const VOICEMAILS_HEAD: &str = "INSERT INTO voicemails
    (id, app_id, dialpad_call_id, dialpad_voicemail_id, dialpad_user_id, direction, from_number, to_number,
     from_e164, to_e164, recording_url, transcript, duration_seconds, received_at, created_at, updated_at)";
const VOICEMAILS_TAIL: &str = "ON CONFLICT (id) DO UPDATE SET
    dialpad_voicemail_id = EXCLUDED.dialpad_voicemail_id, dialpad_user_id = EXCLUDED.dialpad_user_id,
    direction = EXCLUDED.direction, from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number,
    from_e164 = EXCLUDED.from_e164, to_e164 = EXCLUDED.to_e164,
    recording_url = EXCLUDED.recording_url, transcript = EXCLUDED.transcript,
    duration_seconds = EXCLUDED.duration_seconds, received_at = EXCLUDED.received_at,
    updated_at = EXCLUDED.updated_at
    WHERE voicemails.deleted_at IS NULL";

const MESSAGES_HEAD: &str = "INSERT INTO messages
    (id, app_id, dialpad_message_id, dialpad_user_id, direction, from_number, to_number, from_e164, to_e164, text,
     mms_url, media_urls, message_delivery_result, message_status, sent_at, facts, version, created_at, updated_at)";
const MESSAGES_TAIL: &str = "ON CONFLICT (app_id, dialpad_message_id) DO UPDATE SET
    dialpad_user_id = EXCLUDED.dialpad_user_id, direction = EXCLUDED.direction,
    from_number = EXCLUDED.from_number, to_number = EXCLUDED.to_number, from_e164 = EXCLUDED.from_e164,
    to_e164 = EXCLUDED.to_e164, text = EXCLUDED.text, mms_url = EXCLUDED.mms_url, media_urls = EXCLUDED.media_urls,
    message_delivery_result = EXCLUDED.message_delivery_result, message_status = EXCLUDED.message_status, sent_at = EXCLUDED.sent_at, facts = EXCLUDED.facts,
    updated_at = EXCLUDED.updated_at,
    version = CASE WHEN messages.version = EXCLUDED.version - 1 THEN EXCLUDED.version END";

const EVENTS_HEAD: &str = "INSERT INTO events
    (app_id, seq, id, type, dialpad_call_id, dialpad_user_id, occurred_at, published_at, body)";

/// The reason stays: of a webhook that was read without some unreadable spots, it says which.
const PROCESSED_HEAD: &str =
    "UPDATE webhook_events SET status = 'processed', processed_at = $1 WHERE id IN (";
const RETRIED_HEAD: &str = "UPDATE webhook_events SET attempts = attempts + 1 WHERE id IN (";
const FAIL: &str = "UPDATE webhook_events SET status = 'failed', attempts = attempts + 1, reason = $2, processed_at = $3 WHERE id = $1";

/// Why units could not be written.
pub(in crate::store) enum UnitFailure {
    Sql(sqlx::Error),
    /// The journal has one of the incoming webhooks already.
    Duplicates,
    Store(StoreError),
}

impl From<sqlx::Error> for UnitFailure {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(failure) if is_known_webhook(failure) => Self::Duplicates,
            Some(failure) if is_fenced(failure) => Self::Store(StoreError::Fenced),
            _ => Self::Sql(error),
        }
    }
}

/// Whether a statement failed because the journal has a webhook with the same key. PostgreSQL names the index, SQLite the
/// columns.
fn is_known_webhook(failure: &dyn DatabaseError) -> bool {
    failure.is_unique_violation()
        && (failure.constraint() == Some("webhook_events_dedup")
            || failure.message().ends_with("webhook_events.dedup_key"))
}

/// Whether a statement of PostgreSQL failed because a feed has another fence: its `last_seq` becomes null then.
fn is_fenced(failure: &dyn DatabaseError) -> bool {
    failure.kind() == ErrorKind::NotNullViolation && failure.table() == Some("event_feeds")
}

impl UnitFailure {
    pub(in crate::store) fn into_store_error(self) -> StoreError {
        match self {
            Self::Sql(error) => store_error(error),
            // Which one is found out before; it came in between.
            Self::Duplicates => StoreError::Conflict("a webhook was written meanwhile".into()),
            Self::Store(failure) => failure,
        }
    }
}

/// Where the events of units come in the feeds: behind the last event that a feed has when they are written.
struct Places {
    /// How many events come into each feed that gets any.
    counts: Vec<(AppId, i64)>,
    /// The fences under which the units of each app were decided.
    fences: BTreeMap<AppId, Fence>,
    /// Each unit's offset behind the app's last event.
    offsets: Vec<Receipt>,
}

impl Places {
    fn of(units: &[Arc<Unit>]) -> Self {
        let mut counts: BTreeMap<AppId, i64> = BTreeMap::new();
        let mut fences: BTreeMap<AppId, Fence> = BTreeMap::new();
        for unit in units.iter().filter(|unit| unit.fence != Fence::UNCHECKED) {
            // Of two ownerships the earlier one counts: its unit is refused, and then each is written alone.
            let fence = fences.entry(unit.app_id).or_insert(unit.fence);
            *fence = unit.fence.min(*fence);
        }
        let offsets = units.iter().map(|unit| {
            let count = counts.entry(unit.app_id).or_default();
            let offset = Receipt { last_seq_before: Seq(*count) };
            *count += i64::try_from(unit.events.len()).unwrap_or(i64::MAX);
            offset
        });
        let offsets = offsets.collect();
        Self { counts: counts.into_iter().filter(|(_, count)| *count > 0).collect(), fences, offsets }
    }

    /// Returns each feed with the number of its events and the fence that it must have, those without events included.
    fn fenced_feeds(&self) -> Rows {
        let mut feeds: BTreeMap<AppId, i64> = self.fences.keys().map(|app| (*app, 0)).collect();
        feeds.extend(self.counts.iter().copied());
        let fence = |app| self.fences.get(app).copied().unwrap_or_default();
        Rows::of(vec![
            Column::Id(feeds.keys().map(|app| Id::from(*app)).collect()),
            Column::Int(feeds.values().copied().collect()),
            Column::Int(feeds.keys().map(|app| fence(app).0).collect()),
        ])
    }

    /// Returns the units' receipts, from the last event of each feed before.
    fn receipts(
        self,
        units: &[Arc<Unit>],
        last_before: &HashMap<AppId, i64>,
    ) -> Result<Vec<Receipt>, UnitFailure> {
        let receipts =
            units.iter().zip(self.offsets).map(|(unit, offset)| match last_before.get(&unit.app_id) {
                Some(before) => Ok(Receipt { last_seq_before: Seq(before + offset.last_seq_before.0) }),
                None if unit.events.is_empty() => Ok(offset),
                None => Err(app_is_gone(unit.app_id)),
            });
        receipts.collect()
    }
}

fn app_is_gone(app: AppId) -> UnitFailure {
    UnitFailure::Store(StoreError::Rejected(format!("app {app} is gone")))
}
