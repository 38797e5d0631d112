//! The webhook that the server has registered at Dialpad for an app: its secrets, and who works at it until when.
//!
//! Whoever changes it has claimed it before; a claim ends by itself, so that a process that died hinders nobody for
//! long. What administrators see of it is in [`super::webhook_views`].

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{error::StoreError, id::AppId};
use secrecy::SecretString;
use uuid::Uuid;

use super::secrets::{RetiredSecret, fresh_secret};
use crate::store::{Webhooks, db::types::Id, on_db};

const INSERT: &str =
    "INSERT INTO dialpad_webhooks (id, app_id, hook_url, secret, dialpad_org_id, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (app_id) DO NOTHING";
const LIFE: &str =
    "SELECT id, secret, retired_secrets, dialpad_org_id, removed_at FROM dialpad_webhooks WHERE app_id = $1";
/// `$3`: of two who begin anew at once, one does. Whoever has claimed the old one has it no longer.
const BEGIN_ANEW: &str =
    "UPDATE dialpad_webhooks SET id = $2, hook_url = $4, secret = $5, retired_secrets = $6,
    dialpad_org_id = $7, dialpad_webhook_id = NULL, call_subscription = NULL, sms_subscription = NULL,
    sms_with_texts = $9,
    verified_at = NULL, checked_at = NULL, problems = NULL, next_check_at = NULL, checking_until = NULL,
    removed_at = NULL, created_at = $8, updated_at = $8 WHERE app_id = $1 AND id = $3";
const HURRY: &str = "UPDATE dialpad_webhooks SET next_check_at = NULL WHERE app_id = $1";
const CLAIM: &str = "UPDATE dialpad_webhooks SET checking_until = $3
    WHERE app_id = $1 AND removed_at IS NULL AND (checking_until IS NULL OR checking_until <= $2)
    RETURNING secret, retired_secrets, dialpad_webhook_id, call_subscription, sms_subscription, sms_with_texts,
    verified_at";
const ROTATE: &str = "UPDATE dialpad_webhooks SET secret = $3, retired_secrets = $4, next_check_at = NULL,
    updated_at = $5 WHERE app_id = $1 AND checking_until = $2";
const NOTE: &str = "UPDATE dialpad_webhooks SET hook_url = $3, sms_with_texts = $4,
    retired_secrets = COALESCE($5, retired_secrets), dialpad_webhook_id = $6, call_subscription = $7,
    sms_subscription = $8, dialpad_org_id = COALESCE($9, dialpad_org_id), verified_at = $10, checked_at = $11,
    problems = $12, next_check_at = $13, checking_until = NULL, updated_at = $11
    WHERE app_id = $1 AND checking_until = $2";
const REMOVE: &str = "UPDATE dialpad_webhooks SET retired_secrets = $3, dialpad_webhook_id = NULL,
    call_subscription = NULL, sms_subscription = NULL, verified_at = NULL, problems = NULL, removed_at = $4,
    checking_until = NULL, updated_at = $4 WHERE app_id = $1 AND checking_until = $2";
const FORGET_SECRETS: &str = "UPDATE dialpad_webhooks SET retired_secrets = NULL
    WHERE app_id = $1 AND removed_at IS NOT NULL AND dialpad_org_id <> $2";
const RELEASE: &str =
    "UPDATE dialpad_webhooks SET checking_until = NULL WHERE app_id = $1 AND checking_until = $2";
