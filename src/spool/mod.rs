//! The spool: a second durable place for webhooks, on the local disk, for as long as the database can't take them.
//!
//! ```text
//!  request ─► gate ─(direct)─► database
//!               └──(away)────► writer ─► segments ─► drain ─► journal
//! ```
//!
//! * [`frame`], [`record`]: what lies in a file. Pure.
//! * [`folder`]: the files and the lock. `writer`: a thread that appends, several webhooks in one fsync.
//! * `gate`: where webhooks go. `drain`: watches the database, and empties the spool in order.
//!
//! Nothing records how far a segment was drained: it is removed once all of it is in the journal. After a crash it is
//! drained again from its beginning, and the dedup keys make duplicates of what the journal has.

pub(crate) mod drain;
mod folder;
mod frame;
mod gate;
pub(crate) mod metrics;
mod record;
mod segment;
mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    time::Duration,
};

use cti_actors::error::StoreError;
use parking_lot::Mutex;
use serde::Serialize;
use thiserror::Error;
use tokio::{sync::oneshot, time::timeout};
use tracing::info;
use utoipa::ToSchema;

pub use self::folder::SpoolError;
use self::{
    folder::Folder,
    gate::Gate,
    writer::{Job, Segment},
};
pub(crate) use self::{gate::Mode, record::Record};
use crate::config::SpoolConfig;

/// How long a webhook waits for the disk. Longer, and neither place has it in time.
const APPEND_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a webhook waits for the end of a drain before it goes to the spool.
const CLOSING_TIMEOUT: Duration = Duration::from_millis(250);

/// Why the spool does not take a webhook.
#[derive(Clone, Debug, Error)]
pub(crate) enum Refused {
    #[error("the spool is off")]
    Off,
    #[error("the spool is full")]
    Full,
    #[error("the disk of the spool does not answer")]
    Stuck,
    #[error("the spool can't be written: {0}")]
    Failed(String),
}

/// The state of the spool.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SpoolState {
    /// `empty`: webhooks go to the database; `filling`: the database can't take them; `draining`: they are being written
    /// to the database; `off`.
    pub(crate) state: &'static str,
    /// How many bytes it has on disk.
    pub(crate) bytes: u64,
    /// How many webhooks are in it.
    pub(crate) webhooks: u64,
}

impl SpoolState {
    /// Returns the state of a spool that is not in use.
    pub(crate) fn example() -> Self {
        Self { state: "empty", bytes: 0, webhooks: 0 }
    }
}

/// The spool of this process, and the knowledge of whether the database takes webhooks. Without a folder (`SPOOL=off`)
/// only the latter.
pub struct Spool {
    shared: Arc<Shared>,
    files: Option<Files>,
}

struct Files {
    jobs: SyncSender<Job>,
    folder: Arc<Folder>,
}

/// What requests, the writer and the drain share.
struct Shared {
    gate: Gate,
    bytes: AtomicU64,
    webhooks: AtomicU64,
    /// The disk did not answer in time, and has not answered since.
    is_stuck: AtomicBool,
    /// Why the last webhook was refused.
    problem: Mutex<Option<Refused>>,
}

impl Spool {
    /// Opens the spool and locks its folder. `None`: there is none.
    ///
    /// # Errors
    /// Another process uses it, or its folder can't be used.
    pub fn open(config: Option<&SpoolConfig>) -> Result<Arc<Self>, SpoolError> {
        let Some(config) = config else {
            let shared = Arc::new(Shared::new(Mode::Direct));
            return Ok(Arc::new(Self { shared, files: None }));
        };
        let failed = |error| SpoolError::Folder { path: config.folder.clone(), error };
        let folder = Arc::new(Folder::open(&config.folder)?);
        let segments = segment::count_all(&folder).map_err(failed)?;
        let mode = if segments.is_empty() { Mode::Direct } else { Mode::Draining };
        let shared = Arc::new(Shared::new(mode));
        let sum = |number: fn(&Segment) -> u64| segments.iter().map(number).sum::<u64>();
        shared.add(folder.damaged_bytes() + sum(|segment| segment.bytes), sum(|segment| segment.webhooks));
        if !segments.is_empty() {
            let webhooks = sum(|segment| segment.webhooks);
            info!(webhooks, "webhooks of an earlier run are in the spool and are processed first");
        }
        let jobs = writer::start(Arc::clone(&folder), Arc::clone(&shared), config.max_bytes, segments)
            .map_err(failed)?;
        Ok(Arc::new(Self { shared, files: Some(Files { jobs, folder }) }))
    }

