//! API keys: only their SHA-256 is stored. One index probe finds a key, and a cache saves the probe.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    clock::new_uuid,
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
        bulk::{Column, FirstParam, Rows},
        types::Id,
    },
    on_db,
};

pub(crate) const INSERT: &str = "INSERT INTO api_keys (id, app_id, key_hash, hint, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, NULL)";
const LOOK_UP: &str = "SELECT api_keys.id, api_keys.app_id, api_keys.expires_at, apps.is_active
    FROM api_keys JOIN apps ON apps.id = api_keys.app_id WHERE key_hash = $1";
/// `$1` is the present; the rows are ids of keys.
const STILL_VALID_HEAD: &str = "WITH present (at) AS (SELECT $1), asked (id) AS (";
const STILL_VALID_TAIL: &str = ")
    SELECT api_keys.id FROM asked JOIN api_keys ON api_keys.id = asked.id JOIN apps ON apps.id = api_keys.app_id
    JOIN present ON api_keys.expires_at IS NULL OR api_keys.expires_at > present.at WHERE apps.is_active";
const VALID: &str = "SELECT id, hint, created_at, expires_at FROM api_keys
    WHERE app_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY id";
/// Locks the app's row: of two changes to its keys at the same time, the second one sees the result of the first.
const LOCK: &str = "UPDATE apps SET is_active = is_active WHERE id = $1";
/// Only ever sooner: a rotation must not extend a key that an earlier one has limited.
const EXPIRE: &str =
    "UPDATE api_keys SET expires_at = $2 WHERE app_id = $1 AND (expires_at IS NULL OR expires_at > $2)
    RETURNING id, hint, created_at, expires_at";
const LAST_ROTATED: &str =
    "SELECT MAX(created_at) FROM api_key_audit_log WHERE app_id = $1 AND action = 'rotated'";
const AUDIT_PAGE: &str =
    "SELECT id, action, old_key_hint, new_key_hint, number_hash, created_at FROM api_key_audit_log
    WHERE app_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3";
pub(crate) const AUDIT: &str =
    "INSERT INTO api_key_audit_log (id, app_id, action, old_key_hint, new_key_hint, created_at)
    VALUES ($1, $2, $3, $4, $5, $6)";

/// How long a key is cached: how long a revocation by another process may go unnoticed.
const CACHE_TTL: TimeDelta = TimeDelta::seconds(1);
/// The cache is cleared at this size. It holds only valid keys, so the limit only bounds memory.
const MAX_CACHED: usize = 50_000;

/// The hint of a key of which only the hash is known.
pub(crate) const UNKNOWN_HINT: &str = "…";

type Hash = [u8; 32];

/// Keys that were found valid a moment ago.
///
/// A revocation removes the entry in the same call as the row. Entries end by the store's clock, and never later than
/// their key.
#[derive(Default)]
pub(crate) struct KeyCache {
    valid: DashMap<Hash, CachedKey>,
    /// Grows with every change to any key: what was read before a change is not cached after it.
    changes: AtomicU64,
}

#[derive(Clone, Copy)]
struct CachedKey {
    key: AuthenticatedKey,
    until: DateTime<Utc>,
}

impl KeyCache {
    pub(crate) fn clear(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.valid.clear();
    }

    fn get(&self, hash: &Hash, now: DateTime<Utc>) -> Option<AuthenticatedKey> {
        self.valid.get(hash).filter(|cached| cached.until > now).map(|cached| cached.key)
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Caches a key that was looked up when there had been so many changes.
    fn insert(&self, hash: Hash, key: AuthenticatedKey, now: DateTime<Utc>, changes: u64) {
        if self.valid.len() >= MAX_CACHED {
            self.valid.clear();
        }
        let until = key.expires_at.map_or(now + CACHE_TTL, |at| at.min(now + CACHE_TTL));
        self.valid.insert(hash, CachedKey { key, until });
        if self.changes() != changes {
            // A key was revoked between the look-up and the insert; it may have been this one.
            self.valid.remove(&hash);
        }
    }
}

/// A new key, to be shown once.
pub struct NewKey {
    /// The id.
    pub id: KeyId,
    /// The key itself.
    pub key: SecretString,
}

impl NewKey {
    /// Generates `raw_` and 64 hex digits: 256 random bits.
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

/// Returns the first and the last characters: enough to tell two keys apart, useless to authenticate with.
fn hint_of(key: &str) -> String {
    let tail: String = key.chars().skip(key.chars().count().saturating_sub(4)).collect();
    let head: String = key.chars().take(8).collect();
    format!("{head}…{tail}")
}

fn hash_of(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}

/// What is known of a stored key.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct KeyInfo {
    /// The id.
    #[sqlx(try_from = "Id")]
    pub id: KeyId,
    /// Its first and last characters.
    pub hint: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it expires; `None` while no end is set.
    pub expires_at: Option<DateTime<Utc>>,
}

/// An entry of the audit log of an app's keys.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct AuditEntry {
    /// The id.
    #[sqlx(try_from = "Id")]
    pub id: Uuid,
    /// `created`, `rotated`, `revoked`, or `erased`.
    pub action: String,
    /// The hint of the key that was replaced or revoked.
    pub old_key_hint: Option<String>,
    /// The hint of the new key.
    pub new_key_hint: Option<String>,
    /// A hash of the number of a person who was erased.
    pub number_hash: Option<String>,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

impl ApiKeys<'_> {
    /// Returns the keys of an app that are valid now, oldest first.
    pub async fn valid(self, app: AppId) -> Result<Vec<KeyInfo>, StoreError> {
        let now = self.store.now();
        on_db!(self.store, read db => sqlx::query_as(VALID).bind(Id::from(app)).bind(now).fetch_all(db).await)
    }

