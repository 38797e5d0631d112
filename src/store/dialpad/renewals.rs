//! Renewing tokens, as the database sees it: who is at it, and what came of it. One at a time per connection, whatever
//! process: the intent is written before Dialpad is asked, and everything after it is guarded by the generation.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    error::StoreError,
    event::{ConnectionEvent, Frame, connection_event},
    id::AppId,
    model::token::{DuePair, TokenPair, schedule::MIN_ATTEMPT_INTERVAL},
};
use secrecy::SecretString;

use super::connections::{Tokens, token_place};
use crate::store::{Renewals, db::types::Id, feed::append_event::Tell, on_db};

/// How long an intent counts as somebody's: longer than Dialpad is waited for, and than clocks may differ. After that
/// whoever had it is dead, and it is taken over.
pub const LEASE: TimeDelta = TimeDelta::seconds(15);

/// What was begun and never ended comes first.
const DUE: &str =
    "SELECT app_id, generation, COALESCE(refresh_begun_at, refresh_due_at) FROM dialpad_connections
    WHERE environment = $1 AND status = 'connected' AND refresh_token IS NOT NULL
    AND (refresh_begun_at <= $3 OR (refresh_begun_at IS NULL AND refresh_due_at <= $2))
    ORDER BY refresh_begun_at IS NULL, refresh_due_at LIMIT $4";
const BEGIN: &str = "UPDATE dialpad_connections SET refresh_begun_at = $4
    WHERE app_id = $1 AND generation = $2 AND environment = $3 AND status = 'connected' AND refresh_token IS NOT NULL
    AND (refresh_begun_at IS NULL OR refresh_begun_at <= $5)
    AND (refresh_failures = 0 OR refresh_due_at <= $4) AND (issued_at IS NULL OR issued_at <= $6)
    RETURNING refresh_token, refresh_failures";
const WHY_NOT: &str = "SELECT environment, generation, status, refresh_token IS NOT NULL AS is_renewable,
    access_token, issued_at, refresh_begun_at, refresh_failures, refresh_due_at, refresh_problem
    FROM dialpad_connections WHERE app_id = $1";

/// Guarded by the generation alone: even when the intent was taken over meanwhile, a pair that Dialpad gave is the best
/// that is known, for the old refresh token may be spent.
const FINISH: &str = "UPDATE dialpad_connections SET access_token = $3,
    refresh_token = COALESCE($4, refresh_token), generation = generation + 1, issued_at = $5, expires_at = $6,
    refresh_due_at = $7, refresh_begun_at = NULL, refresh_failures = 0, refresh_problem = NULL, updated_at = $8
    WHERE app_id = $1 AND generation = $2 RETURNING environment, dialpad_org_id";
const RECOVER: &str = "UPDATE dialpad_connections SET status = 'connected', degraded_since = NULL
    WHERE app_id = $1 AND (degraded_since IS NOT NULL OR status <> 'connected')";
const EXISTS: &str = "SELECT generation FROM dialpad_connections WHERE app_id = $1";

const FAIL: &str = "UPDATE dialpad_connections SET refresh_begun_at = NULL,
    refresh_failures = refresh_failures + 1, refresh_due_at = $4, refresh_problem = $5
    WHERE app_id = $1 AND generation = $2 AND refresh_begun_at = $3 RETURNING environment, dialpad_org_id";
const DEGRADE: &str = "UPDATE dialpad_connections SET degraded_since = $2
    WHERE app_id = $1 AND degraded_since IS NULL AND status = 'connected'";
const EXPIRE: &str = "UPDATE dialpad_connections SET status = 'expired', refresh_begun_at = NULL,
    refresh_due_at = NULL, refresh_problem = $3, updated_at = $4
    WHERE app_id = $1 AND generation = $2 AND status = 'connected' RETURNING environment, dialpad_org_id";

