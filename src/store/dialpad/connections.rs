//! Connections: the Dialpad organization of an app, and the tokens for it.

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    event::{ConnectionEvent, Frame, connection_event},
    id::AppId,
    model::token::{
        TokenPair,
        schedule::{self, Jitter},
    },
};
use secrecy::SecretString;

use crate::store::{ConnectionStore, db::types::Id, feed::append_event::AppendEvent, on_db};

/// Resets what was known of renewing the pair before.
const CONNECT: &str = "INSERT INTO dialpad_connections
    (app_id, environment, dialpad_org_id, status, access_token, refresh_token, scopes, generation, issued_at,
     expires_at, refresh_due_at, connected_at, updated_at)
    VALUES ($1, $2, $3, 'connected', $4, $5, $6, $7, $8, $9, $10, $11, $11)
    ON CONFLICT (app_id) DO UPDATE SET
    environment = EXCLUDED.environment, dialpad_org_id = EXCLUDED.dialpad_org_id, status = EXCLUDED.status,
    access_token = EXCLUDED.access_token, refresh_token = EXCLUDED.refresh_token, scopes = EXCLUDED.scopes,
    generation = dialpad_connections.generation + 1, issued_at = EXCLUDED.issued_at,
    expires_at = EXCLUDED.expires_at, refresh_due_at = EXCLUDED.refresh_due_at, refresh_begun_at = NULL,
    refresh_failures = 0, degraded_since = NULL, refresh_problem = NULL,
    connected_at = EXCLUDED.connected_at, updated_at = EXCLUDED.updated_at";
const GET: &str = "SELECT environment, dialpad_org_id, status, access_token, generation, expires_at,
    refresh_token IS NOT NULL AS is_renewable
    FROM dialpad_connections WHERE app_id = $1";
const STATE: &str =
    "SELECT environment, dialpad_org_id, status, expires_at, connected_at, degraded_since, refresh_problem
    FROM dialpad_connections WHERE app_id = $1";
const WITHOUT_ORGANIZATION: &str = "SELECT app_id FROM dialpad_connections
    WHERE environment = $1 AND status = 'connected' AND dialpad_org_id IS NULL ORDER BY app_id LIMIT 100";
/// Guarded by the generation: the pair may have been replaced by one of another organization.
const SET_ORGANIZATION: &str = "UPDATE dialpad_connections SET dialpad_org_id = $3
    WHERE app_id = $1 AND generation = $2 AND dialpad_org_id IS NULL";
const DELETE: &str =
    "DELETE FROM dialpad_connections WHERE app_id = $1 RETURNING environment, dialpad_org_id";

/// A pair of tokens as Dialpad issued it.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access: SecretString,
    /// The refresh token, where the scope includes one.
    pub refresh: Option<SecretString>,
    /// When they were requested.
    pub issued_at: DateTime<Utc>,
    /// When `access` expires; `None` for a token that does not.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Tokens {
    /// Returns when the pair is to be renewed; `None` for a token that does not expire.
    pub(crate) fn due_at(&self) -> Option<DateTime<Utc>> {
        let jitter = Jitter::of(rand::random());
        self.expires_at.map(|expires_at| schedule::due(self.issued_at, expires_at, jitter))
    }
}

/// An app's connection with its access token.
#[derive(Clone, Debug)]
pub struct Connection {
    /// `sandbox` or `production`.
    pub environment: String,
    /// The organization, once it is known.
    pub dialpad_org_id: Option<i64>,
    /// Whether a person has to authorize the app again.
    pub is_expired: bool,
    /// The pair that the access token belongs to.
    pub pair: TokenPair,
    /// The access token.
    pub access_token: SecretString,
    /// When it expires; `None` for a token that does not.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether there is a refresh token.
    pub is_renewable: bool,
}

/// The state of an app's connection. No secret has to be decrypted to read it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ConnectionState {
    /// `sandbox` or `production`.
    pub environment: String,
    /// The organization, once it is known.
    pub dialpad_org_id: Option<i64>,
    /// `connected` or `expired`.
    pub status: String,
    /// When the access token expires; `None` for a token that does not.
    pub expires_at: Option<DateTime<Utc>>,
    /// When the app was connected.
    pub connected_at: DateTime<Utc>,
    /// Since when the tokens can't be renewed.
    pub degraded_since: Option<DateTime<Utc>>,
    /// Why they can't be renewed.
    pub refresh_problem: Option<String>,
}

/// Returns the place of a token, for the vault.
pub(crate) fn token_place(app: AppId, which: &str) -> String {
    format!("dialpad_connections.{which}:{app}")
}

#[derive(sqlx::FromRow)]
struct ConnectionRow {
    environment: String,
    dialpad_org_id: Option<i64>,
    status: String,
    access_token: Vec<u8>,
    generation: i64,
    expires_at: Option<DateTime<Utc>>,
    is_renewable: bool,
}

