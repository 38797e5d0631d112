//! Renewals of token pairs: which process renews which pair, and the outcome. Over all processes, a connection has one
//! renewal at a time: the intent is stored before Dialpad is asked, and everything after that is guarded by the
//! generation.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    error::StoreError,
    event::{ConnectionEvent, Frame, connection_event},
    id::AppId,
    model::token::{DuePair, TokenPair, schedule::MIN_ATTEMPT_INTERVAL},
};
use secrecy::SecretString;

use super::connections::{Tokens, token_place};
use crate::store::{Renewals, db::types::Id, feed::append_event::AppendEvent, on_db};

/// How long an intent holds: longer than a request to Dialpad may take, and than clocks may differ. After that its
/// process has crashed, and another one takes over.
pub const LEASE: TimeDelta = TimeDelta::seconds(15);

/// How far the clocks of processes may differ.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);
/// No pause after a failure is longer.
const MAX_PAUSE: TimeDelta = TimeDelta::hours(2);

/// Renewals that a crash interrupted come first. What was stored in the future (`$5`) was stored while the clock was
/// ahead: such a pair is due, such an intent is that of a process that has ended.
const DUE: &str =
    "SELECT app_id, generation, COALESCE(refresh_begun_at, refresh_due_at) FROM dialpad_connections
    WHERE environment = $1 AND status = 'connected' AND refresh_token IS NOT NULL
    AND (refresh_begun_at <= $3 OR refresh_begun_at > $5
        OR (refresh_begun_at IS NULL AND (refresh_due_at <= $2 OR issued_at > $5 OR (refresh_failures > 0 AND refresh_due_at > $6))))
    ORDER BY refresh_begun_at IS NULL, refresh_due_at LIMIT $4";
const BEGIN: &str = "UPDATE dialpad_connections SET refresh_begun_at = $4
    WHERE app_id = $1 AND generation = $2 AND environment = $3 AND status = 'connected' AND refresh_token IS NOT NULL
    AND (refresh_begun_at IS NULL OR refresh_begun_at <= $5 OR refresh_begun_at > $7)
    AND (refresh_failures = 0 OR refresh_due_at <= $4 OR refresh_due_at > $8)
    AND (issued_at IS NULL OR issued_at <= $6 OR issued_at > $7)
    RETURNING refresh_token, refresh_failures";
const WHY_NOT: &str = "SELECT environment, generation, status, refresh_token IS NOT NULL AS is_renewable,
    access_token, issued_at, refresh_begun_at, refresh_failures, refresh_due_at, refresh_problem
    FROM dialpad_connections WHERE app_id = $1";

/// Guarded by the generation alone: even where the intent was taken over, the pair that Dialpad issued is the best one,
/// because the old refresh token may have been used up.
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

/// The right to request a new pair from Dialpad, exclusive for the length of the lease.
pub struct Intent {
    /// The pair that is to be replaced.
    pub pair: TokenPair,
    /// When the intent was stored. It also identifies the intent.
    pub begun_at: DateTime<Utc>,
    /// The refresh token; `None` where no key opens it.
    pub refresh_token: Option<SecretString>,
    /// How many attempts have failed since the last success.
    pub failures: u32,
}

/// The outcome of beginning a renewal.
pub enum Begun {
    /// The caller renews the pair.
    Intent(Intent),
    /// There is no refresh token: this access token is static.
    Static(SecretString),
    /// Another process renews it.
    UnderWay,
    /// The last attempt was too recent.
    TooSoon {
        /// When the next attempt is allowed.
        until: DateTime<Utc>,
        /// Why the last attempt failed.
        reason: String,
    },
    /// The pair was replaced by another one.
    Superseded,
    /// The pair has expired.
    Expired,
}

/// The outcome of storing a new pair.
pub enum Finished {
    /// It was stored, and these events were emitted.
    Stored(Vec<Frame>),
    /// The app was reconnected in the meantime.
    Superseded,
    /// The app was disconnected in the meantime.
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

/// The environment and the organization, which every event of a connection carries.
type Connected = (String, Option<i64>);

impl Renewals<'_> {
    /// Returns the pairs of an environment that are due for renewal by then, and that no process is renewing.
    pub async fn due(
        self,
        environment: &str,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<DuePair>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let now = self.store.now();
        let rows: Vec<(Id, i64, DateTime<Utc>)> = on_db!(self.store, read db => {
            sqlx::query_as(DUE).bind(environment).bind(until).bind(now - LEASE).bind(limit)
                .bind(now + CLOCK_TOLERANCE).bind(now + MAX_PAUSE).fetch_all(db).await
        })?;
        let due = |(app, generation, at): (Id, i64, DateTime<Utc>)| DuePair {
            pair: TokenPair { app_id: app.into(), generation },
            // One that is due later than was asked for was stored while the clock was ahead.
            at: if at > until { now } else { at },
        };
        Ok(rows.into_iter().map(due).collect())
    }

