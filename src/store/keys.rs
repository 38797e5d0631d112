//! API keys: only their SHA-256 is kept, one index probe finds one, and a cache spares the probe.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    error::{Denial, StoreError},
    id::{AppId, KeyId},
    ports::{Admission, Gate},
};
use dashmap::DashMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Store, on_db, types::Id};

pub(super) const INSERT: &str = "INSERT INTO api_keys (id, app_id, key_hash, hint, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, NULL)";
const LOOK_UP: &str = "SELECT api_keys.id, api_keys.app_id, api_keys.expires_at, apps.is_active
    FROM api_keys JOIN apps ON apps.id = api_keys.app_id WHERE key_hash = $1";
const VALID: &str = "SELECT id, hint, created_at FROM api_keys
    WHERE app_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY id";
/// Only ever sooner: a rotation must not lengthen the life of a key that an earlier one has limited.
const EXPIRE: &str =
    "UPDATE api_keys SET expires_at = $2 WHERE app_id = $1 AND (expires_at IS NULL OR expires_at > $2)";
pub(super) const AUDIT: &str =
    "INSERT INTO api_key_audit_log (id, app_id, action, old_key_hint, new_key_hint, created_at)
    VALUES ($1, $2, $3, $4, $5, $6)";

/// How long a key is known without asking the database: how long a revocation by another process may go unnoticed.
const CACHE_FOR: TimeDelta = TimeDelta::seconds(2);
/// When the cache is emptied: it only ever holds valid keys, so this is a matter of memory alone.
const CACHE_SIZE: usize = 50_000;

type Hash = [u8; 32];

/// Keys that were found valid a moment ago.
#[derive(Default)]
pub(super) struct KeyCache {
    known: DashMap<Hash, Known>,
    /// Grows with every change to any key: what was read before a change is not cached after it.
    changes: AtomicU64,
}

#[derive(Clone, Copy)]
struct Known {
    admission: Admission,
    until: DateTime<Utc>,
}

impl KeyCache {
    fn forget_all(&self) {
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

    pub(super) fn hint(&self) -> String {
        hint_of(self.key.expose_secret())
    }

    pub(super) fn hash(&self) -> Vec<u8> {
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
}

impl KeyInfo {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.key_id.into()
    }
}

impl Store {
    /// The keys of an app that are valid now, oldest first.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn valid_keys(&self, app: AppId) -> Result<Vec<KeyInfo>, StoreError> {
        let now = self.now();
        on_db!(self, read db => sqlx::query_as(VALID).bind(Id::from(app)).bind(now).fetch_all(db).await)
    }

    /// Gives an app a new key. The old ones stay valid for `grace`, and are returned.
    ///
    /// # Errors
    /// The database could not be asked; no key was changed then.
    pub async fn rotate_key(
        &self,
        app: AppId,
        key: &NewKey,
        grace: TimeDelta,
    ) -> Result<Vec<KeyInfo>, StoreError> {
        let now = self.now();
        let old = self.valid_keys(app).await?;
        let (old_hint, new_hint) = (old.last().map(|key| key.hint.clone()), key.hint());
        let (app_id, key_id, audit_id) = (Id::from(app), Id::from(key.id), Id(Uuid::now_v7()));
        let rotated = on_db!(self, write db => {
            let mut transaction = db.begin().await?;
                sqlx::query(EXPIRE).bind(app_id).bind(now + grace).execute(&mut *transaction).await?;
                sqlx::query(INSERT).bind(key_id).bind(app_id).bind(key.hash()).bind(&new_hint).bind(now)
                    .execute(&mut *transaction).await?;
                sqlx::query(AUDIT).bind(audit_id).bind(app_id).bind("rotated").bind(&old_hint).bind(&new_hint).bind(now)
                    .execute(&mut *transaction).await?;
            transaction.commit().await
        });
        self.shared.keys.forget_all();
        rotated.map(|()| old)
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
impl Gate for Store {
    async fn admit(&self, api_key: &str) -> Result<Admission, Denial> {
        let (hash, now, cache) = (hash_of(api_key), self.now(), &self.shared.keys);
        if let Some(known) = cache.known.get(&hash)
            && known.until > now
        {
            return Ok(known.admission);
        }
        let changes = cache.changes.load(Ordering::SeqCst);
        let row: Option<KeyRow> =
            on_db!(self, read db => sqlx::query_as(LOOK_UP).bind(hash.to_vec()).fetch_optional(db).await)?;
        let row = row.filter(|row| row.expires_at.is_none_or(|at| at > now)).ok_or(Denial::UnknownKey)?;
        if !row.is_active {
            return Err(Denial::AppInactive);
        }
        let admission =
            Admission { app_id: row.app_id.into(), key_id: row.id.into(), expires_at: row.expires_at };
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
}
