//! Group commit: everything that waits when the writer is free shares one transaction and one fsync. There is no timer,
//! so a single request never waits for others to come.
//!
//! There are two lanes: units of work, which contain most webhooks, and appends to the journal of those that are not
//! processed now. PostgreSQL runs them side by side. SQLite has one writer: there, appends go first.

mod appends;
mod units;
mod writer;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use cti_actors::{
    error::StoreError,
    unit::{Receipt, Unit},
};
use tokio::sync::{mpsc, oneshot};

use self::{
    appends::{AppendJob, write_appends},
    units::{UnitJob, write_units},
    writer::Writer,
};
use super::{append::Appended, pending::DurableSender};
use crate::{
    store::db::{
        pool::{Database, Pools},
        sqlite_writer::SqliteWriter,
        statistics::Statistics,
    },
    webhook::new_webhook::NewWebhook,
};

/// How many requests may wait for a lane. Beyond that, there is no durable place left.
const MAX_WAITING: usize = 8192;
/// How many requests share a transaction of appends.
const MAX_APPENDS: usize = 512;
/// How many units of work share a transaction.
const MAX_UNITS: usize = 256;
/// How many webhooks they may be about together; the last unit may exceed it.
const MAX_UNIT_WEBHOOKS: usize = 512;

/// The entrances of both lanes.
pub(crate) struct Lanes {
    appends: mpsc::Sender<AppendJob>,
    units: mpsc::Sender<UnitJob>,
    /// How many jobs both lanes were given.
    jobs: AtomicU64,
    /// Writes units on SQLite.
    sqlite_writer: Option<Arc<SqliteWriter>>,
}

impl Lanes {
    /// Starts the lanes on the runtime that owns the connections. They end when this is dropped. What becomes durable
    /// is sent to `durable`.
    pub(crate) fn start(database: &Database, durable: DurableSender) -> Self {
        let (appends, append_jobs) = mpsc::channel(MAX_WAITING);
        let (units, unit_jobs) = mpsc::channel(MAX_WAITING);
        let mut sqlite_writer = None;
        match database.pools() {
            Pools::Postgres(pools) => {
                let writer = || Writer::Postgres(pools.write.clone());
                database.runtime().spawn(append_lane(writer(), append_jobs, durable));
                let statistics = Statistics::new(pools.write.clone());
                database.runtime().spawn(unit_lane(writer(), unit_jobs, statistics));
            }
            Pools::Sqlite(pools) => {
                let units = Arc::new(SqliteWriter::new(pools.write.clone()));
                let writer = Writer::Sqlite(pools.write.clone(), Arc::clone(&units));
                sqlite_writer = Some(units);
                database.runtime().spawn(single_lane(writer, append_jobs, unit_jobs, durable));
            }
        }
        Self { appends, units, jobs: AtomicU64::new(0), sqlite_writer }
    }

    /// Writes the webhooks of one request. They are written even if the caller stops waiting.
    pub(crate) async fn append(&self, webhooks: Vec<NewWebhook>) -> Result<Vec<Appended>, StoreError> {
        self.jobs.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        // A full lane refuses at once: Dialpad retries, and waiting here would only lengthen the queue.
        self.appends.try_send(AppendJob { webhooks, reply }).map_err(|_| overloaded())?;
        answer.await.map_err(|_| closed())?
    }

    /// Closes the connection that writes units on SQLite, after those that were given before.
    pub(crate) async fn close(&self) {
        if let Some(writer) = &self.sqlite_writer {
            writer.close().await;
        }
    }

    /// Returns how many jobs the lanes were given until now.
    pub(crate) fn jobs(&self) -> u64 {
        self.jobs.load(Ordering::Relaxed)
    }

    /// Whether work waits for a lane.
    pub(crate) fn are_waited_for(&self) -> bool {
        fn is_waited_for<T>(lane: &mpsc::Sender<T>) -> bool {
            lane.capacity() < lane.max_capacity()
        }
        is_waited_for(&self.appends) || is_waited_for(&self.units)
    }

    /// Writes a unit of work.
    pub(crate) async fn commit(&self, unit: Arc<Unit>) -> Result<Receipt, StoreError> {
        self.jobs.fetch_add(1, Ordering::Relaxed);
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

/// Collects the first unit and those that wait behind it.
fn gather_units(first: UnitJob, jobs: &mut mpsc::Receiver<UnitJob>) -> Vec<UnitJob> {
    let mut webhooks = first.webhooks();
    let mut batch = vec![first];
    while batch.len() < MAX_UNITS
        && webhooks < MAX_UNIT_WEBHOOKS
        && let Ok(job) = jobs.try_recv()
    {
        webhooks += job.webhooks();
        batch.push(job);
    }
    batch
}

async fn append_lane(writer: Writer, mut jobs: mpsc::Receiver<AppendJob>, durable: DurableSender) {
    while let Some(first) = jobs.recv().await {
        write_appends(&writer, gather(first, &mut jobs, MAX_APPENDS), &durable).await;
    }
}

async fn unit_lane(writer: Writer, mut jobs: mpsc::Receiver<UnitJob>, mut statistics: Statistics) {
    while let Some(first) = jobs.recv().await {
        let batch = gather_units(first, &mut jobs);
        let webhooks = batch.iter().map(UnitJob::webhooks).sum();
        write_units(&writer, batch).await;
        statistics.wrote(webhooks);
    }
}

/// Runs both kinds of work on one writer: appends first, but two batches of them never pass a waiting unit.
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
                    write_units(&writer, gather_units(first, &mut units)).await;
                }
            }
            Some(first) = units.recv() => write_units(&writer, gather_units(first, &mut units)).await,
            else => return,
        }
    }
}
