//! Group commit: everything that waits when the writer is free shares one transaction and one fsync. There is no timer,
//! so a single request never waits for others to come.
//!
//! There are two lanes: appends to the journal, which an acknowledgement waits for, and units of work. PostgreSQL runs
//! them side by side, so an acknowledgement never waits behind a batch. SQLite has one writer: there, appends go first
//! and batches of units stay short.

use std::sync::Arc;

use cti_actors::{
    error::StoreError,
    unit::{Receipt, Unit},
};
use metrics::histogram;
use tokio::sync::{mpsc, oneshot};

use super::{
    append::{self, Appended, Inserted, JournalRow},
    pending::DurableSender,
};
use crate::{
    store::{
        db::pool::{Database, Pools, store_error},
        ledger::{self, UnitFailure},
    },
    webhook::new_webhook::NewWebhook,
};

/// How many requests may wait for a lane. Beyond that, there is no durable place left.
const MAX_WAITING: usize = 8192;
/// How many requests share a transaction of appends.
const MAX_APPENDS: usize = 512;
/// How many units of work share a transaction.
const MAX_UNITS: usize = 16;
/// How many units share one on SQLite, where acknowledgements wait behind them.
const MAX_UNITS_BESIDE_APPENDS: usize = 2;

/// The webhooks of one request: all are written or none.
struct AppendJob {
    webhooks: Vec<NewWebhook>,
    reply: oneshot::Sender<Result<Vec<Appended>, StoreError>>,
}

struct UnitJob {
    unit: Arc<Unit>,
    reply: oneshot::Sender<Result<Receipt, StoreError>>,
}

/// The entrances of both lanes.
pub(crate) struct Lanes {
    appends: mpsc::Sender<AppendJob>,
    units: mpsc::Sender<UnitJob>,
}

impl Lanes {
    /// Starts the lanes on the runtime that owns the connections. They end when this is dropped. What becomes durable
    /// is sent to `durable`.
    pub(crate) fn start(database: &Database, durable: DurableSender) -> Self {
        let (appends, append_jobs) = mpsc::channel(MAX_WAITING);
        let (units, unit_jobs) = mpsc::channel(MAX_WAITING);
        match database.pools() {
            Pools::Postgres(pools) => {
                let writer = || Writer::Postgres(pools.write.clone());
                database.runtime().spawn(append_lane(writer(), append_jobs, durable));
                database.runtime().spawn(unit_lane(writer(), unit_jobs));
            }
            Pools::Sqlite(pools) => {
                let writer = Writer::Sqlite(pools.write.clone());
                database.runtime().spawn(single_lane(writer, append_jobs, unit_jobs, durable));
            }
        }
        Self { appends, units }
    }

    /// Writes the webhooks of one request. They are written even if the caller stops waiting.
    pub(crate) async fn append(&self, webhooks: Vec<NewWebhook>) -> Result<Vec<Appended>, StoreError> {
        let (reply, answer) = oneshot::channel();
        // A full lane refuses at once: Dialpad retries, and waiting here would only lengthen the queue.
        self.appends.try_send(AppendJob { webhooks, reply }).map_err(|_| overloaded())?;
        answer.await.map_err(|_| closed())?
    }

