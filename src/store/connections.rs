//! Connections: which Dialpad organisation an app belongs to, and the tokens that open it. And, from them, where a
//! webhook goes.

use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    feed::Frame,
    id::AppId,
    token::{
        ConnectionNews, TokenPair,
        schedule::{self, Chance},
        tell,
    },
};
use dashmap::DashMap;
use secrecy::SecretString;

use super::{Store, on_db, telling::Tell, types::Id};

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
/// `$2`: whether this is the organisation of the static key, which counts for every app without a connection.
const APPS_OF_ORGANIZATION: &str = "SELECT apps.id, apps.is_active FROM apps
    LEFT JOIN dialpad_connections ON dialpad_connections.app_id = apps.id
    WHERE (dialpad_org_id = $1 OR ($2 AND dialpad_connections.app_id IS NULL))
    AND apps.id NOT IN (SELECT app_id FROM removed_apps) ORDER BY apps.id";
const ROUTE_OF_APP: &str = "SELECT apps.is_active, dialpad_connections.dialpad_org_id,
    CASE WHEN dialpad_webhooks.removed_at IS NULL THEN dialpad_webhooks.secret END,
    dialpad_webhooks.retired_secrets, dialpad_webhooks.dialpad_webhook_id IS NOT NULL
    FROM apps LEFT JOIN dialpad_connections ON dialpad_connections.app_id = apps.id
    LEFT JOIN dialpad_webhooks ON dialpad_webhooks.app_id = apps.id WHERE apps.id = $1
    AND apps.id NOT IN (SELECT app_id FROM removed_apps)";

/// How long a route is known without asking: how long another process's change may go unnoticed.
const CACHE_FOR: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

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
    pub(super) fn due_at(&self) -> Option<DateTime<Utc>> {
        let chance = Chance::of(rand::random());
        self.expires_at.map(|expires_at| schedule::due(self.issued_at, expires_at, chance))
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

/// An app to which an organisation's webhooks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The app.
    pub app_id: AppId,
    /// Whether it is switched on.
    pub is_active: bool,
}

/// What the address of one app's own webhooks stands for.
#[derive(Clone, Debug)]
pub struct OwnRoute {
    /// Whether the app is switched on.
    pub is_active: bool,
    /// The organisation it is connected to.
    pub dialpad_org_id: Option<i64>,
    /// The secrets of its own webhook: the present one, once it has one, and those that were rotated out a short
    /// while ago.
    pub secrets: Vec<SecretString>,
    /// Whether Dialpad has confirmed that webhook. Until then the global secrets are valid too: there may never be
    /// one.
    pub is_confirmed: bool,
}

impl OwnRoute {
    /// Whether a webhook that names this organisation is not meant for the app, whatever its address.
    #[must_use]
    pub fn is_foreign(&self, named: Option<i64>) -> bool {
        matches!((named, self.dialpad_org_id), (Some(named), Some(own)) if named != own)
    }
}

/// Routes that were looked up a moment ago.
#[derive(Default)]
pub(super) struct RouteCache {
    by_organization: DashMap<i64, (DateTime<Utc>, Vec<Route>)>,
    by_app: DashMap<AppId, (DateTime<Utc>, Option<OwnRoute>)>,
    /// The organisation of the static key, once it is known.
    of_static_key: OnceLock<i64>,
}

impl RouteCache {
    pub(super) fn forget_all(&self) {
        self.by_organization.clear();
        self.by_app.clear();
    }

    /// Only what is known of an app's own address.
    pub(super) fn forget_app(&self, app: AppId) {
        self.by_app.remove(&app);
    }
}

/// Switched on, organisation, sealed secret, sealed old secrets, confirmed.
type OwnRouteRow = (bool, Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>, bool);

