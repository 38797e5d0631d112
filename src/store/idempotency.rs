//! Requests that create something and may come twice: under an idempotency key, one of them is done, and the others
//! get its answer.
//!
//! A key is taken before anything is done ([`Idempotency::claim`]), and kept with the answer when that is known for good
//! ([`Idempotency::store_answer`]). What was begun and never answered is not simply begun again: whoever asks next, once
//! nobody is believed to be at work any more, is told that it is in doubt.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::error::StoreError;
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{Idempotency, db::types::Id, on_db};

const FORGET: &str = "DELETE FROM idempotency_keys WHERE scope = $1 AND key = $2 AND created_at < $3";
const TAKE: &str = "INSERT INTO idempotency_keys
    (scope, key, request_hash, correlation, attempt, held_until, created_at)
    VALUES ($1, $2, $3, $4, 1, $5, $6) ON CONFLICT DO NOTHING";
const GET: &str = "SELECT request_hash, correlation, attempt, held_until, status, answer, created_at
    FROM idempotency_keys WHERE scope = $1 AND key = $2";
/// Of two who find the same request in doubt, one takes it up.
const TAKE_UP: &str = "UPDATE idempotency_keys SET attempt = attempt + 1, held_until = $4
    WHERE scope = $1 AND key = $2 AND attempt = $3 AND status IS NULL";
/// Whichever attempt finds the answer: the first one counts.
const KEEP: &str = "UPDATE idempotency_keys SET status = $3, answer = $4
    WHERE scope = $1 AND key = $2 AND status IS NULL";
const RELEASE: &str = "DELETE FROM idempotency_keys
    WHERE scope = $1 AND key = $2 AND attempt = $3 AND status IS NULL";
const LEAVE_IN_DOUBT: &str = "UPDATE idempotency_keys SET held_until = $4
    WHERE scope = $1 AND key = $2 AND attempt = $3 AND status IS NULL";
const REMOVE_OLD: &str = "DELETE FROM idempotency_keys WHERE created_at < $1";

/// How long a key stands for its first request.
const LIFETIME: TimeDelta = TimeDelta::hours(24);
/// How long whoever took a request is believed to be at work: longer than anything that is asked of others for it.
const HELD_FOR: TimeDelta = TimeDelta::seconds(60);

/// A request under its key.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRequest<'a> {
    /// Who asks; the same key of another one is another key.
    pub scope: &'a str,
    /// The key.
    pub key: &'a str,
    /// What is asked for.
    pub hash: &'a [u8],
}

/// The right to answer the requests of a key.
#[derive(Clone, Debug)]
pub struct HeldKey {
    scope: String,
    key: String,
    attempt: i64,
    /// What the request is known by where it is passed on to; the same in every attempt.
    pub correlation: Uuid,
    /// When the first attempt began.
    pub begun_at: DateTime<Utc>,
}

/// What there is under a key.
#[derive(Debug)]
pub enum Taken {
    /// Nothing was: it is to be done now.
    Fresh(HeldKey),
    /// It was begun, nobody is at work on it any more, and what came of it is not known.
    InDoubt(HeldKey),
    /// Somebody is at work on it.
    UnderWay,
    /// It was answered.
    Answered(KeptAnswer),
    /// Another request was.
    AnotherRequest,
}

/// An answer as it was given the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
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
    fn is_in_doubt(&self, hash: &[u8], now: DateTime<Utc>) -> bool {
        self.status.is_none() && self.held_until <= now && self.request_hash == hash
    }
}

/// What the transaction found.
enum Found {
    Nothing,
    Row(Box<KeyRow>),
    /// It was in doubt and is ours now.
    Acquired(Box<KeyRow>),
    /// Somebody has just let go of it.
    Gone,
}

/// Where an answer is kept, for the vault.
pub(super) fn place(scope: &str, key: &str) -> String {
    format!("idempotency_keys.answer:{scope}:{key}")
}