    /// Stores the intent to renew a pair, unless another process has.
    pub async fn begin(self, pair: TokenPair, environment: &str) -> Result<Begun, StoreError> {
        let app = Id::from(pair.app_id);
        let now = self.store.now();
        let row: Option<(Vec<u8>, i64)> = on_db!(self.store, write db => {
            sqlx::query_as(BEGIN).bind(app).bind(pair.generation).bind(environment).bind(now).bind(now - LEASE)
                .bind(now - MIN_ATTEMPT_INTERVAL).bind(now + CLOCK_TOLERANCE).bind(now + MAX_PAUSE)
                .fetch_optional(db).await
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
        // Where neither is in the future, the obstacle was gone by the second query.
        let until = paused_until.max(young_until).unwrap_or(now).max(now);
        Ok(Begun::TooSoon { until, reason })
    }

    /// Stores a new pair in place of the old one. When it fails, the caller must try again: the old pair may have been
    /// used up.
    pub async fn finish(self, pair: TokenPair, tokens: &Tokens) -> Result<Finished, StoreError> {
        let app = Id::from(pair.app_id);
        let now = self.store.now();
        let due_at = tokens.due_at();
        let (access, refresh) = self.store.connections().seal_tokens(pair.app_id, tokens);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let connected: Option<Connected> = sqlx::query_as(FINISH).bind(app).bind(pair.generation).bind(&access)
                .bind(&refresh).bind(tokens.issued_at).bind(tokens.expires_at).bind(due_at).bind(now)
                .fetch_optional(&mut *transaction).await?;
            let Some((environment, organization)) = connected else {
                let exists: Option<(i64,)> =
                    sqlx::query_as(EXISTS).bind(app).fetch_optional(&mut *transaction).await?;
                return Ok(if exists.is_some() { Finished::Superseded } else { Finished::Unwanted });
            };
            let recovered = sqlx::query(RECOVER).bind(app).execute(&mut *transaction).await?.rows_affected();
            let mut frames = Vec::new();
            if recovered > 0 {
                let event = connection_event(pair.app_id, ConnectionEvent::Recovered, &environment, organization, now);
                frames.push(transaction.append_event(pair.app_id, &event, now).await?);
            }
            transaction.commit().await?;
            Ok(Finished::Stored(frames))
        })
    }

    /// Stores that an attempt failed, and when to try again. The old pair stays. When this fails, the intent expires
    /// with its lease.
    pub async fn fail(
        self,
        intent: &Intent,
        reason: &str,
        again_at: DateTime<Utc>,
    ) -> Result<Vec<Frame>, StoreError> {
        let pair = intent.pair;
        let now = self.store.now();
        let app = Id::from(pair.app_id);
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let connected: Option<Connected> = sqlx::query_as(FAIL).bind(app).bind(pair.generation).bind(intent.begun_at)
                .bind(again_at).bind(reason).fetch_optional(&mut *transaction).await?;
            let Some((environment, organization)) = connected else { return Ok(Vec::new()) };
            let degraded =
                sqlx::query(DEGRADE).bind(app).bind(now).execute(&mut *transaction).await?.rows_affected();
            let mut frames = Vec::new();
            if degraded > 0 {
                let degraded = ConnectionEvent::Degraded { reason };
                let event = connection_event(pair.app_id, degraded, &environment, organization, now);
                frames.push(transaction.append_event(pair.app_id, &event, now).await?);
            }
            transaction.commit().await?;
            Ok(frames)
        })
    }

    /// Stores that a pair has expired. Returns `None` where it is not the present one, or was expired before.
    pub async fn expire(self, pair: TokenPair, reason: &str) -> Result<Option<Frame>, StoreError> {
        let app = Id::from(pair.app_id);
        let now = self.store.now();
        on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let connected: Option<Connected> = sqlx::query_as(EXPIRE).bind(app).bind(pair.generation).bind(reason)
                .bind(now).fetch_optional(&mut *transaction).await?;
            let Some((environment, organization)) = connected else { return Ok(None) };
            let event = connection_event(pair.app_id, ConnectionEvent::Expired, &environment, organization, now);
            let frame = transaction.append_event(pair.app_id, &event, now).await?;
            transaction.commit().await?;
            Ok(Some(frame))
        })
    }
}
