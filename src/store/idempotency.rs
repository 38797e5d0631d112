//! Idempotency keys: of several requests under one key, one is executed, and the others get its answer.
//!
//! A request claims its key before it does anything ([`Idempotency::claim`]), and stores the answer when that is final
//! ([`Idempotency::store_answer`]). A request that was never answered is not simply executed again: once its lease has
//! expired, the next one learns that the outcome is unknown.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{clock::new_uuid, error::StoreError};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{Idempotency, db::types::Id, on_db};

const DELETE_EXPIRED: &str = "DELETE FROM idempotency_keys WHERE scope = $1 AND key = $2 AND created_at < $3";
const CLAIM: &str = "INSERT INTO idempotency_keys
    (scope, key, request_hash, correlation, attempt, held_until, created_at)
    VALUES ($1, $2, $3, $4, 1, $5, $6) ON CONFLICT DO NOTHING";
const GET: &str = "SELECT request_hash, correlation, attempt, held_until, status, answer, created_at
    FROM idempotency_keys WHERE scope = $1 AND key = $2";
/// Of two requests that find the same unknown outcome, one takes over.
const TAKE_OVER: &str = "UPDATE idempotency_keys SET attempt = attempt + 1, held_until = $4
    WHERE scope = $1 AND key = $2 AND attempt = $3 AND status IS NULL";
/// The first answer counts, whichever attempt it comes from.
const STORE_ANSWER: &str = "UPDATE idempotency_keys SET status = $3, answer = $4
    WHERE scope = $1 AND key = $2 AND status IS NULL";
const RELEASE: &str = "DELETE FROM idempotency_keys
    WHERE scope = $1 AND key = $2 AND attempt = $3 AND status IS NULL";
const EXPIRE_LEASE: &str = "UPDATE idempotency_keys SET held_until = $4
    WHERE scope = $1 AND key = $2 AND attempt = $3 AND status IS NULL";
const DELETE_OLD: &str = "DELETE FROM idempotency_keys WHERE created_at < $1";

/// How long a key is kept after its first request.
const LIFETIME: TimeDelta = TimeDelta::hours(24);
/// How long a request may take: longer than anything that it waits for.
const LEASE: TimeDelta = TimeDelta::seconds(60);

/// A request under its key.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRequest<'a> {
    /// The client; the same key of another client is another key.
    pub scope: &'a str,
    /// The key.
    pub key: &'a str,
    /// A hash of the request.
    pub hash: &'a [u8],
}

/// The right to answer the requests of a key.
#[derive(Clone, Debug)]
pub struct HeldKey {
    scope: String,
    key: String,
    attempt: i64,
    /// Identifies the request at Dialpad; the same in every attempt.
    pub correlation: Uuid,
    /// When the first attempt began.
    pub begun_at: DateTime<Utc>,
}

/// The outcome of claiming a key.
#[derive(Debug)]
pub enum Claim {
    /// The key is new: the caller executes the request.
    New(HeldKey),
    /// An earlier attempt began and was never answered: its outcome is unknown, and the caller decides.
    OutcomeUnknown(HeldKey),
    /// Another attempt is in progress.
    InProgress,
    /// The request was answered.
    Answered(StoredAnswer),
    /// The key was used for another request.
    OtherRequest,
}

/// The answer of the first attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    request_hash: Vec<u8>,
    correlation: Id,
    attempt: i64,
    held_until: DateTime<Utc>,
    status: Option<i64>,
    answer: Option<Vec<u8>>,
    created_at: DateTime<Utc>,
}

impl KeyRow {
    fn is_abandoned(&self, hash: &[u8], now: DateTime<Utc>) -> bool {
        // A lease that is longer than any was stored while the clock was ahead.
        let has_expired = self.held_until <= now || self.held_until > now + LEASE * 2;
        self.status.is_none() && has_expired && self.request_hash == hash
    }
}

/// What the transaction found.
enum Found {
    Nothing,
    Row(Box<KeyRow>),
    /// It was abandoned and is the caller's now.
    TakenOver(Box<KeyRow>),
    /// It was released between two statements.
    Released,
}

/// Returns the place of an answer, for the vault.
pub(super) fn place(scope: &str, key: &str) -> String {
    format!("idempotency_keys.answer:{scope}:{key}")
}