impl ConnectionStore<'_> {
    /// Connects an app, or reconnects it: the new pair of tokens replaces the old one in the transaction that emits
    /// `connection.connected`. When it fails, the old pair is kept.
    pub async fn connect(
        self,
        app: AppId,
        environment: &str,
        organization: Option<i64>,
        tokens: &Tokens,
        scopes: &str,
    ) -> Result<Frame, StoreError> {
        let now = self.store.now();
        let due_at = tokens.due_at();
        // An app that is disconnected and connected again must not get an old generation again: a renewal that was in
        // progress would be taken for one of the new tokens.
        let generation = now.timestamp_micros();
        let (access, refresh) = self.seal_tokens(app, tokens);
        let event = connection_event(app, ConnectionEvent::Connected, environment, organization, now);
        let appended = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            sqlx::query(CONNECT).bind(Id::from(app)).bind(environment).bind(organization).bind(&access).bind(&refresh)
                .bind(scopes).bind(generation).bind(tokens.issued_at).bind(tokens.expires_at).bind(due_at).bind(now)
                .execute(&mut *transaction).await?;
            let frame = transaction.append_event(app, &event, now).await?;
            transaction.commit().await?;
            Ok(frame)
        });
        self.store.shared.routes.clear();
        appended
    }

    /// Deletes an app's tokens and emits `connection.disconnected`. Returns `None` where there was no connection.
    pub async fn disconnect(self, app: AppId) -> Result<Option<Frame>, StoreError> {
        let now = self.store.now();
        let appended = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let deleted: Option<(String, Option<i64>)> =
                sqlx::query_as(DELETE).bind(Id::from(app)).fetch_optional(&mut *transaction).await?;
            let Some((environment, organization)) = deleted else { return Ok(None) };
            let event = connection_event(app, ConnectionEvent::Disconnected, &environment, organization, now);
            let frame = transaction.append_event(app, &event, now).await?;
            transaction.commit().await?;
            Ok(Some(frame))
        });
        self.store.shared.routes.clear();
        appended
    }

    /// Returns an app's connection.
    pub async fn find(self, app: AppId) -> Result<Option<Connection>, StoreError> {
        let row: Option<ConnectionRow> =
            on_db!(self.store, read db => sqlx::query_as(GET).bind(Id::from(app)).fetch_optional(db).await)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Connection {
            access_token: self.open_access_token(app, &row.access_token)?,
            environment: row.environment,
            dialpad_org_id: row.dialpad_org_id,
            is_expired: row.status != "connected",
            pair: TokenPair { app_id: app, generation: row.generation },
            expires_at: row.expires_at,
            is_renewable: row.is_renewable,
        }))
    }

    /// Returns the state of an app's connection.
    pub async fn state(self, app: AppId) -> Result<Option<ConnectionState>, StoreError> {
        on_db!(self.store, read db => sqlx::query_as(STATE).bind(Id::from(app)).fetch_optional(db).await)
    }

    /// Seals the access token and the refresh token.
    pub(crate) fn seal_tokens(self, app: AppId, tokens: &Tokens) -> (Vec<u8>, Option<Vec<u8>>) {
        let seal = |token, which| self.store.shared.vault.seal(token, &token_place(app, which));
        let refresh = tokens.refresh.as_ref().map(|token| seal(token, "refresh_token"));
        (seal(&tokens.access, "access_token"), refresh)
    }

    pub(crate) fn open_access_token(self, app: AppId, sealed: &[u8]) -> Result<SecretString, StoreError> {
        self.store.shared.vault.open(sealed, &token_place(app, "access_token")).map_err(|_| {
            StoreError::Corrupt { table: "dialpad_connections", column: "access_token", id: app.to_string() }
        })
    }

    /// Returns connected apps whose organization is not known.
    pub async fn without_organization(self, environment: &str) -> Result<Vec<AppId>, StoreError> {
        let rows: Vec<(Id,)> = on_db!(self.store, read db => {
            sqlx::query_as(WITHOUT_ORGANIZATION).bind(environment).fetch_all(db).await
        })?;
        Ok(rows.into_iter().map(|(app,)| app.into()).collect())
    }

    /// Stores the organization of a pair of tokens. Returns whether it was unknown before.
    pub async fn set_organization(
        self,
        app: AppId,
        generation: i64,
        organization: i64,
    ) -> Result<bool, StoreError> {
        let set = on_db!(self.store, write db => {
            sqlx::query(SET_ORGANIZATION).bind(Id::from(app)).bind(generation).bind(organization)
                .execute(db).await.map(|done| done.rows_affected() > 0)
        });
        self.store.shared.routes.clear();
        set
    }
}
