//! The processes that run.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cti_actors::error::StoreError;
use uuid::Uuid;

use crate::store::{
    Processes,
    db::{pool::Pools, types::Id},
    on_db,
};

macro_rules! processes {
    () => {
        "SELECT process_id, incarnation, host, machine, pid, version, is_stopping, started_at, seen_at FROM processes"
    };
}

/// `$6`: for how many milliseconds it is alive. Does nothing while another incarnation of this name is alive.
const REGISTER: &str = "INSERT INTO processes
    (process_id, incarnation, host, machine, pid, version, is_stopping, started_at, seen_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $7, FALSE, clock_timestamp(), clock_timestamp(),
        clock_timestamp() + $6 * INTERVAL '1 millisecond')
    ON CONFLICT (process_id) DO UPDATE SET incarnation = EXCLUDED.incarnation, host = EXCLUDED.host,
        machine = EXCLUDED.machine, pid = EXCLUDED.pid, version = EXCLUDED.version, is_stopping = FALSE,
        started_at = EXCLUDED.started_at, seen_at = EXCLUDED.seen_at, expires_at = EXCLUDED.expires_at
    WHERE processes.expires_at <= clock_timestamp()";
/// The lock of the file says that no other process is alive.
const FORGET_ALL_SQLITE: &str = "DELETE FROM processes";
const REGISTER_SQLITE: &str = "INSERT INTO processes
    (process_id, incarnation, host, machine, pid, version, is_stopping, started_at, seen_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, FALSE, $7, $7, $8)";
/// What an earlier incarnation held.
const RELEASE_APPS: &str = "UPDATE app_leases SET owner = NULL WHERE owner = $1";
const RELEASE_JOBS: &str = "DELETE FROM job_leases WHERE owner = $1";
const RENEW: &str = "WITH renewed AS (
        UPDATE processes SET is_stopping = $2, seen_at = clock_timestamp(),
            expires_at = clock_timestamp() + $3 * INTERVAL '1 millisecond'
        WHERE incarnation = $1 RETURNING process_id
    )
    SELECT clock_timestamp() AS now, (SELECT COUNT(*) FROM app_leases WHERE owner = process_id) AS apps FROM renewed";
const EXPIRE: &str = "UPDATE processes SET expires_at = seen_at WHERE incarnation = $1";
const REMOVE: &str = "DELETE FROM processes WHERE incarnation = $1";
const REMOVE_DEAD: &str =
    "DELETE FROM processes WHERE expires_at < clock_timestamp() - $1 * INTERVAL '1 millisecond'";
const ALIVE: &str = concat!(processes!(), " WHERE expires_at > clock_timestamp() ORDER BY process_id");
const ALL_SQLITE: &str = concat!(processes!(), " ORDER BY process_id");
const OTHERS_SINCE: &str = "SELECT EXISTS (SELECT 1 FROM processes
    WHERE expires_at > clock_timestamp() AND started_at < $1 AND NOT is_stopping AND incarnation <> $2)";
const SEEN_AT: &str = "SELECT incarnation, machine, pid, seen_at FROM processes WHERE process_id = $1";

/// A process that starts.
#[derive(Clone, Debug)]
pub struct NewProcess {
    /// Its name.
    pub process_id: String,
    /// This start of it.
    pub incarnation: Uuid,
    /// The name of the host that it runs on.
    pub host: String,
    /// Which running operating system that is.
    pub machine: String,
    /// Its id there.
    pub pid: i64,
}

/// The outcome of registering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The process is one of those that run.
    Done,
    /// A process with this name may still be alive.
    NameTaken {
        /// That start of it.
        incarnation: Uuid,
        /// Which operating system it runs on.
        machine: String,
        /// Its id there.
        pid: i64,
        /// When it last renewed.
        seen_at: DateTime<Utc>,
    },
}

/// What a renewal returns.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Renewed {
    /// The time of the database.
    pub now: DateTime<Utc>,
    /// How many apps the process holds.
    pub apps: i64,
}