    /// Writes a unit of work.
    pub(crate) async fn commit(&self, unit: Arc<Unit>) -> Result<Receipt, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.units.send(UnitJob { unit, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

fn overloaded() -> StoreError {
    StoreError::Unavailable("too many webhooks wait to be written".into())
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// Collects the first job and those that wait behind it, up to `max`.
fn gather<T>(first: T, jobs: &mut mpsc::Receiver<T>, max: usize) -> Vec<T> {
    let mut batch = vec![first];
    while batch.len() < max
        && let Ok(job) = jobs.try_recv()
    {
        batch.push(job);
    }
    batch
}

/// The pool that a lane writes with.
enum Writer {
    Postgres(sqlx::PgPool),
    Sqlite(sqlx::SqlitePool),
}

impl Writer {
    async fn append(&self, rows: Vec<&JournalRow>) -> Result<Inserted, sqlx::Error> {
        match self {
            Self::Postgres(pool) => append::append_postgres(&mut *pool.acquire().await?, rows).await,
            Self::Sqlite(pool) => {
                let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                let inserted = append::append_sqlite(&mut transaction, rows).await?;
                transaction.commit().await?;
                Ok(inserted)
            }
        }
    }

    async fn write(&self, units: &[Arc<Unit>]) -> Result<Vec<Receipt>, UnitFailure> {
        match self {
            // A single statement is a transaction by itself; only units with retries or failures need several.
            Self::Postgres(pool)
                if units.iter().all(|unit| unit.retried.is_empty() && unit.failed.is_empty()) =>
            {
                ledger::write_postgres(&mut *pool.acquire().await?, units).await
            }
            Self::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                let receipts = ledger::write_postgres(&mut transaction, units).await?;
                transaction.commit().await?;
                Ok(receipts)
            }
            Self::Sqlite(pool) => {
                let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                let receipts = ledger::write_sqlite(&mut transaction, units).await?;
                transaction.commit().await?;
                Ok(receipts)
            }
        }
    }
}

async fn append_lane(writer: Writer, mut jobs: mpsc::Receiver<AppendJob>, durable: DurableSender) {
    while let Some(first) = jobs.recv().await {
        write_appends(&writer, gather(first, &mut jobs, MAX_APPENDS), &durable).await;
    }
}

async fn unit_lane(writer: Writer, mut jobs: mpsc::Receiver<UnitJob>) {
    while let Some(first) = jobs.recv().await {
        write_units(&writer, gather(first, &mut jobs, MAX_UNITS)).await;
    }
}

/// Runs both kinds of work on one writer: appends first, but two batches of them never pass a waiting unit. They do not
/// share a transaction: while the units are written, senders whose webhooks were acknowledged can send the next ones.
async fn single_lane(
    writer: Writer,
    mut appends: mpsc::Receiver<AppendJob>,
    mut units: mpsc::Receiver<UnitJob>,
    durable: DurableSender,
) {
    loop {
        tokio::select! {
            biased;
            Some(first) = appends.recv() => {
                write_appends(&writer, gather(first, &mut appends, MAX_APPENDS), &durable).await;
                if let Ok(first) = units.try_recv() {
                    write_units(&writer, gather(first, &mut units, MAX_UNITS_BESIDE_APPENDS)).await;
                }
            }
            Some(first) = units.recv() => write_units(&writer, gather(first, &mut units, MAX_UNITS_BESIDE_APPENDS)).await,
            else => return,
        }
    }
}

async fn write_appends(writer: &Writer, jobs: Vec<AppendJob>, durable: &DurableSender) {
    let batch = AppendBatch::of(jobs);
    let written = writer.append(batch.rows()).await;
    batch.finish(written, durable);
}

async fn write_units(writer: &Writer, jobs: Vec<UnitJob>) {
    let units: Vec<Arc<Unit>> = jobs.iter().map(|job| Arc::clone(&job.unit)).collect();
    match writer.write(&units).await.map_err(UnitFailure::into_store_error) {
        Ok(receipts) => answer(jobs, receipts),
        Err(failure) if jobs.len() == 1 || matches!(failure, StoreError::Unavailable(_)) => {
            for job in jobs {
                let _ = job.reply.send(Err(failure.clone()));
            }
        }
        // The units are tried one by one, so that a bad one fails alone.
        Err(_) => {
            for job in jobs {
                let written = writer.write(std::slice::from_ref(&job.unit)).await;
                let written = written.map_err(UnitFailure::into_store_error);
                let _ =
                    job.reply.send(written.and_then(|receipts| receipts.first().copied().ok_or_else(closed)));
            }
        }
    }
}

fn answer(jobs: Vec<UnitJob>, receipts: Vec<Receipt>) {
    for (job, receipt) in jobs.into_iter().zip(receipts) {
        // After the engine has stopped there is no receiver; the unit is durable all the same.
        let _ = job.reply.send(Ok(receipt));
    }
}

/// The webhooks of several requests on their way into one transaction.
struct AppendBatch {
    requests: Vec<AppendRequest>,
}

struct AppendRequest {
    rows: Vec<JournalRow>,
    reply: oneshot::Sender<Result<Vec<Appended>, StoreError>>,
}

impl AppendBatch {
    /// Assigns the ids, in the order in which the webhooks will be committed.
    fn of(jobs: Vec<AppendJob>) -> Self {
        let requests: Vec<AppendRequest> = jobs
            .into_iter()
            .map(|job| AppendRequest {
                rows: job.webhooks.into_iter().map(JournalRow::assign_id).collect(),
                reply: job.reply,
            })
            .collect();
        let size = requests.iter().map(|request| request.rows.len()).sum::<usize>();
        histogram!("cti_group_commit_batch_size").record(u32::try_from(size).unwrap_or(u32::MAX));
        Self { requests }
    }

    fn rows(&self) -> Vec<&JournalRow> {
        self.requests.iter().flat_map(|request| &request.rows).collect()
    }

    /// Answers every request, then sends on what is new.
    fn finish(self, written: Result<Inserted, sqlx::Error>, durable: &DurableSender) {
        let inserted = match written {
            Ok(inserted) => inserted,
            Err(error) => {
                let failure = store_error(error);
                for request in self.requests {
                    let _ = request.reply.send(Err(failure.clone()));
                }
                return;
            }
        };
        let mut new = Vec::new();
        for request in self.requests {
            let appended = request.rows.iter().map(|row| inserted.outcome(row)).collect();
            new.extend(request.rows.into_iter().filter(|row| inserted.contains(row)));
            // The caller may have stopped waiting; the webhooks are durable all the same and go on below.
            let _ = request.reply.send(Ok(appended));
        }
        durable.send(new);
    }
}