/// The right to ask Dialpad for a new pair, which nobody else has for the time of the lease.
pub struct Intent {
    /// The pair that is to be replaced.
    pub pair: TokenPair,
    /// Names the intent.
    pub begun_at: DateTime<Utc>,
    /// What to ask with; `None` when no key opens it.
    pub refresh_token: Option<SecretString>,
    /// How many tries have failed since the last that did not.
    pub failures: u32,
}

/// What came of the wish to begin.
pub enum Begun {
    /// Go on.
    Intent(Intent),
    /// There is nothing to ask with: a static token.
    Static(SecretString),
    /// Another process is at it.
    UnderWay,
    /// It is too soon after the last try.
    TooSoon {
        /// When it may be tried.
        until: DateTime<Utc>,
        /// What the last try failed with.
        reason: String,
    },
    /// The pair is not the present one.
    Superseded,
    /// The tokens are dead.
    Expired,
}

/// What became of a new pair.
pub enum Finished {
    /// It is stored.
    Stored(Vec<Frame>),
    /// Meanwhile the app was connected anew.
    Superseded,
    /// Meanwhile the app was disconnected: nobody wants it any more.
    Unwanted,
}

#[derive(sqlx::FromRow)]
struct Obstacle {
    environment: String,
    generation: i64,
    status: String,
    is_renewable: bool,
    access_token: Vec<u8>,
    issued_at: Option<DateTime<Utc>>,
    refresh_begun_at: Option<DateTime<Utc>>,
    refresh_failures: i64,
    refresh_due_at: Option<DateTime<Utc>>,
    refresh_problem: Option<String>,
}

/// Environment and organisation, which every event of a connection names.
type Whose = (String, Option<i64>);