    /// Whether webhooks go to the database. One atomic load.
    pub(crate) fn is_direct(&self) -> bool {
        self.shared.gate.is_direct()
    }

    /// Whether webhooks go to the database, after a short wait if the last ones are being drained.
    pub(crate) async fn becomes_direct(&self) -> bool {
        self.mode() == Mode::Closing && self.shared.gate.wait_while_closing(CLOSING_TIMEOUT).await
    }

    /// Returns where webhooks go.
    pub(crate) fn mode(&self) -> Mode {
        self.shared.gate.mode()
    }

    /// Returns why the database can't take webhooks, if it can't.
    pub(crate) fn database_problem(&self) -> Option<String> {
        (self.mode() == Mode::Away).then(|| self.shared.gate.reason())
    }

    /// Records that the database could not take a webhook: the next ones don't try it until it is back.
    pub(crate) fn database_failed(&self, failure: &StoreError) {
        self.shared.gate.failed(&reason(failure));
    }

    /// Records that the database is away, whatever was known before.
    pub(crate) fn database_away(&self, failure: &StoreError) {
        self.shared.gate.away(&reason(failure));
    }

    /// Writes a webhook. When this returns, it is durable.
    ///
    /// # Errors
    /// It is not kept; if the disk answers late, it may be.
    pub(crate) async fn append(&self, record: &Record) -> Result<(), Refused> {
        let files = self.files.as_ref().ok_or(Refused::Off)?;
        if self.shared.is_stuck.load(Ordering::Acquire) {
            return Err(Refused::Stuck);
        }
        let mut frame = Vec::new();
        frame::write_frame(&record.encode(), &mut frame);
        let (reply, answer) = oneshot::channel();
        files.jobs.try_send(Job::Append { frame, reply }).map_err(|_| Refused::Stuck)?;
        match timeout(APPEND_TIMEOUT, answer).await {
            Ok(answered) => answered.unwrap_or(Err(Refused::Stuck)),
            Err(_) => {
                self.shared.is_stuck.store(true, Ordering::Release);
                self.shared.set_problem(Refused::Stuck);
                Err(Refused::Stuck)
            }
        }
    }

    /// Returns why the spool takes no webhooks, if it takes none.
    pub(crate) fn problem(&self) -> Option<String> {
        match &self.files {
            None => Some(Refused::Off.to_string()),
            Some(_) => self.shared.problem.lock().as_ref().map(ToString::to_string),
        }
    }

    /// Returns the state, for administrators.
    pub(crate) fn state(&self) -> SpoolState {
        let state = match (self.files.is_some(), self.mode()) {
            (false, _) => "off",
            (true, Mode::Direct) => "empty",
            (true, Mode::Away) => "filling",
            (true, Mode::Draining | Mode::Closing) => "draining",
        };
        let Shared { webhooks, .. } = &*self.shared;
        SpoolState { state, bytes: self.shared.bytes(), webhooks: webhooks.load(Ordering::Acquire) }
    }
}

impl Shared {
    fn new(mode: Mode) -> Self {
        Self {
            gate: Gate::new(mode),
            bytes: AtomicU64::new(0),
            webhooks: AtomicU64::new(0),
            is_stuck: AtomicBool::new(false),
            problem: Mutex::default(),
        }
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    fn add(&self, bytes: u64, webhooks: u64) {
        let bytes = self.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let webhooks = self.webhooks.fetch_add(webhooks, Ordering::AcqRel) + webhooks;
        metrics::set_size(bytes, webhooks);
    }

    fn subtract(&self, bytes: u64, webhooks: u64) {
        let bytes = self.bytes.fetch_sub(bytes, Ordering::AcqRel) - bytes;
        let webhooks = self.webhooks.fetch_sub(webhooks, Ordering::AcqRel) - webhooks;
        metrics::set_size(bytes, webhooks);
    }

    fn set_problem(&self, problem: Refused) {
        *self.problem.lock() = Some(problem);
    }

    /// Records that the disk took something.
    fn works(&self) {
        *self.problem.lock() = None;
        self.is_stuck.store(false, Ordering::Release);
    }

    /// Records that there is more room.
    fn freed(&self) {
        self.problem.lock().take_if(|problem| matches!(problem, Refused::Full));
    }

    fn has_disk_problem(&self) -> bool {
        self.problem.lock().as_ref().is_some_and(|problem| !matches!(problem, Refused::Full))
    }
}

/// Returns why, without the words that it is the database.
fn reason(failure: &StoreError) -> String {
    match failure {
        StoreError::Unavailable(reason) => reason.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
