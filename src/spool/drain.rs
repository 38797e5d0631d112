//! The drain: watches the database while it can't take webhooks, and then writes the spool to the journal, in order.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use cti_actors::{Engine, error::StoreError, id::AppId};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    Files, Shared, Spool,
    record::Record,
    segment,
    writer::{Job, Segment},
};
use crate::{
    jobs::unrouted,
    recovery::SilenceDetector,
    store::Store,
    tasks::Tasks,
    webhook::{
        new_webhook::NewWebhook,
        payload,
        routing::{self, Addressee, Disposition},
    },
};

/// How often the database is tried while it is away.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// How long a batch may take. Longer, and the database counts as away again.
const BATCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How many webhooks are written in one transaction.
const MAX_BATCH: usize = 256;
const MAX_BATCH_BYTES: usize = 4 << 20;
/// When no more than this came while the rest was written, new webhooks wait for the end instead of going to the spool.
const MAX_LAST_WEBHOOKS: u64 = 64;
/// How often the routes of all apps are read, so that they are known when the database is away.
const LEARN_INTERVAL: Duration = Duration::from_secs(5);
/// How often a spool is tried that refused a webhook.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// What the drain works with.
pub(crate) struct Drain {
    pub(crate) spool: Arc<Spool>,
    pub(crate) store: Store,
    pub(crate) engine: Arc<Engine>,
    pub(crate) silence: Arc<SilenceDetector>,
}

/// What was taken out of the spool and is not in the journal yet.
#[derive(Default)]
struct Backlog {
    segments: VecDeque<Segment>,
    /// The segment in progress, and its webhooks that are not in the journal.
    reading: Option<(Segment, VecDeque<Record>)>,
    drained: u64,
}

impl Drain {
    /// Runs until the tasks are stopped.
    pub(crate) fn start(self, tasks: &Tasks) {
        let drain = Arc::new(self);
        tasks.keep("learn routes", Arc::clone(&drain), |drain| Box::pin(drain.learn_routes()));
        // The backlog outlives a panic: nobody else knows these segments before the next start.
        tasks.keep("drain the spool", (drain, Backlog::default()), |(drain, backlog)| {
            Box::pin(drain.watch(backlog))
        });
    }

    async fn watch(&self, backlog: &mut Backlog) {
        loop {
            self.spool.shared.gate.left_direct().await;
            self.until_direct(backlog).await;
        }
    }

    async fn learn_routes(&self) {
        loop {
            sleep(LEARN_INTERVAL).await;
            if self.spool.is_direct() {
                // While it fails, what was known before is still known.
                let _ = self.store.routes().learn_all().await;
            }
        }
    }

    /// Works until webhooks go to the database again.
    async fn until_direct(&self, backlog: &mut Backlog) {
        loop {
            self.wait_for_the_database().await;
            match Box::pin(self.drain(backlog)).await {
                Ok(()) => {
                    let webhooks = std::mem::take(&mut backlog.drained);
                    if webhooks > 0 {
                        info!(webhooks, "the spool was written to the database");
                    }
                    return;
                }
                Err(failure) => {
                    self.spool.database_away(&failure);
                    sleep(PROBE_INTERVAL).await;
                }
            }
        }
    }

    async fn wait_for_the_database(&self) {
        while let Err(failure) = self.store.check_writable_since(Instant::now()).await {
            self.spool.database_away(&failure);
            sleep(PROBE_INTERVAL).await;
        }
        self.spool.shared.gate.drain();
    }

    /// Writes everything to the journal, and then lets webhooks go to the database.
    async fn drain(&self, backlog: &mut Backlog) -> Result<(), StoreError> {
        let Spool { shared, files } = &*self.spool;
        let Some(files) = files else {
            shared.gate.emptied();
            return Ok(());
        };
        loop {
            while backlog.reading.is_some() || !backlog.segments.is_empty() {
                self.drain_segment(shared, files, backlog).await?;
            }
            let sealed = ask(files, |reply| Job::Seal { reply }).await?;
            if sealed.iter().map(|segment| segment.webhooks).sum::<u64>() <= MAX_LAST_WEBHOOKS {
                shared.gate.close();
            }
            if sealed.is_empty() && ask(files, |reply| Job::Finish { reply }).await? {
                return Ok(());
            }
            backlog.segments.extend(sealed);
        }
    }

