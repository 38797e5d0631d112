//! Authorizations in progress: from the redirect to Dialpad until the callback. They are stored, so that any process
//! can take the callback and a restart loses none.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{error::StoreError, id::AppId};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::store::{OauthSessions, db::types::Id, on_db};

const INSERT: &str = "INSERT INTO oauth_sessions
    (state_hash, app_id, environment, verifier, browser_hash, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
/// Taking deletes: of two callbacks with one state, one gets the row.
const TAKE: &str = "DELETE FROM oauth_sessions WHERE state_hash = $1 RETURNING app_id, environment, verifier, browser_hash, expires_at";
const DELETE_OLD: &str = "DELETE FROM oauth_sessions WHERE expires_at < $1";

/// How long a person has to approve.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// An authorization in progress.
pub struct OauthSession {
    /// The app to be connected.
    pub app_id: AppId,
    /// `sandbox` or `production`.
    pub environment: String,
    /// The PKCE verifier.
    pub verifier: SecretString,
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

fn place(state_hash: &[u8]) -> String {
    format!("oauth_sessions.verifier:{}", hex::encode(state_hash))
}

type SessionRow = (Id, String, Vec<u8>, Vec<u8>, DateTime<Utc>);

impl OauthSessions<'_> {
    /// Begins an authorization under this state, bound to the browser that has the cookie `browser`.
    pub async fn begin(self, state: &str, browser: &str, session: &OauthSession) -> Result<(), StoreError> {
        let state_hash = hash(state);
        let browser_hash = hash(browser);
        let now = self.store.now();
        let verifier = self.store.shared.vault.seal(&session.verifier, &place(&state_hash));
        on_db!(self.store, write db => {
            sqlx::query(INSERT).bind(&state_hash).bind(Id::from(session.app_id)).bind(&session.environment)
                .bind(&verifier).bind(&browser_hash).bind(now).bind(now + LIFETIME).execute(db).await.map(|_| ())
        })
    }

    /// Takes the authorization that was begun under this state; the state can't be used again. Returns `None` where
    /// there is none, where it has expired, or where another browser began it.
    pub async fn take(self, state: &str, browser: Option<&str>) -> Result<Option<OauthSession>, StoreError> {
        let state_hash = hash(state);
        let row: Option<SessionRow> =
            on_db!(self.store, write db => sqlx::query_as(TAKE).bind(&state_hash).fetch_optional(db).await)?;
        let Some((app_id, environment, verifier, browser_hash, expires_at)) = row else { return Ok(None) };
        let same_browser = browser.is_some_and(|browser| hash(browser) == browser_hash);
        if !same_browser || expires_at <= self.store.now() {
            return Ok(None);
        }
        let verifier = self.store.shared.vault.open(&verifier, &place(&state_hash)).ok();
        Ok(verifier.map(|verifier| OauthSession { app_id: app_id.into(), environment, verifier }))
    }

    /// Deletes expired authorizations. Returns how many there were.
    pub async fn prune(self) -> Result<u64, StoreError> {
        let now = self.store.now();
        on_db!(self.store, write db => {
            sqlx::query(DELETE_OLD).bind(now).execute(db).await.map(|done| done.rows_affected())
        })
    }
}

/// Generates 256 random bits in hex: a state, or the cookie of a browser.
#[must_use]
pub fn random_token() -> SecretString {
    let bits: [u8; 32] = rand::random();
    hex::encode(bits).into()
}