/// Where a token is kept, for the vault.
pub(super) fn token_place(app: AppId, which: &str) -> String {
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

impl Store {
    /// Connects an app, or connects it anew, and tells so: one pair of tokens replaces the other in one transaction.
    ///
    /// # Errors
    /// The database could not be asked; the old tokens are kept then.
    pub async fn connect(
        &self,
        app: AppId,
        environment: &str,
        organization: Option<i64>,
        tokens: &Tokens,
        scopes: &str,
    ) -> Result<Frame, StoreError> {
        let (now, due_at) = (self.now(), tokens.due_at());
        // An app that is disconnected and connected again must not come by an old generation: a renewal that was
        // under way meanwhile would pass for one of the new tokens.
        let generation = now.timestamp_micros();
        let (access, refresh) = self.seal_tokens(app, tokens);
        let event = tell(app, ConnectionNews::Connected, environment, organization, now);
        let told = on_db!(self, write db => {
            let mut transaction = db.begin().await?;
            sqlx::query(CONNECT).bind(Id::from(app)).bind(environment).bind(organization).bind(&access).bind(&refresh)
                .bind(scopes).bind(generation).bind(tokens.issued_at).bind(tokens.expires_at).bind(due_at).bind(now)
                .execute(&mut *transaction).await?;
            let frame = transaction.tell(app, &event, now).await?;
            transaction.commit().await?;
            Ok(frame)
        });
        self.shared.routes.forget_all();
        told
    }

    /// Forgets an app's tokens, and tells so; `None` when there were none.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn disconnect(&self, app: AppId) -> Result<Option<Frame>, StoreError> {
        let now = self.now();
        let told = on_db!(self, write db => {
            let mut transaction = db.begin().await?;
            let deleted: Option<(String, Option<i64>)> =
                sqlx::query_as(DELETE).bind(Id::from(app)).fetch_optional(&mut *transaction).await?;
            let Some((environment, organization)) = deleted else { return Ok(None) };
            let event = tell(app, ConnectionNews::Disconnected, &environment, organization, now);
            let frame = transaction.tell(app, &event, now).await?;
            transaction.commit().await?;
            Ok(Some(frame))
        });
        self.shared.routes.forget_all();
        told
    }

    /// An app's connection.
    ///
    /// # Errors
    /// The database could not be asked, or its tokens were sealed with a key that is not configured.
    pub async fn connection(&self, app: AppId) -> Result<Option<Connection>, StoreError> {
        let row: Option<ConnectionRow> =
            on_db!(self, read db => sqlx::query_as(GET).bind(Id::from(app)).fetch_optional(db).await)?;
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
    pub async fn standing(&self, app: AppId) -> Result<Option<Standing>, StoreError> {
        on_db!(self, read db => sqlx::query_as(STANDING).bind(Id::from(app)).fetch_optional(db).await)
    }

    /// Access and refresh token as they are kept.
    pub(super) fn seal_tokens(&self, app: AppId, tokens: &Tokens) -> (Vec<u8>, Option<Vec<u8>>) {
        let seal = |token, which| self.shared.vault.seal(token, &token_place(app, which));
        let refresh = tokens.refresh.as_ref().map(|token| seal(token, "refresh_token"));
        (seal(&tokens.access, "access_token"), refresh)
    }

    pub(super) fn open_access_token(&self, app: AppId, sealed: &[u8]) -> Result<SecretString, StoreError> {
        self.shared.vault.open(sealed, &token_place(app, "access_token")).map_err(|_| StoreError::Corrupt {
            table: "dialpad_connections",
            column: "access_token",
            id: app.to_string(),
        })
    }

    /// Apps that are connected, nobody knows to which organisation.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn apps_without_organization(&self, environment: &str) -> Result<Vec<AppId>, StoreError> {
        let rows: Vec<(Id,)> = on_db!(self, read db => {
            sqlx::query_as(WITHOUT_ORGANIZATION).bind(environment).fetch_all(db).await
        })?;
        Ok(rows.into_iter().map(|(app,)| app.into()).collect())
    }

    /// Notes which organisation a pair of tokens belongs to; says whether that is news.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn set_organization(
        &self,
        app: AppId,
        generation: i64,
        organization: i64,
    ) -> Result<bool, StoreError> {
        let set = on_db!(self, write db => {
            sqlx::query(SET_ORGANIZATION).bind(Id::from(app)).bind(generation).bind(organization)
                .execute(db).await.map(|done| done.rows_affected() > 0)
        });
        self.shared.routes.forget_all();
        set
    }

    /// The organisation of the static key, once it is known.
    #[must_use]
    pub fn static_organization(&self) -> Option<i64> {
        self.shared.routes.of_static_key.get().copied()
    }

    /// From now on, apps without a connection belong to this organisation.
    pub fn set_static_organization(&self, organization: i64) {
        // It is asked for once per process; the first answer stays.
        let _ = self.shared.routes.of_static_key.set(organization);
        self.shared.routes.forget_all();
    }

    /// The apps that an organisation's webhooks go to.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn routes_of(&self, organization: i64) -> Result<Vec<Route>, StoreError> {
        let (now, cache) = (self.now(), &self.shared.routes.by_organization);
        if let Some(known) = cache.get(&organization)
            && known.0 > now
        {
            return Ok(known.1.clone());
        }
        let by_static_key = self.static_organization() == Some(organization);
        let rows: Vec<(Id, bool)> = on_db!(self, read db => {
            sqlx::query_as(APPS_OF_ORGANIZATION).bind(organization).bind(by_static_key).fetch_all(db).await
        })?;
        let routes: Vec<Route> =
            rows.into_iter().map(|(id, is_active)| Route { app_id: id.into(), is_active }).collect();
        cache.insert(organization, (now + CACHE_FOR, routes.clone()));
        Ok(routes)
    }

    /// What is known of the app whose own address a webhook was sent to; `None` when there is no such app. It may be
    /// a moment old: [`Self::own_route_now`] is not.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn own_route(&self, app: AppId) -> Result<Option<OwnRoute>, StoreError> {
        let now = self.now();
        if let Some(known) = self.shared.routes.by_app.get(&app)
            && known.0 > now
        {
            return Ok(known.1.clone());
        }
        self.own_route_now(app).await
    }

    /// The same as the database knows it now.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn own_route_now(&self, app: AppId) -> Result<Option<OwnRoute>, StoreError> {
        let now = self.now();
        let row: Option<OwnRouteRow> = on_db!(self, read db => sqlx::query_as(ROUTE_OF_APP).bind(Id::from(app)).fetch_optional(db).await)?;
        let route = match row {
            None => None,
            Some((is_active, dialpad_org_id, present, retired, is_confirmed)) => {
                let secrets = self.taken_secrets(app, present.as_deref(), retired.as_deref())?;
                Some(OwnRoute { is_active, dialpad_org_id, secrets, is_confirmed })
            }
        };
        if route.is_some() {
            // Only what exists is kept: a guesser must not fill the memory.
            self.shared.routes.by_app.insert(app, (now + CACHE_FOR, route.clone()));
        }
        Ok(route)
    }
}
