//! Connections: which Dialpad organisation an app belongs to, and the tokens that open it.

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

use crate::store::{ConnectionStore, db::types::Id, feed::append_event::Tell, on_db};

/// Whatever was known of renewing the old pair goes with it.
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
const GET: &str = "SELECT environment, dialpad_org_id, status, access_token, generation, expires_at
    FROM dialpad_connections WHERE app_id = $1";
const STANDING: &str =
    "SELECT environment, dialpad_org_id, status, expires_at, connected_at, degraded_since, refresh_problem
    FROM dialpad_connections WHERE app_id = $1";
const WITHOUT_ORGANIZATION: &str = "SELECT app_id FROM dialpad_connections
    WHERE environment = $1 AND status = 'connected' AND dialpad_org_id IS NULL ORDER BY app_id LIMIT 100";
/// Whose the pair is does not change; it may have been replaced by one of another organisation.
const SET_ORGANIZATION: &str = "UPDATE dialpad_connections SET dialpad_org_id = $3
    WHERE app_id = $1 AND generation = $2 AND dialpad_org_id IS NULL";
const DELETE: &str =
    "DELETE FROM dialpad_connections WHERE app_id = $1 RETURNING environment, dialpad_org_id";
/// Tokens as Dialpad gave them.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Opens the API.
    pub access: SecretString,
    /// Gets the next pair, where the scope allows it.
    pub refresh: Option<SecretString>,
    /// When they were asked for.
    pub issued_at: DateTime<Utc>,
    /// When `access` ends; `None` for a static token.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Tokens {
    /// When the next pair is to be got; `None` for a static token.
    pub(crate) fn due_at(&self) -> Option<DateTime<Utc>> {
        let jitter = Jitter::of(rand::random());
        self.expires_at.map(|expires_at| schedule::due(self.issued_at, expires_at, jitter))
    }
}

/// An app's connection, ready for use.
#[derive(Clone, Debug)]
pub struct Connection {
    /// `sandbox` or `production`.
    pub environment: String,
    /// The organisation.
    pub dialpad_org_id: Option<i64>,
    /// Whether somebody has to authorise again.
    pub is_expired: bool,
    /// Which pair the token is of.
    pub pair: TokenPair,
    /// Opens the API.
    pub access_token: SecretString,
    /// When it ends; `None` for a static token.
    pub expires_at: Option<DateTime<Utc>>,
}

/// How an app's connection stands. Needs no key to be read.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Standing {
    /// `sandbox` or `production`.
    pub environment: String,
    /// The organisation.
    pub dialpad_org_id: Option<i64>,
    /// `connected` or `expired`.
    pub status: String,
    /// When the present token ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When the app was connected.
    pub connected_at: DateTime<Utc>,
    /// Since when tokens can't be renewed.
    pub degraded_since: Option<DateTime<Utc>>,
    /// Why they can't.
    pub refresh_problem: Option<String>,
}

/// Where a token is kept, for the vault.
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
}

impl ConnectionStore<'_> {
    /// Connects an app, or connects it anew, and tells so: one pair of tokens replaces the other in one transaction.
    ///
    /// # Errors
    /// The database could not be asked; the old tokens are kept then.
    pub async fn connect(
        self,
        app: AppId,
        environment: &str,
        organization: Option<i64>,
        tokens: &Tokens,
        scopes: &str,
    ) -> Result<Frame, StoreError> {
        let (now, due_at) = (self.store.now(), tokens.due_at());
        // An app that is disconnected and connected again must not come by an old generation: a renewal that was
        // under way meanwhile would pass for one of the new tokens.
        let generation = now.timestamp_micros();
        let (access, refresh) = self.seal_tokens(app, tokens);
        let event = connection_event(app, ConnectionEvent::Connected, environment, organization, now);
        let told = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            sqlx::query(CONNECT).bind(Id::from(app)).bind(environment).bind(organization).bind(&access).bind(&refresh)
                .bind(scopes).bind(generation).bind(tokens.issued_at).bind(tokens.expires_at).bind(due_at).bind(now)
                .execute(&mut *transaction).await?;
            let frame = transaction.tell(app, &event, now).await?;
            transaction.commit().await?;
            Ok(frame)
        });
        self.store.shared.routes.forget_all();
        told
    }

    /// Forgets an app's tokens, and tells so; `None` when there were none.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn disconnect(self, app: AppId) -> Result<Option<Frame>, StoreError> {
        let now = self.store.now();
        let told = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let deleted: Option<(String, Option<i64>)> =
                sqlx::query_as(DELETE).bind(Id::from(app)).fetch_optional(&mut *transaction).await?;
            let Some((environment, organization)) = deleted else { return Ok(None) };
            let event = connection_event(app, ConnectionEvent::Disconnected, &environment, organization, now);
            let frame = transaction.tell(app, &event, now).await?;
            transaction.commit().await?;
            Ok(Some(frame))
        });
        self.store.shared.routes.forget_all();
        told
    }

    /// An app's connection.
    ///
    /// # Errors
    /// The database could not be asked, or its tokens were sealed with a key that is not configured.
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
        }))
    }

    /// How an app's connection stands.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn state(self, app: AppId) -> Result<Option<Standing>, StoreError> {
        on_db!(self.store, read db => sqlx::query_as(STANDING).bind(Id::from(app)).fetch_optional(db).await)
    }

    /// Access and refresh token as they are kept.
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

    /// Apps that are connected, nobody knows to which organisation.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn without_organization(self, environment: &str) -> Result<Vec<AppId>, StoreError> {
        let rows: Vec<(Id,)> = on_db!(self.store, read db => {
            sqlx::query_as(WITHOUT_ORGANIZATION).bind(environment).fetch_all(db).await
        })?;
        Ok(rows.into_iter().map(|(app,)| app.into()).collect())
    }

    /// Notes which organisation a pair of tokens belongs to; says whether that is news.
    ///
    /// # Errors
    /// The database could not be asked.
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
        self.store.shared.routes.forget_all();
        set
    }
}
