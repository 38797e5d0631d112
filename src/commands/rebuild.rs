//! `cti-server rebuild`: makes calls and messages anew from the journal, and compares them with what is stored.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    Engine, Ports, Tuning,
    clock::{Clock, SystemClock},
    error::StoreError,
    model::token::{DuePair, TokenPair},
    ports::{Connections, Renewal},
};
use thiserror::Error;
use tokio::time::sleep;
use uuid::Uuid;

use super::existing::{OpenError, open_existing};
use crate::{
    config::{Config, ConfigError, Needs},
    database_url::DatabaseUrl,
    encryption_keys::EncryptionKeys,
    startup::StartError,
    store::{Store, crypto::vault::Vault, rebuild::Rebuilt},
};

/// How recent a heartbeat of a running server is at least.
const HEARTBEAT_TIMEOUT: TimeDelta = TimeDelta::seconds(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Make calls, voicemails, messages and interactions anew from the journal, in a temporary database, and compare them
/// with what is stored. Prints one line for each that differs.
#[derive(Debug, clap::Args)]
pub struct RebuildArgs {
    /// A settings file that overrides the defaults; environment variables override the file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Also write what differs. No server may run.
    #[arg(long)]
    pub apply: bool,
}

/// Why `rebuild` failed.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no database of this version.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What a server decides on must not change under it.
    #[error("a server is running, or was until {0}; stop it, wait for 30 s, and try again")]
    ServerRuns(DateTime<Utc>),
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rows differ; each was printed.
    #[error("{0} rows differ")]
    Differs(usize),
    /// Not everything could be written; each was printed.
    #[error("{0} rows were not written")]
    NotApplied(usize),
    /// The temporary folder or the output failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Rebuilds, compares, and writes what differs if that is asked for.
///
/// # Errors
/// See [`RebuildError`].
pub async fn run(args: RebuildArgs) -> Result<(), RebuildError> {
    let config = Config::load(args.config.as_deref(), Needs::Database)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = open_existing(&config, Arc::clone(&clock)).await?;
    if args.apply {
        store.claim()?;
        let alive = store.server_state().last_alive().await?;
        if let DatabaseUrl::Postgres(_) = &config.database_url
            && let Some(at) = alive.filter(|at| clock.now() - *at < HEARTBEAT_TIMEOUT)
        {
            return Err(RebuildError::ServerRuns(at));
        }
    }
    let folder = Folder::create()?;
    let scratch = open_scratch(&folder.0, &clock).await?;
    let outcome = rebuild(&store, &scratch, &clock, args.apply).await;
    scratch.close().await;
    store.close().await;
    outcome
}

/// A temporary folder, which is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn create() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("cti-rebuild-{}", Uuid::new_v4()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Opens an empty database. Nothing in it is encrypted with its key.
async fn open_scratch(folder: &Path, clock: &Arc<dyn Clock>) -> Result<Store, RebuildError> {
    let keys = EncryptionKeys::from_file(&folder.join("scratch.key"));
    let keys = keys.map_err(|error| OpenError::from(StartError::from(error)))?;
    let url = DatabaseUrl::Sqlite(folder.join("scratch.db"));
    let (scratch, _) = Store::open(&url, Vault::new(&keys), Arc::clone(clock)).await?;
    scratch.migrate().await?;
    Ok(scratch)
}

async fn rebuild(
    store: &Store,
    scratch: &Store,
    clock: &Arc<dyn Clock>,
    apply: bool,
) -> Result<(), RebuildError> {
    let process = async || process_pending(scratch, clock).await;
    let rebuilt = store.rebuilding().run(scratch, process).await?;
    print(&rebuilt.differences)?;
    summarize(&rebuilt)?;
    if rebuilt.differences.is_empty() {
        return Ok(());
    }
    if !apply {
        return Err(RebuildError::Differs(rebuilt.differences.len()));
    }
    let (written, refused) = store.rebuilding().apply(scratch, &rebuilt).await?;
    print(&refused)?;
    writeln!(io::stdout().lock(), "written: {written} calls and messages")?;
    match refused.len() + rebuilt.unwritable {
        0 => Ok(()),
        rows => Err(RebuildError::NotApplied(rows)),
    }
}

/// Processes what is pending in the scratch database, as a server does.
async fn process_pending(scratch: &Store, clock: &Arc<dyn Clock>) -> Result<(), StoreError> {
    let ports = Ports {
        journal: Arc::new(scratch.clone()),
        ledger: Arc::new(scratch.clone()),
        log: Arc::new(scratch.clone()),
        gate: Arc::new(scratch.clone()),
        connections: Arc::new(NoConnections),
        clock: Arc::clone(clock),
    };
    let engine = Engine::start(ports, Tuning::default());
    let processed = async {
        while scratch.journal().pending_count().await? > 0 {
            for app in scratch.journal().pending_apps().await? {
                engine.notify(app);
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    };
    let processed = processed.await;
    engine.drain().await;
    engine.stop().await;
    processed
}

fn print(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn summarize(rebuilt: &Rebuilt) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "compared: {}", rebuilt.compared)?;
    writeln!(out, "left out, because webhooks of theirs were removed: {}", rebuilt.left_out)
}

/// No app of the scratch database is connected.
struct NoConnections;

#[async_trait]
impl Connections for NoConnections {
    async fn due(&self, _: DateTime<Utc>, _: usize) -> Result<Vec<DuePair>, StoreError> {
        Ok(Vec::new())
    }

    async fn renew(&self, _: TokenPair) -> Result<Renewal, StoreError> {
        Err(StoreError::Unavailable("no app is connected".into()))
    }
}
