//! The import of another server's database: [`source`] reads it, this file writes what neither the engine nor the journal
//! writes. Calls and messages are units of work, and webhooks are appended to the journal, as those over HTTP are.
//!
//! What is there already is left alone, so an import can be run again. Each method that writes returns whether the row is
//! new. With `keep` off it finds that out and writes nothing.

pub mod source;

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, KeyId, VoicemailId},
    model::call::Direction,
};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Imports,
    db::{pool::Pools, types::Id},
    dialpad::connections::Tokens,
    on_db,
    tenants::api_keys::{self, NewKey},
};

/// An app that was deleted here is not created again.
const APP: &str = "INSERT INTO apps (id, name, is_active, created_at, updated_at, e164_region)
    SELECT $1, $2, $3, $4, $5, 'US' WHERE NOT EXISTS (SELECT 1 FROM deleted_apps WHERE app_id = $1)
    ON CONFLICT (id) DO NOTHING";
const FEED: &str = "INSERT INTO event_feeds (app_id) VALUES ($1)";
const KEY: &str = "INSERT INTO api_keys (id, app_id, key_hash, hint, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, NULL) ON CONFLICT DO NOTHING";
const CONNECTION: &str = "INSERT INTO dialpad_connections
    (app_id, environment, dialpad_org_id, status, access_token, refresh_token, scopes, generation, issued_at,
     expires_at, refresh_due_at, connected_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (app_id) DO NOTHING";
const MAPPING: &str =
    "INSERT INTO dialpad_user_mappings (id, app_id, dialpad_user_id, crm_user_id, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
const AUDIT: &str =
    "INSERT INTO api_key_audit_log (id, app_id, action, old_key_hint, new_key_hint, created_at)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
const VOICEMAIL: &str =
    "INSERT INTO voicemails (id, app_id, dialpad_voicemail_id, dialpad_user_id, direction, from_number,
    to_number, from_e164, to_e164, recording_url, transcript, duration_seconds, received_at, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14) ON CONFLICT (id) DO NOTHING";
/// What two connections to the same tables have in common, whatever the addresses that they were opened with.
const IDENTITY: &str = "SELECT CONCAT(CURRENT_DATABASE(), '/', CURRENT_SCHEMA(), '/',
    EXTRACT(EPOCH FROM PG_POSTMASTER_START_TIME()))";

/// An app.
#[derive(Clone, Debug)]
pub struct ImportedApp {
    /// The id that it had.
    pub id: AppId,
    /// The name.
    pub name: String,
    /// Whether it is active.
    pub is_active: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// An API key that stays valid.
pub enum ImportedKey {
    /// The key itself.
    Plain(SecretString),
    /// Its SHA-256.
    Hash([u8; 32]),
}

/// The connection of an app to Dialpad.
#[derive(Clone, Debug)]
pub struct ImportedConnection {
    /// The app.
    pub app_id: AppId,
    /// `sandbox` or `production`.
    pub environment: String,
    /// The organization.
    pub organization: Option<i64>,
    /// The tokens; `None` where they can't be used, and a person has to authorize the app again.
    pub tokens: Option<Tokens>,
    /// The scopes that were granted.
    pub scopes: String,
    /// When the app was connected.
    pub connected_at: DateTime<Utc>,
    /// When the tokens were last renewed.
    pub updated_at: DateTime<Utc>,
}

/// A Dialpad user and the same person in the CRM.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of a mapping's columns")]
pub struct ImportedMapping {
    pub id: Uuid,
    pub app_id: AppId,
    pub dialpad_user_id: i64,
    pub crm_user_id: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// An entry of the audit log of an app's keys.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of an entry's columns")]
pub struct ImportedAudit {
    pub id: Uuid,
    pub app_id: AppId,
    pub action: String,
    pub old_key_hint: Option<String>,
    pub new_key_hint: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// A voicemail without a call.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of a voicemail's columns")]
pub struct ImportedVoicemail {
    pub id: VoicemailId,
    pub app_id: AppId,
    pub dialpad_voicemail_id: Option<String>,
    pub dialpad_user_id: Option<i64>,
    pub from_number: Option<String>,
    pub to_number: Option<String>,
    pub from_e164: Option<String>,
    pub to_e164: Option<String>,
    pub recording_url: Option<String>,
    pub transcript: Option<String>,
    pub duration_seconds: Option<i64>,
    pub received_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Imports<'_> {
    /// Returns what identifies the tables that are open; `None` for those of SQLite.
    pub async fn identity(self) -> Result<Option<String>, StoreError> {
        let database = &self.store.shared.database;
        let Pools::Postgres(pools) = database.pools() else { return Ok(None) };
        database.in_time(sqlx::query_scalar(IDENTITY).fetch_one(&pools.read)).await.map(Some)
    }

    /// Creates an app without a key. Returns `false` also for one that was deleted here.
    pub async fn app(self, app: &ImportedApp, keep: bool) -> Result<bool, StoreError> {
        let id = Id::from(app.id);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let created = sqlx::query(APP).bind(id).bind(&app.name).bind(app.is_active).bind(app.created_at)
                .bind(app.updated_at).execute(&mut *transaction).await?.rows_affected() > 0;
            if created {
                sqlx::query(FEED).bind(id).execute(&mut *transaction).await?;
            }
            if keep {
                transaction.commit().await?;
            }
            Ok(created)
        })
    }

