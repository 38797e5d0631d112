//! The webhook that the server registers at Dialpad for an app: its secrets, its ids at Dialpad, and the lease of the
//! process that works on it.
//!
//! A process claims the webhook before it changes it. A claim expires, so that a crashed process blocks the others only
//! briefly. What administrators see is in [`super::webhook_views`].

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{clock::new_uuid, error::StoreError, id::AppId};
use secrecy::SecretString;

use super::secrets::{RetiredSecret, generate_secret};
use crate::store::{Webhooks, db::types::Id, on_db};

const INSERT: &str =
    "INSERT INTO dialpad_webhooks (id, app_id, hook_url, secret, dialpad_org_id, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (app_id) DO NOTHING";
const FIND: &str =
    "SELECT id, secret, retired_secrets, dialpad_org_id, removed_at FROM dialpad_webhooks WHERE app_id = $1";
/// Guarded by the old id (`$3`): of two processes that replace it at the same time, one does. A claim on the old one
/// ends.
const REPLACE: &str = "UPDATE dialpad_webhooks SET id = $2, hook_url = $4, secret = $5, retired_secrets = $6,
    dialpad_org_id = $7, dialpad_webhook_id = NULL, call_subscription = NULL, sms_subscription = NULL,
    sms_with_texts = $9,
    verified_at = NULL, checked_at = NULL, problems = NULL, next_check_at = NULL, checking_until = NULL,
    removed_at = NULL, created_at = $8, updated_at = $8 WHERE app_id = $1 AND id = $3";
const SCHEDULE_CHECK: &str = "UPDATE dialpad_webhooks SET next_check_at = NULL WHERE app_id = $1";
const CLAIM: &str = "UPDATE dialpad_webhooks SET checking_until = $3
    WHERE app_id = $1 AND removed_at IS NULL AND (checking_until IS NULL OR checking_until <= $2 OR checking_until > $4)
    RETURNING secret, retired_secrets, dialpad_webhook_id, call_subscription, sms_subscription, sms_with_texts,
    verified_at";
const ROTATE: &str = "UPDATE dialpad_webhooks SET secret = $3, retired_secrets = $4, next_check_at = NULL,
    updated_at = $5 WHERE app_id = $1 AND checking_until = $2";
const RECORD_CHECK: &str = "UPDATE dialpad_webhooks SET hook_url = $3, sms_with_texts = $4,
    retired_secrets = COALESCE($5, retired_secrets), dialpad_webhook_id = $6, call_subscription = $7,
    sms_subscription = $8, dialpad_org_id = COALESCE($9, dialpad_org_id), verified_at = $10, checked_at = $11,
    problems = $12, next_check_at = $13, checking_until = NULL, updated_at = $11
    WHERE app_id = $1 AND checking_until = $2";
const REMOVE: &str = "UPDATE dialpad_webhooks SET retired_secrets = $3, dialpad_webhook_id = NULL,
    call_subscription = NULL, sms_subscription = NULL, verified_at = NULL, problems = NULL, removed_at = $4,
    checking_until = NULL, updated_at = $4 WHERE app_id = $1 AND checking_until = $2";
const DROP_SECRETS: &str = "UPDATE dialpad_webhooks SET retired_secrets = NULL
    WHERE app_id = $1 AND removed_at IS NOT NULL AND dialpad_org_id <> $2";
const RELEASE: &str =
    "UPDATE dialpad_webhooks SET checking_until = NULL WHERE app_id = $1 AND checking_until = $2";
/// Apps that have access to Dialpad: by a connection of this environment, or (`$2`) by the static key; with the latter,
/// only those for which a webhook was requested. `$3`: a webhook with another address than the server's is due at once.
const DUE: &str = "SELECT apps.id, dialpad_connections.dialpad_org_id FROM apps
    LEFT JOIN dialpad_connections ON dialpad_connections.app_id = apps.id
    LEFT JOIN dialpad_webhooks ON dialpad_webhooks.app_id = apps.id
    WHERE ((dialpad_connections.status <> 'expired' AND dialpad_connections.environment = $4)
        OR ($2 AND dialpad_connections.app_id IS NULL AND dialpad_webhooks.app_id IS NOT NULL))
    AND dialpad_webhooks.removed_at IS NULL AND apps.id NOT IN (SELECT app_id FROM deleted_apps)
    AND (dialpad_webhooks.checking_until IS NULL OR dialpad_webhooks.checking_until <= $1
        OR dialpad_webhooks.checking_until > $5)
    AND (dialpad_webhooks.next_check_at IS NULL OR dialpad_webhooks.next_check_at <= $1
        OR dialpad_webhooks.hook_url <> CAST($3 AS TEXT) || CAST(apps.id AS TEXT))
    LIMIT 1000";

