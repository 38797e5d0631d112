//! API keys: only their SHA-256 is kept, one index probe finds one, and a cache spares the probe.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    error::{AuthError, StoreError},
    id::{AppId, KeyId},
    ports::{AuthenticatedKey, Authenticator},
};
use dashmap::DashMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::{
    ApiKeys, Store,
    db::{
        bulk::{Column, Lead, Rows},
        types::Id,
    },
    on_db,
};

pub(crate) const INSERT: &str = "INSERT INTO api_keys (id, app_id, key_hash, hint, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, NULL)";
const LOOK_UP: &str = "SELECT api_keys.id, api_keys.app_id, api_keys.expires_at, apps.is_active
    FROM api_keys JOIN apps ON apps.id = api_keys.app_id WHERE key_hash = $1";
/// `$1` is the present, the rows are ids of keys.
const STILL_VALID_HEAD: &str = "WITH present (at) AS (SELECT $1), asked (id) AS (";
const STILL_VALID_TAIL: &str = ")
    SELECT api_keys.id FROM asked JOIN api_keys ON api_keys.id = asked.id JOIN apps ON apps.id = api_keys.app_id
    JOIN present ON api_keys.expires_at IS NULL OR api_keys.expires_at > present.at WHERE apps.is_active";
const VALID: &str = "SELECT id, hint, created_at, expires_at FROM api_keys
    WHERE app_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY id";
/// Whoever changes an app's keys holds its row: of two at a time, the second one sees what the first has made.
const HOLD: &str = "UPDATE apps SET is_active = is_active WHERE id = $1";
/// Only ever sooner: a rotation must not lengthen the life of a key that an earlier one has limited.
const EXPIRE: &str =
    "UPDATE api_keys SET expires_at = $2 WHERE app_id = $1 AND (expires_at IS NULL OR expires_at > $2)
    RETURNING id, hint, created_at, expires_at";
const LAST_ROTATED: &str =
    "SELECT MAX(created_at) FROM api_key_audit_log WHERE app_id = $1 AND action = 'rotated'";
const AUDIT_PAGE: &str = "SELECT id, action, old_key_hint, new_key_hint, created_at FROM api_key_audit_log
    WHERE app_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3";
pub(crate) const AUDIT: &str =
    "INSERT INTO api_key_audit_log (id, app_id, action, old_key_hint, new_key_hint, created_at)
    VALUES ($1, $2, $3, $4, $5, $6)";

/// How long a key is known without asking the database: how long a revocation by another process may go unnoticed.
const CACHE_FOR: TimeDelta = TimeDelta::seconds(1);
/// When the cache is emptied: it only ever holds valid keys, so this is a matter of memory alone.
const CACHE_SIZE: usize = 50_000;

type Hash = [u8; 32];

/// Keys that were found valid a moment ago.
#[derive(Default)]
pub(crate) struct KeyCache {
    known: DashMap<Hash, Known>,
    /// Grows with every change to any key: what was read before a change is not cached after it.
    changes: AtomicU64,
}

#[derive(Clone, Copy)]
struct Known {
    admission: AuthenticatedKey,
    until: DateTime<Utc>,
}

impl KeyCache {
    pub(crate) fn forget_all(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.known.clear();
    }
}

/// A key, to be shown once.
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    /// The key itself.
    pub key: SecretString,
}

impl NewKey {
    /// `raw_` and 64 hex digits: 256 random bits.
    #[must_use]
    pub fn generate() -> Self {
        let bits: [u8; 32] = rand::random();
        Self { id: KeyId::generate(), key: format!("raw_{}", hex::encode(bits)).into() }
    }

    pub(crate) fn hint(&self) -> String {
        hint_of(self.key.expose_secret())
    }

    pub(crate) fn hash(&self) -> Vec<u8> {
        hash_of(self.key.expose_secret()).to_vec()
    }
}

/// The first and the last characters: enough to tell two keys apart, useless to anybody else.
fn hint_of(key: &str) -> String {
    let tail: String = key.chars().skip(key.chars().count().saturating_sub(4)).collect();
    let head: String = key.chars().take(8).collect();
    format!("{head}…{tail}")
}

fn hash_of(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}

/// A key that is valid, without the key.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct KeyInfo {
    #[sqlx(rename = "id")]
    key_id: Id,
    /// How it begins and ends.
    pub hint: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends, if that is known already.
    pub expires_at: Option<DateTime<Utc>>,
}

impl KeyInfo {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.key_id.into()
    }
}

/// Something that was done to an app's keys.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct AuditEntry {
    #[sqlx(rename = "id")]
    entry_id: Id,
    /// `created`, `rotated` or `revoked`.
    pub action: String,
    /// How the key that ended begins and ends.
    pub old_key_hint: Option<String>,
    /// How the new key does.
    pub new_key_hint: Option<String>,
    /// When it was done.
    pub created_at: DateTime<Utc>,
}

impl AuditEntry {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.entry_id.0
    }
}