    /// Gives an app a new key. The old ones stay valid for `grace`; those whose expiry changed are returned.
    pub async fn rotate(
        self,
        app: AppId,
        key: &NewKey,
        grace: TimeDelta,
    ) -> Result<Vec<KeyInfo>, StoreError> {
        let now = self.store.now();
        let app_id = Id::from(app);
        let key_id = Id::from(key.id);
        let audit_id = Id(new_uuid());
        let rotated = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(LOCK).bind(app_id).execute(&mut *db).await?;
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
        self.store.shared.keys.clear();
        rotated
    }

    /// Revokes all keys of an app at once, and returns them.
    pub async fn revoke(self, app: AppId) -> Result<Vec<KeyInfo>, StoreError> {
        let now = self.store.now();
        let app_id = Id::from(app);
        let revoked = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            sqlx::query(LOCK).bind(app_id).execute(&mut *db).await?;
            let mut ended: Vec<KeyInfo> = sqlx::query_as(EXPIRE).bind(app_id).bind(now).fetch_all(&mut *db).await?;
            ended.sort_by_key(|key| key.id);
            for key in &ended {
                sqlx::query(AUDIT).bind(Id(new_uuid())).bind(app_id).bind("revoked").bind(&key.hint)
                    .bind(None::<String>).bind(now).execute(&mut *db).await?;
            }
            transaction.commit().await?;
            Ok(ended)
        });
        self.store.shared.keys.clear();
        revoked
    }

    /// Returns when an app's key was last rotated; `None` while it has its first one.
    pub async fn last_rotated(self, app: AppId) -> Result<Option<DateTime<Utc>>, StoreError> {
        on_db!(self.store, read db => sqlx::query_scalar(LAST_ROTATED).bind(Id::from(app)).fetch_one(db).await)
    }

    /// Returns the audit log of an app's keys, newest first: at most `limit` entries after the first `offset`.
    pub async fn audit(self, app: AppId, limit: usize, offset: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        on_db!(self.store, read db => {
            sqlx::query_as(AUDIT_PAGE).bind(Id::from(app)).bind(limit).bind(offset).fetch_all(db).await
        })
    }
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    #[sqlx(try_from = "Id")]
    id: KeyId,
    #[sqlx(try_from = "Id")]
    app_id: AppId,
    expires_at: Option<DateTime<Utc>>,
    is_active: bool,
}

#[async_trait]
impl Authenticator for Store {
    async fn authenticate(&self, api_key: &str) -> Result<AuthenticatedKey, AuthError> {
        let hash = hash_of(api_key);
        let now = self.now();
        let cache = &self.shared.keys;
        if let Some(key) = cache.get(&hash, now) {
            return Ok(key);
        }
        let changes = cache.changes();
        let row: Option<KeyRow> =
            on_db!(self, read db => sqlx::query_as(LOOK_UP).bind(hash.to_vec()).fetch_optional(db).await)?;
        let row = row.filter(|row| row.expires_at.is_none_or(|at| at > now)).ok_or(AuthError::UnknownKey)?;
        if !row.is_active {
            return Err(AuthError::AppInactive);
        }
        let key = AuthenticatedKey { app_id: row.app_id, key_id: row.id, expires_at: row.expires_at };
        cache.insert(hash, key, now, changes);
        Ok(key)
    }

    async fn still_valid(&self, keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
        let ids = Column::Id(keys.iter().map(|key| Id::from(*key)).collect());
        let asked = Rows::of(vec![ids]).after(FirstParam::Time(self.now()));
        let rows: Vec<(Id,)> = self.fetch_listed(STILL_VALID_HEAD, STILL_VALID_TAIL, asked).await?;
        if rows.len() < keys.len() {
            // Another process has revoked one: the cache may still have it.
            self.shared.keys.clear();
        }
        Ok(rows.into_iter().map(|(id,)| id.into()).collect())
    }
}