/// How long a retired secret is accepted: Dialpad's last retries come after 4 hours.
const RETIRED_FOR: TimeDelta = TimeDelta::hours(24);
/// No claim is longer. One that ends later was stored while the clock was ahead.
const MAX_CLAIM: TimeDelta = TimeDelta::hours(1);
/// How many retired secrets are kept.
const MAX_RETIRED: usize = 16;

/// A claimed webhook.
#[derive(Debug)]
pub struct Claimed {
    /// The app.
    pub app: AppId,
    /// The webhook.
    pub webhook: OwnWebhook,
    /// When the claim expires. It also identifies the claim.
    until: DateTime<Utc>,
    /// Whether Dialpad had not been given the present secret.
    was_rotating: bool,
}

/// An app's webhook at Dialpad.
#[derive(Clone, Debug)]
pub struct OwnWebhook {
    /// The secret that Dialpad is to sign with.
    pub secret: SecretString,
    /// The secrets that it signed with before.
    pub retired: Vec<RetiredSecret>,
    /// Dialpad's id of the webhook.
    pub dialpad_webhook_id: Option<String>,
    /// Dialpad's id of the subscription to calls.
    pub call_subscription: Option<String>,
    /// Dialpad's id of the subscription to messages.
    pub sms_subscription: Option<String>,
    /// Whether the subscription to messages includes their texts.
    pub sms_with_texts: bool,
    /// When calls were last known to be delivered.
    pub verified_at: Option<DateTime<Utc>>,
}

/// The outcome of a check at Dialpad.
#[derive(Clone, Debug)]
pub struct CheckNote {
    /// The address that Dialpad is to deliver to.
    pub hook_url: String,
    /// The organization that was checked, where it is known.
    pub organization: Option<i64>,
    /// What is wrong, in sentences.
    pub problems: Vec<String>,
    /// When it was checked.
    pub checked_at: DateTime<Utc>,
    /// When to check again.
    pub next_check_at: DateTime<Utc>,
}

impl OwnWebhook {
    /// Whether Dialpad has not been given the present secret yet.
    #[must_use]
    pub fn is_rotating(&self) -> bool {
        self.retired.iter().any(|retired| retired.until.is_none())
    }

    /// Ends a rotation: Dialpad signs with the present secret, and the retired ones begin to expire.
    pub fn finish_rotation(&mut self, now: DateTime<Utc>) {
        for retired in &mut self.retired {
            retired.until.get_or_insert(now + RETIRED_FOR);
        }
    }
}