impl ApiKeys<'_> {
    /// The keys of an app that are valid now, oldest first.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn valid(self, app: AppId) -> Result<Vec<KeyInfo>, StoreError> {
        let now = self.store.now();
        on_db!(self.store, read db => sqlx::query_as(VALID).bind(Id::from(app)).bind(now).fetch_all(db).await)
    }

    /// Gives an app a new key. The old ones stay valid for `grace`; those whose end is another one now are returned.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn rotate(
        self,
        app: AppId,
        key: &NewKey,
        grace: TimeDelta,
    ) -> Result<Vec<KeyInfo>, StoreError> {
        let now = self.store.now();
        let (app_id, key_id, audit_id) = (Id::from(app), Id::from(key.id), Id(Uuid::now_v7()));
        let rotated = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(HOLD).bind(app_id).execute(&mut *db).await?;
            let valid: Vec<KeyInfo> = sqlx::query_as(VALID).bind(app_id).bind(now).fetch_all(&mut *db).await?;
            let old_hint = valid.last().map(|key| &key.hint);
            let old: Vec<KeyInfo> =
                sqlx::query_as(EXPIRE).bind(app_id).bind(now + grace).fetch_all(&mut *db).await?;
            sqlx::query(INSERT).bind(key_id).bind(app_id).bind(key.hash()).bind(key.hint()).bind(now)
                .execute(&mut *db).await?;
            sqlx::query(AUDIT).bind(audit_id).bind(app_id).bind("rotated").bind(old_hint).bind(key.hint()).bind(now)
                .execute(&mut *db).await?;
            transaction.commit().await?;
            Ok(old)
        });
        self.store.shared.keys.forget_all();
        rotated
    }

    /// Ends all keys of an app at once, and returns them.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn revoke(self, app: AppId) -> Result<Vec<KeyInfo>, StoreError> {
        let (now, app_id) = (self.store.now(), Id::from(app));
        let revoked = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(HOLD).bind(app_id).execute(&mut *db).await?;
            let mut ended: Vec<KeyInfo> = sqlx::query_as(EXPIRE).bind(app_id).bind(now).fetch_all(&mut *db).await?;
            ended.sort_by_key(KeyInfo::id);
            for key in &ended {
                sqlx::query(AUDIT).bind(Id(Uuid::now_v7())).bind(app_id).bind("revoked").bind(&key.hint)
                    .bind(None::<String>).bind(now).execute(&mut *db).await?;
            }
            transaction.commit().await?;
            Ok(ended)
        });
        self.store.shared.keys.forget_all();
        revoked
    }

    /// When an app last got another key; `None` while it has the one that it was made with.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn last_rotated(self, app: AppId) -> Result<Option<DateTime<Utc>>, StoreError> {
        let (at,): (Option<DateTime<Utc>>,) = on_db!(self.store, read db => {
            sqlx::query_as(LAST_ROTATED).bind(Id::from(app)).fetch_one(db).await
        })?;
        Ok(at)
    }

    /// What was done to an app's keys, the newest first, at most `limit` behind the first `offset`.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn audit(self, app: AppId, limit: usize, offset: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        on_db!(self.store, read db => {
            sqlx::query_as(AUDIT_PAGE).bind(Id::from(app)).bind(limit).bind(offset).fetch_all(db).await
        })
    }
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: Id,
    app_id: Id,
    expires_at: Option<DateTime<Utc>>,
    is_active: bool,
}

#[async_trait]
impl Authenticator for Store {
    async fn authenticate(&self, api_key: &str) -> Result<AuthenticatedKey, AuthError> {
        let (hash, now, cache) = (hash_of(api_key), self.now(), &self.shared.keys);
        if let Some(known) = cache.known.get(&hash)
            && known.until > now
        {
            return Ok(known.admission);
        }
        let changes = cache.changes.load(Ordering::SeqCst);
        let row: Option<KeyRow> =
            on_db!(self, read db => sqlx::query_as(LOOK_UP).bind(hash.to_vec()).fetch_optional(db).await)?;
        let row = row.filter(|row| row.expires_at.is_none_or(|at| at > now)).ok_or(AuthError::UnknownKey)?;
        if !row.is_active {
            return Err(AuthError::AppInactive);
        }
        let admission =
            AuthenticatedKey { app_id: row.app_id.into(), key_id: row.id.into(), expires_at: row.expires_at };
        if cache.known.len() >= CACHE_SIZE {
            cache.known.clear();
        }
        let until = row.expires_at.map_or(now + CACHE_FOR, |at| at.min(now + CACHE_FOR));
        cache.known.insert(hash, Known { admission, until });
        if cache.changes.load(Ordering::SeqCst) != changes {
            // Something was revoked between the look-up and the insert; it may have been this key.
            cache.known.remove(&hash);
        }
        Ok(admission)
    }

    async fn still_valid(&self, keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
        let ids = Column::Id(keys.iter().map(|key| Id::from(*key)).collect());
        let asked = Rows::of(vec![ids]).behind(Lead::Time(self.now()));
        let rows: Vec<(Id,)> = self.fetch_listed(STILL_VALID_HEAD, STILL_VALID_TAIL, asked).await?;
        if rows.len() < keys.len() {
            // Another process has ended one: what is remembered of it here is wrong from now on.
            self.shared.keys.forget_all();
        }
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }
}