/// Apps that can speak to Dialpad, by a connection of this environment or (`$2`) the static key; with the latter, only
/// those for which somebody has wished a webhook. `$3`: a webhook at another address than ours is due at once.
const DUE: &str = "SELECT apps.id, dialpad_connections.dialpad_org_id FROM apps
    LEFT JOIN dialpad_connections ON dialpad_connections.app_id = apps.id
    LEFT JOIN dialpad_webhooks ON dialpad_webhooks.app_id = apps.id
    WHERE ((dialpad_connections.status <> 'expired' AND dialpad_connections.environment = $4)
        OR ($2 AND dialpad_connections.app_id IS NULL AND dialpad_webhooks.app_id IS NOT NULL))
    AND dialpad_webhooks.removed_at IS NULL AND apps.id NOT IN (SELECT app_id FROM removed_apps)
    AND (dialpad_webhooks.checking_until IS NULL OR dialpad_webhooks.checking_until <= $1)
    AND (dialpad_webhooks.next_check_at IS NULL OR dialpad_webhooks.next_check_at <= $1
        OR dialpad_webhooks.hook_url <> CAST($3 AS TEXT) || CAST(apps.id AS TEXT))
    LIMIT 1000";

/// How long a secret that was rotated out is taken: Dialpad's last retries come after 4 hours.
const RETIRED_FOR: TimeDelta = TimeDelta::hours(24);
/// How many secrets that were rotated out are kept at most.
const MOST_RETIRED: usize = 16;

/// An app's webhook in the hands of whoever claimed it.
#[derive(Debug)]
pub struct Claimed {
    /// Whose it is.
    pub app: AppId,
    /// The webhook.
    pub webhook: OwnWebhook,
    /// The end of the claim, which is also its proof.
    until: DateTime<Utc>,
    /// Dialpad had not heard of the present secret.
    was_rotating: bool,
}

/// An app's webhook at Dialpad, as far as it has come.
#[derive(Clone, Debug)]
pub struct OwnWebhook {
    /// What Dialpad shall sign with.
    pub secret: SecretString,
    /// What it signed with before.
    pub retired: Vec<RetiredSecret>,
    /// Dialpad's name of the webhook.
    pub dialpad_webhook_id: Option<String>,
    /// Dialpad's name of the subscription to calls.
    pub call_subscription: Option<String>,
    /// Dialpad's name of the subscription to messages.
    pub sms_subscription: Option<String>,
    /// Whether that one was made with the right to the texts of messages.
    pub sms_with_texts: bool,
    /// When calls were last known to come as they should.
    pub verified_at: Option<DateTime<Utc>>,
}

/// What a look at Dialpad has brought.
#[derive(Clone, Debug)]
pub struct CheckNote {
    /// Where Dialpad shall send to.
    pub hook_url: String,
    /// The organisation that was asked, where it is known.
    pub organization: Option<i64>,
    /// What stands in the way.
    pub problems: Vec<String>,
    /// When it was looked at.
    pub checked_at: DateTime<Utc>,
    /// When to look again.
    pub next_check_at: DateTime<Utc>,
}

impl OwnWebhook {
    /// Whether a new secret waits for Dialpad to hear of it.
    #[must_use]
    pub fn is_rotating(&self) -> bool {
        self.retired.iter().any(|retired| retired.until.is_none())
    }

    /// Dialpad signs with the new secret: from now on the time of the old ones runs.
    pub fn finish_rotation(&mut self, now: DateTime<Utc>) {
        for retired in &mut self.retired {
            retired.until.get_or_insert(now + RETIRED_FOR);
        }
    }
}

type Life = (Id, Vec<u8>, Option<Vec<u8>>, Option<i64>, Option<DateTime<Utc>>);

#[derive(sqlx::FromRow)]
struct Row {
    secret: Vec<u8>,
    retired_secrets: Option<Vec<u8>>,
    dialpad_webhook_id: Option<String>,
    call_subscription: Option<String>,
    sms_subscription: Option<String>,
    sms_with_texts: bool,
    verified_at: Option<DateTime<Utc>>,
}