    /// Gives an app a key. Returns `false` where the key is in use already.
    pub async fn key(self, app: AppId, key: &ImportedKey, at: DateTime<Utc>) -> Result<bool, StoreError> {
        let (hash, hint) = match key {
            ImportedKey::Plain(key) => {
                let key = NewKey { id: KeyId::generate(), key: key.clone() };
                (key.hash(), key.hint())
            }
            ImportedKey::Hash(hash) => (hash.to_vec(), api_keys::UNKNOWN_HINT.to_owned()),
        };
        let id = Id::from(KeyId::generate());
        on_db!(self.store, write db => {
            let query = sqlx::query(KEY).bind(id).bind(Id::from(app)).bind(&hash).bind(&hint).bind(at);
            query.execute(db).await.map(|done| done.rows_affected() > 0)
        })
    }

    /// Connects an app without emitting an event.
    pub async fn connection(self, connection: &ImportedConnection, keep: bool) -> Result<bool, StoreError> {
        let app = connection.app_id;
        let none = Tokens {
            access: SecretString::default(),
            refresh: None,
            issued_at: connection.updated_at,
            expires_at: Some(connection.updated_at),
        };
        let status = if connection.tokens.is_some() { "connected" } else { "expired" };
        let tokens = connection.tokens.as_ref().unwrap_or(&none);
        let due_at = tokens.due_at().filter(|_| tokens.refresh.is_some());
        let (access, refresh) = self.store.connections().seal_tokens(app, tokens);
        let generation = self.store.now().timestamp_micros();
        on_db!(self.store, write db => {
            let query = sqlx::query(CONNECTION).bind(Id::from(app)).bind(&connection.environment).bind(connection.organization)
                .bind(status).bind(&access).bind(&refresh).bind(&connection.scopes).bind(generation)
                .bind(tokens.issued_at).bind(tokens.expires_at).bind(due_at).bind(connection.connected_at)
                .bind(connection.updated_at);
            let mut transaction = db.begin().await?;
            let is_new = query.execute(&mut *transaction).await?.rows_affected() > 0;
            if keep {
                transaction.commit().await?;
            }
            Ok(is_new)
        })
    }

    /// Maps a user.
    pub async fn mapping(self, mapping: &ImportedMapping, keep: bool) -> Result<bool, StoreError> {
        on_db!(self.store, write db => {
            let query = sqlx::query(MAPPING).bind(Id(mapping.id)).bind(Id::from(mapping.app_id)).bind(mapping.dialpad_user_id)
                .bind(&mapping.crm_user_id).bind(mapping.created_at).bind(mapping.updated_at);
            let mut transaction = db.begin().await?;
            let is_new = query.execute(&mut *transaction).await?.rows_affected() > 0;
            if keep {
                transaction.commit().await?;
            }
            Ok(is_new)
        })
    }

    /// Adds an entry to the audit log.
    pub async fn audit(self, entry: &ImportedAudit, keep: bool) -> Result<bool, StoreError> {
        on_db!(self.store, write db => {
            let query = sqlx::query(AUDIT).bind(Id(entry.id)).bind(Id::from(entry.app_id)).bind(&entry.action)
                .bind(&entry.old_key_hint).bind(&entry.new_key_hint).bind(entry.created_at);
            let mut transaction = db.begin().await?;
            let is_new = query.execute(&mut *transaction).await?.rows_affected() > 0;
            if keep {
                transaction.commit().await?;
            }
            Ok(is_new)
        })
    }

    /// Adds a voicemail that belongs to no call.
    pub async fn voicemail(self, voicemail: &ImportedVoicemail, keep: bool) -> Result<bool, StoreError> {
        let it = voicemail;
        on_db!(self.store, write db => {
            let query = sqlx::query(VOICEMAIL).bind(Id::from(it.id)).bind(Id::from(it.app_id)).bind(&it.dialpad_voicemail_id)
                .bind(it.dialpad_user_id).bind(Direction::Inbound.as_str()).bind(&it.from_number).bind(&it.to_number)
                .bind(&it.from_e164).bind(&it.to_e164).bind(&it.recording_url).bind(&it.transcript)
                .bind(it.duration_seconds).bind(it.received_at).bind(it.updated_at);
            let mut transaction = db.begin().await?;
            let is_new = query.execute(&mut *transaction).await?.rows_affected() > 0;
            if keep {
                transaction.commit().await?;
            }
            Ok(is_new)
        })
    }
}

/// Returns an id in the order of time, the same one for the same row every time: the server's lists and look-ups rely on
/// ids that begin with the time, which those of the source may not.
#[must_use]
pub fn stable_id(kind: &str, app: AppId, row: &str, at: DateTime<Utc>) -> Uuid {
    let digest = Sha256::new().chain_update(kind).chain_update(app.0).chain_update(row).finalize();
    let mut rest = [0; 10];
    rest.copy_from_slice(&digest[..10]);
    let milliseconds = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &rest).into_uuid()
}