/// A process that is alive.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ProcessRow {
    /// Its name.
    pub process_id: String,
    /// This start of it.
    #[sqlx(try_from = "Id")]
    pub incarnation: Uuid,
    /// The name of the host that it runs on.
    pub host: String,
    /// Which running operating system that is.
    pub machine: String,
    /// Its id there.
    pub pid: i64,
    /// The version of the server.
    pub version: String,
    /// Whether it gives its apps up.
    pub is_stopping: bool,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it last renewed.
    pub seen_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct SeenRow {
    incarnation: Id,
    machine: String,
    pid: i64,
    seen_at: DateTime<Utc>,
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Processes<'_> {
    /// Whether other processes can use the database at the same time.
    #[must_use]
    pub fn are_shared(self) -> bool {
        matches!(self.store.shared.database.pools(), Pools::Postgres(_))
    }

    /// Adds a process, which is alive for this time. What an earlier start under its name held is released.
    pub async fn register(self, process: &NewProcess, lease: Duration) -> Result<Registered, StoreError> {
        let NewProcess { process_id, incarnation, host, machine, pid } = process;
        let (id, version) = (Id(*incarnation), env!("CARGO_PKG_VERSION"));
        let (now, is_shared) = (self.store.now(), self.are_shared());
        let is_registered = on_db!(self.store, write db => {
            let mut transaction = db.begin().await?;
            let db = &mut *transaction;
            let registered = if is_shared {
                sqlx::query(REGISTER).bind(process_id).bind(id).bind(host).bind(machine).bind(pid)
                    .bind(milliseconds(lease)).bind(version).execute(&mut *db).await?
            } else {
                sqlx::query(FORGET_ALL_SQLITE).execute(&mut *db).await?;
                sqlx::query(REGISTER_SQLITE).bind(process_id).bind(id).bind(host).bind(machine).bind(pid)
                    .bind(version).bind(now).bind(now + lease).execute(&mut *db).await?
            };
            let is_registered = registered.rows_affected() > 0;
            if is_registered {
                sqlx::query(RELEASE_APPS).bind(process_id).execute(&mut *db).await?;
                sqlx::query(RELEASE_JOBS).bind(process_id).execute(&mut *db).await?;
            }
            transaction.commit().await?;
            Ok(is_registered)
        })?;
        if is_registered {
            // Set before where the same process has registered again.
            let _ = self.store.shared.incarnation.set(id.0);
            return Ok(Registered::Done);
        }
        let other: Option<SeenRow> = on_db!(self.store, read db => {
            sqlx::query_as(SEEN_AT).bind(process_id).fetch_optional(db).await
        })?;
        let Some(SeenRow { incarnation, machine, pid, seen_at }) = other else {
            return Err(StoreError::Conflict("the process with this name has just gone".into()));
        };
        Ok(Registered::NameTaken { incarnation: incarnation.0, machine, pid, seen_at })
    }

    /// Extends the life of a process by this time from now on. `None`: it is not one of those that run any more.
    pub async fn renew(
        self,
        incarnation: Uuid,
        is_stopping: bool,
        lease: Duration,
    ) -> Result<Option<Renewed>, StoreError> {
        on_db!(self.store, read db => {
            sqlx::query_as(RENEW).bind(Id(incarnation)).bind(is_stopping).bind(milliseconds(lease))
                .fetch_optional(db).await
        })
    }

    /// Ends the life of a process that is known to be gone.
    pub async fn expire(self, incarnation: Uuid) -> Result<(), StoreError> {
        on_db!(self.store, read db => sqlx::query(EXPIRE).bind(Id(incarnation)).execute(db).await.map(|_| ()))
    }

    /// Removes a process that stops.
    pub async fn remove(self, incarnation: Uuid) -> Result<(), StoreError> {
        on_db!(self.store, write db => sqlx::query(REMOVE).bind(Id(incarnation)).execute(db).await.map(|_| ()))
    }

    /// Removes the processes that have not been alive for this time.
    pub async fn remove_dead(self, time: Duration) -> Result<(), StoreError> {
        on_db!(self.store, read db => {
            sqlx::query(REMOVE_DEAD).bind(milliseconds(time)).execute(db).await.map(|_| ())
        })
    }

    /// Whether another process is alive that started before this instant.
    pub async fn others_since(self, at: DateTime<Utc>) -> Result<bool, StoreError> {
        let Some(own) = self.store.incarnation().filter(|_| self.are_shared()) else {
            return Ok(false);
        };
        on_db!(self.store, read db => sqlx::query_scalar(OTHERS_SINCE).bind(at).bind(own).fetch_one(db).await)
    }

    /// Returns the processes that are alive, by name.
    pub async fn alive(self) -> Result<Vec<ProcessRow>, StoreError> {
        let query = if self.are_shared() { ALIVE } else { ALL_SQLITE };
        on_db!(self.store, read db => sqlx::query_as(query).fetch_all(db).await)
    }
}
