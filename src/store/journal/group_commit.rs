//! Group commit: whoever waits when the writer is free shares one transaction and one fsync with the others. No
//! timer, so nobody waits when there is nobody to share with.
//!
//! There are two lanes: appends to the journal, which somebody's acknowledgement waits for, and units of work.
//! PostgreSQL runs them side by side, so that an acknowledgement never waits behind a batch. SQLite has one
//! writer: there, appends go first and batches of units stay short.

use std::sync::Arc;

use cti_actors::{
    error::StoreError,
    unit::{Receipt, Unit},
};
use metrics::histogram;
use tokio::sync::{mpsc, oneshot};

use super::append::{self, Appended, Fresh, Handover, NewWebhook};
use crate::store::{
    db::pool::{Database, Pools, store_error},
    ledger::{self, UnitFailure},
};

/// How many requests may wait for a lane; beyond that there is no durable place left.
const QUEUE: usize = 8192;
/// How many webhooks share a transaction.
const APPENDS: usize = 512;
/// How many units of work share a transaction.
const UNITS: usize = 16;
/// How many do on SQLite, where acknowledgements wait behind them.
const UNITS_BESIDE_APPENDS: usize = 2;

/// One request's webhooks, all to be written or none.
struct AppendJob {
    webhooks: Vec<NewWebhook>,
    reply: oneshot::Sender<Result<Vec<Appended>, StoreError>>,
}

struct UnitJob {
    unit: Arc<Unit>,
    reply: oneshot::Sender<Result<Receipt, StoreError>>,
}

/// The way in to both lanes.
pub(crate) struct Lanes {
    appends: mpsc::Sender<AppendJob>,
    units: mpsc::Sender<UnitJob>,
}

impl Lanes {
    /// Starts the lanes on the runtime that owns the connections. They end when this is dropped.
    pub(crate) fn start(database: &Database, handover: &Arc<Handover>) -> Self {
        let (appends, append_jobs) = mpsc::channel(QUEUE);
        let (units, unit_jobs) = mpsc::channel(QUEUE);
        let handover = Arc::clone(handover);
        match database.pools() {
            Pools::Postgres(pools) => {
                let writer = || Writer::Postgres(pools.write.clone());
                database.runtime().spawn(append_lane(writer(), append_jobs, handover));
                database.runtime().spawn(unit_lane(writer(), unit_jobs));
            }
            Pools::Sqlite(pools) => {
                let writer = Writer::Sqlite(pools.write.clone());
                database.runtime().spawn(only_lane(writer, append_jobs, unit_jobs, handover));
            }
        }
        Self { appends, units }
    }

    /// Writes a request's webhooks. When this returns, they are durable, even if the caller has gone away.
    pub(crate) async fn append(&self, webhooks: Vec<NewWebhook>) -> Result<Vec<Appended>, StoreError> {
        let (reply, answer) = oneshot::channel();
        // A full lane answers at once: Dialpad retries, and waiting here would only lengthen the queue.
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

/// The first job and all that wait behind it, up to `most`.
fn gather<T>(first: T, jobs: &mut mpsc::Receiver<T>, most: usize) -> Vec<T> {
    let mut batch = vec![first];
    while batch.len() < most
        && let Ok(job) = jobs.try_recv()
    {
        batch.push(job);
    }
    batch
}

/// The connections that a lane writes with.
enum Writer {
    Postgres(sqlx::PgPool),
    Sqlite(sqlx::SqlitePool),
}

impl Writer {
    async fn append(&self, rows: Vec<&NewWebhook>) -> Result<Fresh, sqlx::Error> {
        match self {
            Self::Postgres(pool) => append::append_postgres(&mut *pool.acquire().await?, rows).await,
            Self::Sqlite(pool) => {
                let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                let fresh = append::append_sqlite(&mut transaction, rows).await?;
                transaction.commit().await?;
                Ok(fresh)
            }
        }
    }

    async fn write(&self, units: &[Arc<Unit>]) -> Result<Vec<Receipt>, UnitFailure> {
        match self {
            // A single statement is a transaction by itself; only failures take more than one.
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

async fn append_lane(writer: Writer, mut jobs: mpsc::Receiver<AppendJob>, handover: Arc<Handover>) {
    while let Some(first) = jobs.recv().await {
        write_appends(&writer, gather(first, &mut jobs, APPENDS), &handover).await;
    }
}

async fn unit_lane(writer: Writer, mut jobs: mpsc::Receiver<UnitJob>) {
    while let Some(first) = jobs.recv().await {
        write_units(&writer, gather(first, &mut jobs, UNITS)).await;
    }
}

/// Both kinds of work on one writer: appends first, but a batch of them never keeps a waiting unit out twice. They do
/// not share a transaction: while the units are written, those whose webhooks were acknowledged before can send the
/// next ones.
async fn only_lane(
    writer: Writer,
    mut appends: mpsc::Receiver<AppendJob>,
    mut units: mpsc::Receiver<UnitJob>,
    handover: Arc<Handover>,
) {
    loop {
        tokio::select! {
            biased;
            Some(first) = appends.recv() => {
                write_appends(&writer, gather(first, &mut appends, APPENDS), &handover).await;
                if let Ok(first) = units.try_recv() {
                    write_units(&writer, gather(first, &mut units, UNITS_BESIDE_APPENDS)).await;
                }
            }
            Some(first) = units.recv() => write_units(&writer, gather(first, &mut units, UNITS_BESIDE_APPENDS)).await,
            else => return,
        }
    }
}

async fn write_appends(writer: &Writer, jobs: Vec<AppendJob>, handover: &Handover) {
    let batch = AppendBatch::of(jobs);
    let written = writer.append(batch.rows()).await;
    batch.finish(written, handover);
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
        // The units are tried one by one, so that a bad one hurts only itself.
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
        // Nobody waits any more where the engine has stopped; the unit is durable all the same.
        let _ = job.reply.send(Ok(receipt));
    }
}

/// The webhooks of several requests on their way into one transaction.
struct AppendBatch {
    jobs: Vec<AppendJob>,
}

impl AppendBatch {
    /// Names the webhooks, in the order in which they will be committed.
    fn of(mut jobs: Vec<AppendJob>) -> Self {
        for webhook in jobs.iter_mut().flat_map(|job| &mut job.webhooks) {
            webhook.enter();
        }
        let size = jobs.iter().map(|job| job.webhooks.len()).sum::<usize>();
        histogram!("cti_group_commit_batch_size").record(u32::try_from(size).unwrap_or(u32::MAX));
        Self { jobs }
    }

    fn rows(&self) -> Vec<&NewWebhook> {
        self.jobs.iter().flat_map(|job| &job.webhooks).collect()
    }

    /// Answers everybody, and hands over what is new.
    fn finish(self, written: Result<Fresh, sqlx::Error>, handover: &Handover) {
        let fresh = match written {
            Ok(fresh) => fresh,
            Err(error) => {
                let failure = store_error(error);
                for job in self.jobs {
                    let _ = job.reply.send(Err(failure.clone()));
                }
                return;
            }
        };
        let mut durable = Vec::new();
        for job in self.jobs {
            let appended = job.webhooks.iter().map(|webhook| fresh.verdict(webhook)).collect();
            durable.extend(job.webhooks.into_iter().filter(|webhook| fresh.contains(webhook)));
            // Nobody may be waiting any more; the webhooks are durable all the same and go on below.
            let _ = job.reply.send(Ok(appended));
        }
        handover.pass_on(durable);
    }
}