impl Idempotency<'_> {
    /// Claims a key for a request.
    pub async fn claim(self, request: KeyedRequest<'_>) -> Result<Claim, StoreError> {
        let KeyedRequest { scope, key, hash } = request;
        let now = self.store.now();
        let expired_before = self.store.expired_before(LIFETIME);
        let correlation = new_uuid();
        let held_until = now + LEASE;
        let found = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            // The first statement writes, so that SQLite takes its lock at the beginning.
            sqlx::query(DELETE_EXPIRED).bind(scope).bind(key).bind(expired_before).execute(&mut *db).await?;
            let claimed = sqlx::query(CLAIM).bind(scope).bind(key).bind(hash).bind(Id(correlation)).bind(held_until)
                .bind(now).execute(&mut *db).await?;
            let found = if claimed.rows_affected() > 0 {
                Found::Nothing
            } else {
                let row: Option<KeyRow> = sqlx::query_as(GET).bind(scope).bind(key).fetch_optional(&mut *db).await?;
                match row.map(Box::new) {
                    None => Found::Released,
                    Some(row) if row.is_abandoned(hash, now) => {
                        let taken_over = sqlx::query(TAKE_OVER).bind(scope).bind(key).bind(row.attempt)
                            .bind(held_until).execute(&mut *db).await?;
                        if taken_over.rows_affected() > 0 { Found::TakenOver(row) } else { Found::Row(row) }
                    }
                    Some(row) => Found::Row(row),
                }
            };
            transaction.commit().await?;
            Ok(found)
        })?;
        let held = |attempt, correlation, begun_at| HeldKey {
            scope: scope.to_owned(),
            key: key.to_owned(),
            attempt,
            correlation,
            begun_at,
        };
        Ok(match found {
            Found::Nothing => Claim::New(held(1, correlation, now)),
            Found::TakenOver(row) => {
                Claim::OutcomeUnknown(held(row.attempt + 1, row.correlation.0, row.created_at))
            }
            Found::Released => Claim::InProgress,
            Found::Row(row) if row.request_hash != hash => Claim::OtherRequest,
            Found::Row(row) => {
                self.stored_answer(scope, key, *row)?.map_or(Claim::InProgress, Claim::Answered)
            }
        })
    }

    fn stored_answer(self, scope: &str, key: &str, row: KeyRow) -> Result<Option<StoredAnswer>, StoreError> {
        let (Some(status), Some(sealed)) = (row.status, row.answer) else { return Ok(None) };
        let corrupt =
            |column| StoreError::Corrupt { table: "idempotency_keys", column, id: format!("{scope}:{key}") };
        let status = u16::try_from(status).map_err(|_| corrupt("status"))?;
        let body =
            self.store.shared.vault.open(&sealed, &place(scope, key)).map_err(|_| corrupt("answer"))?;
        Ok(Some(StoredAnswer { status, body: body.expose_secret().to_owned() }))
    }

    /// Stores the final answer of a request. It is sealed, because it may contain a secret.
    pub async fn store_answer(self, held: &HeldKey, answer: &StoredAnswer) -> Result<(), StoreError> {
        let HeldKey { scope, key, .. } = held;
        let sealed = self.store.shared.vault.seal(&answer.body.as_str().into(), &place(scope, key));
        let status = i64::from(answer.status);
        on_db!(self.store, write db => {
            sqlx::query(STORE_ANSWER).bind(scope).bind(key).bind(status).bind(&sealed).execute(db).await.map(|_| ())
        })
    }

    /// Releases a key whose request did nothing: it counts as never used.
    pub async fn release(self, held: &HeldKey) -> Result<(), StoreError> {
        let HeldKey { scope, key, attempt, .. } = held;
        on_db!(self.store, write db => {
            sqlx::query(RELEASE).bind(scope).bind(key).bind(attempt).execute(db).await.map(|_| ())
        })
    }

    /// Ends the lease of a request whose outcome is unknown: the next one need not wait for it to expire.
    pub async fn leave_unknown(self, held: &HeldKey) -> Result<(), StoreError> {
        let HeldKey { scope, key, attempt, .. } = held;
        let now = self.store.now();
        on_db!(self.store, write db => {
            sqlx::query(EXPIRE_LEASE).bind(scope).bind(key).bind(attempt).bind(now).execute(db).await.map(|_| ())
        })
    }

    /// Deletes expired keys. Returns how many there were.
    pub async fn prune(self) -> Result<u64, StoreError> {
        let before = self.store.expired_before(LIFETIME);
        on_db!(self.store, write db => {
            sqlx::query(DELETE_OLD).bind(before).execute(db).await.map(|done| done.rows_affected())
        })
    }
}