    /// Writes one segment to the journal, and removes it.
    async fn drain_segment(
        &self,
        shared: &Shared,
        files: &Files,
        backlog: &mut Backlog,
    ) -> Result<(), StoreError> {
        if backlog.reading.is_none()
            && let Some(segment) = backlog.segments.front().copied()
        {
            let records = match segment::read(&files.folder, segment.number).await {
                Ok(records) => records,
                Err(error) => {
                    warn!(%error, segment = segment.number, "a segment of the spool can't be read; it is tried again");
                    return Err(StoreError::Unavailable(format!("the spool can't be read: {error}")));
                }
            };
            backlog.reading = Some((segment, records.into()));
            backlog.segments.pop_front();
        }
        let Some((segment, records)) = &mut backlog.reading else { return Ok(()) };
        while !records.is_empty() {
            let count = batch_len(records);
            let batch = &records.make_contiguous()[..count];
            match self.store_batch(batch).await {
                Ok(()) => {}
                Err(failure @ (StoreError::Unavailable(_) | StoreError::Conflict(_))) => return Err(failure),
                Err(_) => {
                    // One at a time, to find the one that the database refuses.
                    for record in batch {
                        self.store_alone(record, files).await?;
                    }
                }
            }
            records.drain(..count);
            backlog.drained += u64::try_from(count).unwrap_or(u64::MAX);
        }
        if let Err(error) = files.folder.remove(segment.number)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(%error, segment = segment.number, "a drained segment of the spool can't be removed");
        }
        shared.subtract(segment.bytes, segment.webhooks);
        shared.freed();
        backlog.reading = None;
        Ok(())
    }

    /// Writes a webhook that may be the one that the database refuses. It is set aside only if a healthy database
    /// refuses it twice.
    async fn store_alone(&self, record: &Record, files: &Files) -> Result<(), StoreError> {
        let mut refused = String::new();
        for _ in 0..2 {
            match self.store_batch(std::slice::from_ref(record)).await {
                Ok(()) => return Ok(()),
                Err(failure @ (StoreError::Unavailable(_) | StoreError::Conflict(_))) => return Err(failure),
                Err(failure) => refused = failure.to_string(),
            }
            let healthy = self.store.check_writable_since(Instant::now()).await;
            healthy.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        segment::report_refused(&files.folder, record, &refused);
        Ok(())
    }

    /// Writes webhooks to the journal, in their order. What is there already stays as it is.
    async fn store_batch(&self, records: &[Record]) -> Result<(), StoreError> {
        let in_time = timeout(BATCH_TIMEOUT, async {
            let mut webhooks = Vec::with_capacity(records.len());
            for record in records {
                webhooks.extend(self.route(record).await?);
            }
            for webhook in &webhooks {
                if let Some(app) = webhook.app_id {
                    self.silence.note(app, webhook.received_at);
                }
            }
            let released = webhooks.iter().filter(|webhook| webhook.disposition.awaits_activation());
            let released: HashSet<AppId> = released.filter_map(|webhook| webhook.app_id).collect();
            let pending =
                webhooks.iter().filter(|webhook| matches!(webhook.disposition, Disposition::Pending(_)));
            let pending: HashSet<AppId> = pending.filter_map(|webhook| webhook.app_id).collect();
            if !webhooks.is_empty() {
                let appended = self.store.journal().append(webhooks).await;
                // Before a webhook can go to the database: it must not overtake these ones of its app. Also after a
                // failure: what a broken connection committed is unknown.
                pending.into_iter().for_each(|app| self.engine.notify(app));
                appended?;
            }
            for app in released {
                unrouted::release_if_active(&self.store, &self.engine, app).await;
            }
            Ok(())
        });
        let timed_out = |_| Err(StoreError::Unavailable("the database took too long".into()));
        in_time.await.unwrap_or_else(timed_out)
    }

    /// Makes the rows of a webhook, as if it came now, except for when it was received.
    async fn route(&self, record: &Record) -> Result<Vec<NewWebhook>, StoreError> {
        let reading = payload::read_webhook(&record.payload, record.received_at);
        let routes = self.store.routes();
        let addressee = match (record.app, reading.organization_id) {
            (Some(app), _) => match routes.of_app(app).await? {
                Some(own) => own.addressee(app),
                None => {
                    info!(app.id = %app, "a webhook in the spool is dropped: its app was deleted");
                    return Ok(Vec::new());
                }
            },
            (None, Some(organization)) => {
                Addressee::Organization(routes.of_organization(organization).await?)
            }
            (None, None) => Addressee::Organization(Vec::new()),
        };
        let payload: Arc<[u8]> = record.payload.as_slice().into();
        let destinations = routing::route(&reading, &addressee).into_iter();
        let row = |to| NewWebhook::new(&reading, to, Arc::clone(&payload), record.received_at);
        Ok(destinations.map(row).collect())
    }
}

/// Returns how many of the first webhooks make a batch.
fn batch_len(records: &VecDeque<Record>) -> usize {
    let mut bytes = 0;
    let fits = |record: &&Record| {
        bytes += record.payload.len();
        bytes <= MAX_BATCH_BYTES
    };
    records.iter().take(MAX_BATCH).take_while(fits).count().max(1)
}

/// Asks the writer. Where it has ended, the server is stopping.
async fn ask<T>(files: &Files, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, StoreError> {
    let gone = || StoreError::Unavailable("the spool does not answer".into());
    let (reply, answer) = oneshot::channel();
    files.jobs.try_send(job(reply)).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())
}

/// Tries the disk again after it refused a webhook. Runs until it is cancelled.
pub(crate) async fn check_disk(spool: &Spool) {
    let Some(files) = &spool.files else { return };
    loop {
        sleep(CHECK_INTERVAL).await;
        if !spool.shared.has_disk_problem() {
            continue;
        }
        let folder = Arc::clone(&files.folder);
        if let Ok(Ok(())) = tokio::task::spawn_blocking(move || folder.check()).await {
            spool.shared.works();
        }
    }
}
