//! Group commit: everything that waits when the writer is free shares one transaction and one fsync. There is no timer,
//! so a single request never waits for others to come.
//!
//! There are two lanes: units of work, which contain most webhooks, and appends to the journal of those that are not
//! processed now. PostgreSQL runs them side by side. SQLite has one writer: there, appends go first, and both have a thread
//! of their own, because SQLite's functions block.

mod appends;
mod units;
mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use cti_actors::{
    background::resume,
    error::StoreError,
    unit::{Receipt, Unit},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use self::{
    appends::{AppendJob, write_appends},
    units::{UnitJob, write_units},
    writer::{PostgresWriter, Writer},
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
/// How long the lane of units keeps a connection of PostgreSQL while none comes.
const KEEP_TIMEOUT: Duration = Duration::from_millis(20);

/// The entrances of both lanes.
pub(crate) struct Lanes {
    appends: mpsc::Sender<AppendJob>,
    units: mpsc::Sender<UnitJob>,
    /// How many jobs both lanes were given.
    jobs: AtomicU64,
    /// Has the lane of SQLite close its connection.
    close: Option<mpsc::Sender<oneshot::Sender<()>>>,
}

impl Lanes {
    /// Starts the lanes on the runtime that owns the connections. They end when this is dropped. What becomes durable
    /// is sent to `durable`.
    ///
    /// # Errors
    /// No thread could be started.
    pub(crate) fn start(database: &Database, durable: DurableSender) -> Result<Self, StoreError> {
        let (appends, append_jobs) = mpsc::channel(MAX_WAITING);
        let (units, unit_jobs) = mpsc::channel(MAX_WAITING);
        let mut close = None;
        match database.pools() {
            Pools::Postgres(pools) => {
                let writer = || Writer::Postgres(PostgresWriter::new(pools.write.clone()));
                let appending = (writer(), append_jobs, durable);
                database.runtime().spawn(resume("write webhooks", appending, |(writer, jobs, durable)| {
                    Box::pin(append_lane(writer, jobs, durable))
                }));
                let statistics = Statistics::new(pools.write.clone());
                let writing = (writer(), unit_jobs, statistics);
                database.runtime().spawn(resume("write units", writing, |(writer, jobs, statistics)| {
                    Box::pin(unit_lane(writer, jobs, statistics))
                }));
            }
            Pools::Sqlite(pools) => {
                let (closing, closes) = mpsc::channel(1);
                close = Some(closing);
                let connections = pools.write.clone();
                let runtime = database.runtime().clone();
                let lane = move || {
                    let writer = Writer::Sqlite(SqliteWriter::new(connections));
                    let lane = SingleLane { writer, appends: append_jobs, units: unit_jobs, closes, durable };
                    runtime.block_on(resume("write", lane, |lane| Box::pin(lane.run())));
                };
                let started = thread::Builder::new().name("cti-sqlite-writer".into()).spawn(lane);
                started.map_err(|error| {
                    StoreError::Unavailable(format!("the thread that writes could not be started: {error}"))
                })?;
            }
        }
        Ok(Self { appends, units, jobs: AtomicU64::new(0), close })
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
        let Some(close) = &self.close else { return };
        let (reply, closed) = oneshot::channel();
        if close.send(reply).await.is_ok() {
            let _ = closed.await;
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

async fn append_lane(writer: &Writer, jobs: &mut mpsc::Receiver<AppendJob>, durable: &DurableSender) {
    while let Some(first) = jobs.recv().await {
        write_appends(writer, gather(first, jobs, MAX_APPENDS), durable).await;
    }
}

async fn unit_lane(writer: &Writer, jobs: &mut mpsc::Receiver<UnitJob>, statistics: &mut Statistics) {
    while let Some(first) = next_unit(writer, jobs).await {
        let batch = gather_units(first, jobs);
        let webhooks = batch.iter().map(UnitJob::webhooks).sum();
        write_units(writer, batch).await;
        statistics.wrote(webhooks);
    }
}

/// Waits for a unit, and lets others have the writer's connection if none comes soon.
async fn next_unit(writer: &Writer, jobs: &mut mpsc::Receiver<UnitJob>) -> Option<UnitJob> {
    if writer.keeps_connection() {
        if let Ok(next) = timeout(KEEP_TIMEOUT, jobs.recv()).await {
            return next;
        }
        writer.release();
    }
    jobs.recv().await
}

/// Both kinds of work on one writer, which blocks its thread.
struct SingleLane {
    writer: Writer,
    appends: mpsc::Receiver<AppendJob>,
    units: mpsc::Receiver<UnitJob>,
    closes: mpsc::Receiver<oneshot::Sender<()>>,
    durable: DurableSender,
}

impl SingleLane {
    /// Writes appends first, but two batches of them never pass a waiting unit.
    async fn run(&mut self) {
        let Self { writer, appends, units, closes, durable } = self;
        loop {
            tokio::select! {
                biased;
                Some(first) = appends.recv() => {
                    write_appends(writer, gather(first, appends, MAX_APPENDS), durable).await;
                    if let Ok(first) = units.try_recv() {
                        write_units(writer, gather_units(first, units)).await;
                    }
                }
                Some(first) = units.recv() => write_units(writer, gather_units(first, units)).await,
                Some(closed) = closes.recv() => {
                    writer.release();
                    let _ = closed.send(());
                }
                else => return,
            }
        }
    }
}