#[derive(sqlx::FromRow)]
struct ExistingRow {
    id: Id,
    secret: Vec<u8>,
    retired_secrets: Option<Vec<u8>>,
    dialpad_org_id: Option<i64>,
    removed_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct ClaimedRow {
    secret: Vec<u8>,
    retired_secrets: Option<Vec<u8>>,
    dialpad_webhook_id: Option<String>,
    call_subscription: Option<String>,
    sms_subscription: Option<String>,
    sms_with_texts: bool,
    verified_at: Option<DateTime<Utc>>,
}

impl Webhooks<'_> {
    /// Makes sure that the app has a webhook here; the reconciler then registers it at Dialpad. `again`: even where it
    /// was removed, or where no key opens its secret. A webhook for another organization is replaced, with no secret
    /// that the other organization knows.
    pub async fn ensure(
        self,
        app: AppId,
        hook_url: &str,
        organization: Option<i64>,
        again: bool,
    ) -> Result<(), StoreError> {
        let id = Id(new_uuid());
        let now = self.store.now();
        let sealed = self.seal_secret(app, &generate_secret());
        let inserted = on_db!(self.store, write db => {
            sqlx::query(INSERT).bind(id).bind(Id::from(app)).bind(hook_url).bind(&sealed).bind(organization).bind(now)
                .execute(db).await.map(|done| done.rows_affected())
        })?;
        if inserted == 0 {
            let existing: Option<ExistingRow> = on_db!(self.store, read db => {
                sqlx::query_as(FIND).bind(Id::from(app)).fetch_optional(db).await
            })?;
            // Deleted with its app in the meantime.
            let Some(existing) = existing else { return Ok(()) };
            let is_foreign = existing
                .dialpad_org_id
                .is_some_and(|made_for| organization.is_some_and(|organization| organization != made_for));
            let retired = existing.retired_secrets;
            let is_lost = self.accepted_secrets(app, Some(&existing.secret), retired.as_deref()).is_err();
            let is_revived = again && (existing.removed_at.is_some() || is_lost);
            if !is_foreign && !is_revived {
                return Ok(());
            }
            let retired = retired.filter(|_| !is_foreign && !is_lost);
            on_db!(self.store, write db => {
                sqlx::query(REPLACE).bind(Id::from(app)).bind(id).bind(existing.id).bind(hook_url).bind(&sealed)
                    .bind(&retired).bind(organization).bind(now).bind(false).execute(db).await.map(|_| ())
            })?;
        }
        self.store.routes().changed(app).await;
        Ok(())
    }

    /// Stops accepting the secrets of a removed webhook that was made for another organization than this one.
    pub async fn drop_foreign_secrets(self, app: AppId, organization: i64) -> Result<(), StoreError> {
        on_db!(self.store, write db => {
            sqlx::query(DROP_SECRETS).bind(Id::from(app)).bind(organization).execute(db).await.map(|_| ())
        })?;
        self.store.routes().changed(app).await;
        Ok(())
    }

    /// Schedules a check of the app's webhook at once.
    pub async fn schedule_check(self, app: AppId) -> Result<(), StoreError> {
        on_db!(self.store, write db => sqlx::query(SCHEDULE_CHECK).bind(Id::from(app)).execute(db).await.map(|_| ()))
    }

    /// Returns the apps whose webhooks are due for a check, with the organizations that they are connected to.
    pub async fn due(
        self,
        environment: &str,
        has_static_key: bool,
        hook_url_prefix: &str,
    ) -> Result<Vec<(AppId, Option<i64>)>, StoreError> {
        let now = self.store.now();
        let due: Vec<(Id, Option<i64>)> = on_db!(self.store, read db => {
            sqlx::query_as(DUE).bind(now).bind(has_static_key).bind(hook_url_prefix).bind(environment)
                .bind(now + MAX_CLAIM).fetch_all(db).await
        })?;
        Ok(due.into_iter().map(|(app, organization)| (app.into(), organization)).collect())
    }

    /// Claims the app's webhook for the length of a lease. Returns `None` where there is none, or where it is claimed.
    pub async fn claim(self, app: AppId, lease: TimeDelta) -> Result<Option<Claimed>, StoreError> {
        let now = self.store.now();
        let until = now + lease;
        let row: Option<ClaimedRow> = on_db!(self.store, write db => {
            sqlx::query_as(CLAIM).bind(Id::from(app)).bind(now).bind(until).bind(now + MAX_CLAIM)
                .fetch_optional(db).await
        })?;
        let Some(row) = row else { return Ok(None) };
        let webhook = OwnWebhook {
            secret: self.open_secret(app, &row.secret)?,
            retired: self.open_retired(app, row.retired_secrets.as_deref())?,
            dialpad_webhook_id: row.dialpad_webhook_id,
            call_subscription: row.call_subscription,
            sms_subscription: row.sms_subscription,
            sms_with_texts: row.sms_with_texts,
            verified_at: row.verified_at,
        };
        let was_rotating = webhook.is_rotating();
        Ok(Some(Claimed { app, webhook, until, was_rotating }))
    }