impl Renewals<'_> {
    /// The pairs of an environment that are to be replaced until then and that nobody is at.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn due(
        self,
        environment: &str,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<DuePair>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let dead = self.store.now() - LEASE;
        let rows: Vec<(Id, i64, DateTime<Utc>)> = on_db!(self.store, read db => {
            sqlx::query_as(DUE).bind(environment).bind(until).bind(dead).bind(limit).fetch_all(db).await
        })?;
        let due = |(app, generation, at): (Id, i64, _)| DuePair {
            pair: TokenPair { app_id: app.into(), generation },
            at,
        };
        Ok(rows.into_iter().map(due).collect())
    }

    /// Writes down that a pair is going to be replaced, unless somebody else has.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn begin(self, pair: TokenPair, environment: &str) -> Result<Begun, StoreError> {
        let (app, now) = (Id::from(pair.app_id), self.store.now());
        let row: Option<(Vec<u8>, i64)> = on_db!(self.store, write db => {
            sqlx::query_as(BEGIN).bind(app).bind(pair.generation).bind(environment).bind(now).bind(now - LEASE)
                .bind(now - MIN_ATTEMPT_INTERVAL).fetch_optional(db).await
        })?;
        if let Some((sealed, failures)) = row {
            let opened = self.store.shared.vault.open(&sealed, &token_place(pair.app_id, "refresh_token"));
            let failures = u32::try_from(failures).unwrap_or(u32::MAX);
            return Ok(Begun::Intent(Intent { pair, begun_at: now, refresh_token: opened.ok(), failures }));
        }
        let obstacle: Option<Obstacle> =
            on_db!(self.store, read db => sqlx::query_as(WHY_NOT).bind(app).fetch_optional(db).await)?;
        let Some(obstacle) =
            obstacle.filter(|found| found.generation == pair.generation && found.environment == environment)
        else {
            return Ok(Begun::Superseded);
        };
        self.explain(pair.app_id, obstacle, now)
    }

    fn explain(self, app: AppId, obstacle: Obstacle, now: DateTime<Utc>) -> Result<Begun, StoreError> {
        if obstacle.status != "connected" {
            return Ok(Begun::Expired);
        }
        if !obstacle.is_renewable {
            return self
                .store
                .connections()
                .open_access_token(app, &obstacle.access_token)
                .map(Begun::Static);
        }
        if obstacle.refresh_begun_at.is_some() {
            return Ok(Begun::UnderWay);
        }
        let paused_until = obstacle.refresh_due_at.filter(|_| obstacle.refresh_failures > 0);
        let young_until = obstacle.issued_at.map(|at| at + MIN_ATTEMPT_INTERVAL);
        let reason = obstacle.refresh_problem.unwrap_or_default();
        // Where neither lies ahead, whatever stood in the way has gone between the two looks.
        let until = paused_until.max(young_until).unwrap_or(now).max(now);
        Ok(Begun::TooSoon { until, reason })
    }

    /// Stores a new pair in place of the old one.
    ///
    /// # Errors
    /// The database could not be asked. The new pair must not be given up then: the old one may be spent.
    pub async fn finish(self, pair: TokenPair, tokens: &Tokens) -> Result<Finished, StoreError> {
        let (app, now, due_at) = (Id::from(pair.app_id), self.store.now(), tokens.due_at());
        let (access, refresh) = self.store.connections().seal_tokens(pair.app_id, tokens);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let whose: Option<Whose> = sqlx::query_as(FINISH).bind(app).bind(pair.generation).bind(&access)
                .bind(&refresh).bind(tokens.issued_at).bind(tokens.expires_at).bind(due_at).bind(now)
                .fetch_optional(&mut *transaction).await?;
            let Some((environment, organization)) = whose else {
                let exists: Option<(i64,)> =
                    sqlx::query_as(EXISTS).bind(app).fetch_optional(&mut *transaction).await?;
                return Ok(if exists.is_some() { Finished::Superseded } else { Finished::Unwanted });
            };
            let recovered = sqlx::query(RECOVER).bind(app).execute(&mut *transaction).await?.rows_affected();
            let mut told = Vec::new();
            if recovered > 0 {
                let event = connection_event(pair.app_id, ConnectionEvent::Recovered, &environment, organization, now);
                told.push(transaction.tell(pair.app_id, &event, now).await?);
            }
            transaction.commit().await?;
            Ok(Finished::Stored(told))
        })
    }

    /// Notes that a try has failed, and when to try again. The old pair stands.
    ///
    /// # Errors
    /// The database could not be asked; the intent then ends with its lease.
    pub async fn fail(
        self,
        intent: &Intent,
        reason: &str,
        again_at: DateTime<Utc>,
    ) -> Result<Vec<Frame>, StoreError> {
        let (pair, now) = (intent.pair, self.store.now());
        let app = Id::from(pair.app_id);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let whose: Option<Whose> = sqlx::query_as(FAIL).bind(app).bind(pair.generation).bind(intent.begun_at)
                .bind(again_at).bind(reason).fetch_optional(&mut *transaction).await?;
            let Some((environment, organization)) = whose else { return Ok(Vec::new()) };
            let degraded =
                sqlx::query(DEGRADE).bind(app).bind(now).execute(&mut *transaction).await?.rows_affected();
            let mut told = Vec::new();
            if degraded > 0 {
                let event = connection_event(pair.app_id, ConnectionEvent::Degraded, &environment, organization, now);
                told.push(transaction.tell(pair.app_id, &event, now).await?);
            }
            transaction.commit().await?;
            Ok(told)
        })
    }

    /// Notes that a pair is dead. `None` when it is not the present one, or that is known already.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn expire(self, pair: TokenPair, reason: &str) -> Result<Option<Frame>, StoreError> {
        let (app, now) = (Id::from(pair.app_id), self.store.now());
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let whose: Option<Whose> = sqlx::query_as(EXPIRE).bind(app).bind(pair.generation).bind(reason)
                .bind(now).fetch_optional(&mut *transaction).await?;
            let Some((environment, organization)) = whose else { return Ok(None) };
            let event = connection_event(pair.app_id, ConnectionEvent::Expired, &environment, organization, now);
            let frame = transaction.tell(pair.app_id, &event, now).await?;
            transaction.commit().await?;
            Ok(Some(frame))
        })
    }
}