impl Webhooks<'_> {
    /// Sees to it that the app has a webhook here, which is what makes somebody register it at Dialpad. `again`: also
    /// if it was taken away, or its secret was lost. One that was made for another organisation is begun anew, with no secret that the other
    /// one knows.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn ensure(
        self,
        app: AppId,
        hook_url: &str,
        organization: Option<i64>,
        again: bool,
    ) -> Result<(), StoreError> {
        let (id, now) = (Id(Uuid::now_v7()), self.store.now());
        let sealed = self.seal_secret(app, &fresh_secret());
        let inserted = on_db!(self.store, write db => {
            sqlx::query(INSERT).bind(id).bind(Id::from(app)).bind(hook_url).bind(&sealed).bind(organization).bind(now)
                .execute(db).await.map(|done| done.rows_affected())
        })?;
        if inserted == 0 {
            let life: Option<Life> = on_db!(self.store, read db => sqlx::query_as(LIFE).bind(Id::from(app)).fetch_optional(db).await)?;
            // Gone with its app in the meantime.
            let Some((before, secret, retired, made_for, removed_at)) = life else { return Ok(()) };
            let moved = made_for.is_some() && organization.is_some() && made_for != organization;
            // A secret that no key opens is good for nothing.
            let is_lost = self.accepted_secrets(app, Some(&secret), retired.as_deref()).is_err();
            let comes_back = again && (removed_at.is_some() || is_lost);
            if !moved && !comes_back {
                return Ok(());
            }
            let retired = retired.filter(|_| !moved && !is_lost);
            on_db!(self.store, write db => {
                sqlx::query(BEGIN_ANEW).bind(Id::from(app)).bind(id).bind(before).bind(hook_url).bind(&sealed)
                    .bind(&retired).bind(organization).bind(now).bind(false).execute(db).await.map(|_| ())
            })?;
        }
        self.store.shared.routes.forget_app(app);
        Ok(())
    }

    /// Takes nothing more of a webhook that was taken away, if it was made for another organisation than this one.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn drop_foreign_secrets(self, app: AppId, organization: i64) -> Result<(), StoreError> {
        on_db!(self.store, write db => {
            sqlx::query(FORGET_SECRETS).bind(Id::from(app)).bind(organization).execute(db).await.map(|_| ())
        })?;
        self.store.shared.routes.forget_app(app);
        Ok(())
    }

    /// The app's webhook is to be looked at before anything else.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn schedule_check(self, app: AppId) -> Result<(), StoreError> {
        on_db!(self.store, write db => sqlx::query(HURRY).bind(Id::from(app)).execute(db).await.map(|_| ()))
    }

    /// The apps whose webhooks are to be looked at, with the organisations that they are connected to.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn due(
        self,
        environment: &str,
        has_static_key: bool,
        hook_url_of_none: &str,
    ) -> Result<Vec<(AppId, Option<i64>)>, StoreError> {
        let now = self.store.now();
        let due: Vec<(Id, Option<i64>)> = on_db!(self.store, read db => {
            sqlx::query_as(DUE).bind(now).bind(has_static_key).bind(hook_url_of_none).bind(environment)
                .fetch_all(db).await
        })?;
        Ok(due.into_iter().map(|(app, organization)| (app.into(), organization)).collect())
    }

    /// Takes the app's webhook into one's hands for so long. `None` when there is none, or others have it.
    ///
    /// # Errors
    /// The database could not be asked, or the secret was sealed with a key that is not configured.
    pub async fn claim(self, app: AppId, lease: TimeDelta) -> Result<Option<Claimed>, StoreError> {
        let now = self.store.now();
        let until = now + lease;
        let row: Option<Row> = on_db!(self.store, write db => {
            sqlx::query_as(CLAIM).bind(Id::from(app)).bind(now).bind(until).fetch_optional(db).await
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

    /// Gives a webhook back as it was.
    ///
    /// # Errors
    /// The database could not be asked; the claim ends by itself.
    pub async fn release(self, claimed: Claimed) -> Result<(), StoreError> {
        let (app, proof) = (Id::from(claimed.app), claimed.until);
        on_db!(self.store, write db => sqlx::query(RELEASE).bind(app).bind(proof).execute(db).await.map(|_| ()))
    }

    /// Gives a webhook a new secret, which is taken here from now on, beside the old ones. One that Dialpad has not
    /// heard of yet is not replaced by a newer one.
    ///
    /// # Errors
    /// The database could not be asked, or the claim has ended; nothing was changed then.
    pub async fn begin_rotation(self, claimed: &mut Claimed) -> Result<(), StoreError> {
        if claimed.webhook.is_rotating() {
            return Ok(());
        }
        let now = self.store.now();
        let mut rotated = claimed.webhook.clone();
        let old = std::mem::replace(&mut rotated.secret, fresh_secret());
        rotated.retired.insert(0, RetiredSecret { secret: old, until: None });
        rotated.retired.truncate(MOST_RETIRED);
        let secret = self.seal_secret(claimed.app, &rotated.secret);
        let retired = self.seal_retired(claimed.app, &rotated, now);
        let (app, proof) = (Id::from(claimed.app), claimed.until);
        let changed = on_db!(self.store, write db => {
            sqlx::query(ROTATE).bind(app).bind(proof).bind(&secret).bind(&retired).bind(now)
                .execute(db).await.map(|done| done.rows_affected())
        })?;
        self.store.shared.routes.forget_app(claimed.app);
        still_mine(changed)?;
        (claimed.webhook, claimed.was_rotating) = (rotated, true);
        Ok(())
    }

    /// Notes what was found and made at Dialpad, and gives the webhook back.
    ///
    /// # Errors
    /// The database could not be asked, or the claim has ended; nothing was changed then.
    pub async fn record_check(self, claimed: Claimed, note: &CheckNote) -> Result<(), StoreError> {
        let (webhook, now) = (&claimed.webhook, self.store.now());
        let (app, proof) = (Id::from(claimed.app), claimed.until);
        let is_rotated = claimed.was_rotating && !webhook.is_rotating();
        let retired = is_rotated.then(|| self.seal_retired(claimed.app, webhook, now));
        let problems = (!note.problems.is_empty()).then(|| serde_json::json!(note.problems).to_string());
        let changed = on_db!(self.store, write db => {
            sqlx::query(NOTE).bind(app).bind(proof).bind(&note.hook_url).bind(webhook.sms_with_texts).bind(&retired)
                .bind(&webhook.dialpad_webhook_id).bind(&webhook.call_subscription).bind(&webhook.sms_subscription)
                .bind(note.organization).bind(webhook.verified_at).bind(note.checked_at).bind(&problems)
                .bind(note.next_check_at).execute(db).await.map(|done| done.rows_affected())
        })?;
        self.store.shared.routes.forget_app(claimed.app);
        still_mine(changed)
    }

    /// Takes a webhook away. `takes_stragglers`: its secret is still taken for a while, because what was signed with
    /// it may be under way.
    ///
    /// # Errors
    /// The database could not be asked, or the claim has ended; nothing was changed then.
    pub async fn remove(self, claimed: Claimed, takes_stragglers: bool) -> Result<(), StoreError> {
        let now = self.store.now();
        let mut removed = claimed.webhook.clone();
        removed.finish_rotation(now);
        let last = RetiredSecret { secret: removed.secret.clone(), until: Some(now + RETIRED_FOR) };
        removed.retired.insert(0, last);
        let retired = takes_stragglers.then(|| self.seal_retired(claimed.app, &removed, now));
        let (app, proof) = (Id::from(claimed.app), claimed.until);
        let changed = on_db!(self.store, write db => {
            sqlx::query(REMOVE).bind(app).bind(proof).bind(&retired).bind(now)
                .execute(db).await.map(|done| done.rows_affected())
        })?;
        self.store.shared.routes.forget_app(claimed.app);
        still_mine(changed)
    }
}

fn still_mine(changed: u64) -> Result<(), StoreError> {
    if changed > 0 {
        return Ok(());
    }
    Err(StoreError::Conflict("the claim on the webhook has ended".into()))
}