impl Idempotency<'_> {
    /// Takes a key for a request, or says what there is under it.
    ///
    /// # Errors
    /// The database could not be asked, or the answer was sealed with a key that is not configured.
    pub async fn claim(self, request: KeyedRequest<'_>) -> Result<Taken, StoreError> {
        let KeyedRequest { scope, key, hash } = request;
        let now = self.store.now();
        let (correlation, held_until) = (Uuid::now_v7(), now + HELD_FOR);
        let found = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            // The first statement writes, so that SQLite takes its lock at the beginning.
            sqlx::query(FORGET).bind(scope).bind(key).bind(now - LIFETIME).execute(&mut *db).await?;
            let taken = sqlx::query(TAKE).bind(scope).bind(key).bind(hash).bind(Id(correlation)).bind(held_until)
                .bind(now).execute(&mut *db).await?;
            let found = if taken.rows_affected() > 0 {
                Found::Nothing
            } else {
                let row: Option<KeyRow> = sqlx::query_as(GET).bind(scope).bind(key).fetch_optional(&mut *db).await?;
                match row.map(Box::new) {
                    None => Found::Gone,
                    Some(row) if row.is_in_doubt(hash, now) => {
                        let taken_up = sqlx::query(TAKE_UP).bind(scope).bind(key).bind(row.attempt)
                            .bind(held_until).execute(&mut *db).await?;
                        if taken_up.rows_affected() > 0 { Found::Acquired(row) } else { Found::Row(row) }
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
            Found::Nothing => Taken::Fresh(held(1, correlation, now)),
            Found::Acquired(row) => Taken::InDoubt(held(row.attempt + 1, row.correlation.0, row.created_at)),
            Found::Gone => Taken::UnderWay,
            Found::Row(row) if row.request_hash != hash => Taken::AnotherRequest,
            Found::Row(row) => self.stored_answer(scope, key, *row)?.map_or(Taken::UnderWay, Taken::Answered),
        })
    }

    fn stored_answer(self, scope: &str, key: &str, row: KeyRow) -> Result<Option<KeptAnswer>, StoreError> {
        let (Some(status), Some(sealed)) = (row.status, row.answer) else { return Ok(None) };
        let corrupt =
            |column| StoreError::Corrupt { table: "idempotency_keys", column, id: format!("{scope}:{key}") };
        let status = u16::try_from(status).map_err(|_| corrupt("status"))?;
        let body =
            self.store.shared.vault.open(&sealed, &place(scope, key)).map_err(|_| corrupt("answer"))?;
        Ok(Some(KeptAnswer { status, body: body.expose_secret().to_owned() }))
    }

    /// From now on, the request is answered like this. Sealed, because an answer may hold a secret.
    ///
    /// # Errors
    /// The database could not be asked; the request is in doubt then.
    pub async fn store_answer(self, held: &HeldKey, answer: &KeptAnswer) -> Result<(), StoreError> {
        let HeldKey { scope, key, .. } = held;
        let sealed = self.store.shared.vault.seal(&answer.body.as_str().into(), &place(scope, key));
        let status = i64::from(answer.status);
        on_db!(self.store, write db => {
            sqlx::query(KEEP).bind(scope).bind(key).bind(status).bind(&sealed).execute(db).await.map(|_| ())
        })
    }

    /// Nothing was done: the key is as if it had never been used.
    ///
    /// # Errors
    /// The database could not be asked; the request is in doubt then.
    pub async fn release(self, held: &HeldKey) -> Result<(), StoreError> {
        let HeldKey { scope, key, attempt, .. } = held;
        on_db!(self.store, write db => {
            sqlx::query(RELEASE).bind(scope).bind(key).bind(attempt).execute(db).await.map(|_| ())
        })
    }

    /// What came of it is not known: whoever asks next takes it up at once.
    ///
    /// # Errors
    /// The database could not be asked; it is in doubt all the same, a little later.
    pub async fn leave_unknown(self, held: &HeldKey) -> Result<(), StoreError> {
        let HeldKey { scope, key, attempt, .. } = held;
        let now = self.store.now();
        on_db!(self.store, write db => {
            sqlx::query(LEAVE_IN_DOUBT).bind(scope).bind(key).bind(attempt).bind(now).execute(db).await.map(|_| ())
        })
    }

    /// Removes the keys that have had their time. Says how many there were.
    ///
    /// # Errors
    /// The database could not be asked; they go the next time.
    pub async fn prune(self) -> Result<u64, StoreError> {
        let before = self.store.now() - LIFETIME;
        on_db!(self.store, write db => {
            sqlx::query(REMOVE_OLD).bind(before).execute(db).await.map(|done| done.rows_affected())
        })
    }
}