    /// Releases a claim without changing the webhook.
    pub async fn release(self, claimed: Claimed) -> Result<(), StoreError> {
        let app = Id::from(claimed.app);
        let proof = claimed.until;
        on_db!(self.store, write db => sqlx::query(RELEASE).bind(app).bind(proof).execute(db).await.map(|_| ()))
    }

    /// Gives a webhook a new secret, which is accepted from now on, together with the old ones. Does nothing while
    /// Dialpad has not been given the present one.
    ///
    /// # Errors
    /// The claim has expired; nothing was changed then.
    pub async fn begin_rotation(self, claimed: &mut Claimed) -> Result<(), StoreError> {
        if claimed.webhook.is_rotating() {
            return Ok(());
        }
        let now = self.store.now();
        let mut rotated = claimed.webhook.clone();
        let old = std::mem::replace(&mut rotated.secret, generate_secret());
        rotated.retired.insert(0, RetiredSecret { secret: old, until: None });
        rotated.retired.truncate(MAX_RETIRED);
        let secret = self.seal_secret(claimed.app, &rotated.secret);
        let retired = self.seal_retired(claimed.app, &rotated, now);
        let app = Id::from(claimed.app);
        let proof = claimed.until;
        let changed = on_db!(self.store, write db => {
            sqlx::query(ROTATE).bind(app).bind(proof).bind(&secret).bind(&retired).bind(now)
                .execute(db).await.map(|done| done.rows_affected())
        })?;
        self.store.routes().changed(claimed.app).await;
        check_claim(changed)?;
        claimed.webhook = rotated;
        claimed.was_rotating = true;
        Ok(())
    }

    /// Stores the outcome of a check, and releases the claim.
    ///
    /// # Errors
    /// The claim has expired; nothing was changed then.
    pub async fn record_check(self, claimed: Claimed, note: &CheckNote) -> Result<(), StoreError> {
        let webhook = &claimed.webhook;
        let now = self.store.now();
        let app = Id::from(claimed.app);
        let proof = claimed.until;
        let is_rotated = claimed.was_rotating && !webhook.is_rotating();
        let retired = is_rotated.then(|| self.seal_retired(claimed.app, webhook, now));
        let problems = (!note.problems.is_empty()).then(|| serde_json::json!(note.problems).to_string());
        let changed = on_db!(self.store, write db => {
            sqlx::query(RECORD_CHECK).bind(app).bind(proof).bind(&note.hook_url).bind(webhook.sms_with_texts).bind(&retired)
                .bind(&webhook.dialpad_webhook_id).bind(&webhook.call_subscription).bind(&webhook.sms_subscription)
                .bind(note.organization).bind(webhook.verified_at).bind(note.checked_at).bind(&problems)
                .bind(note.next_check_at).execute(db).await.map(|done| done.rows_affected())
        })?;
        self.store.routes().changed(claimed.app).await;
        check_claim(changed)
    }

    /// Removes a webhook. `accepts_late`: its secret is still accepted for a while, because webhooks that were signed
    /// with it may still come.
    ///
    /// # Errors
    /// The claim has expired; nothing was changed then.
    pub async fn remove(self, claimed: Claimed, accepts_late: bool) -> Result<(), StoreError> {
        let now = self.store.now();
        let mut removed = claimed.webhook.clone();
        removed.finish_rotation(now);
        let last = RetiredSecret { secret: removed.secret.clone(), until: Some(now + RETIRED_FOR) };
        removed.retired.insert(0, last);
        let retired = accepts_late.then(|| self.seal_retired(claimed.app, &removed, now));
        let app = Id::from(claimed.app);
        let proof = claimed.until;
        let changed = on_db!(self.store, write db => {
            sqlx::query(REMOVE).bind(app).bind(proof).bind(&retired).bind(now)
                .execute(db).await.map(|done| done.rows_affected())
        })?;
        self.store.routes().changed(claimed.app).await;
        check_claim(changed)
    }
}

/// A guarded change of no row means that the claim has expired.
fn check_claim(changed: u64) -> Result<(), StoreError> {
    if changed > 0 {
        return Ok(());
    }
    Err(StoreError::Conflict("the claim on the webhook has expired".into()))
}
