//! Where a server under test runs: its folder, its database, its settings, its port.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;

use crate::postgres::Cluster;
use crate::process::{Owner, Process, TICK, give_to, run_as};
use crate::{Failure, Plan};

/// How long a server may take to listen, on a busy machine and with a long journal.
const START_TIMEOUT: Duration = Duration::from_secs(120);
pub(crate) const WEBHOOK_SECRET: &str = "the-webhook-secret-of-the-faults";
pub(crate) const ADMIN_SECRET: &str = "the-admin-secret-of-the-faults";
/// Base64 of 32 bytes.
const TOKEN_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// A folder, a database and settings. Servers that are started one after the other share them.
#[derive(Debug)]
pub(crate) struct Site {
    binary: PathBuf,
    /// The address of the server: the same after a restart.
    pub(crate) addr: SocketAddr,
    settings: BTreeMap<String, String>,
    /// Runs the server as this user.
    pub(crate) owner: Option<Owner>,
    pub(crate) cluster: Option<Cluster>,
    folder: TempDir,
}

impl Site {
    /// Creates a site with a new database.
    pub(crate) async fn create(plan: &Plan, kind: Kind) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("cti-faults-").tempdir_in(&plan.folder)?;
        let data = folder.path().to_owned();
        Self::create_in(plan, kind, folder, &data).await
    }

    /// Creates a site whose database and spool are on this disk.
    pub(crate) async fn create_on(plan: &Plan, kind: Kind, disk: &Path) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("cti-faults-").tempdir_in(&plan.folder)?;
        Self::create_in(plan, kind, folder, disk).await
    }

    async fn create_in(plan: &Plan, kind: Kind, folder: TempDir, data: &Path) -> Result<Self, Failure> {
        let (cluster, url) = match kind {
            Kind::Sqlite => (None, format!("sqlite://{}", data.join("cti.db").display())),
            Kind::Postgres => {
                let parent = if data == folder.path() { &plan.folder } else { data };
                let cluster = Cluster::create(parent).await?;
                let url = Cluster::url(cluster.port);
                (Some(cluster), url)
            }
        };
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let settings = [
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", addr.port().to_string()),
            ("DATABASE_URL", url),
            ("SPOOL_DIR", data.join("spool").display().to_string()),
            ("INTERNAL_API_SECRET", ADMIN_SECRET.to_owned()),
            ("DIALPAD_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
            ("TOKEN_ENCRYPTION_KEY", TOKEN_KEY.to_owned()),
            ("AUTO_SUBSCRIBE", "false".to_owned()),
            ("RUST_LOG", "info".to_owned()),
            ("NO_COLOR", "1".to_owned()),
            // Events that depend on how long a case takes would be no fault.
            ("INTERACTION_SETTLE", "1h".to_owned()),
            ("CALLS_RINGING_AT_MOST", "24h".to_owned()),
            ("CALLS_LIVE_AT_MOST", "24h".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).into();
        Ok(Self { binary: plan.server.clone(), addr, settings, owner: None, cluster, folder })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.settings.remove(name);
    }

    /// Returns a setting that was set.
    pub(crate) fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    /// Returns the cluster, in a case on PostgreSQL.
    pub(crate) fn postgres(&mut self) -> Result<&mut Cluster, Failure> {
        self.cluster.as_mut().ok_or_else(|| "this fault is one of PostgreSQL".into())
    }

    /// Starts a server, and waits until it listens.
    pub(crate) async fn start(&self) -> Result<Process, Failure> {
        self.start_with(&BTreeMap::new()).await
    }

    /// Starts a server with other settings than those of the site, and waits until it listens.
    pub(crate) async fn start_with(&self, other: &BTreeMap<String, String>) -> Result<Process, Failure> {
        let mut process = self.spawn(other)?;
        let began = Instant::now();
        while !process.output().lines().any(|line| line.contains("listening on http")) {
            if let Some(status) = process.ended()? {
                return Err(format!("the server ended with {status}\n{}", process.output()).into());
            }
            if began.elapsed() > START_TIMEOUT {
                return Err(format!("the server does not listen\n{}", process.output()).into());
            }
            sleep(TICK).await;
        }
        Ok(process)
    }

    /// Starts a server.
    pub(crate) fn spawn(&self, other: &BTreeMap<String, String>) -> Result<Process, Failure> {
        give_to(self.folder.path(), self.owner)?;
        let mut command = Command::new(&self.binary);
        run_as(&mut command, self.owner);
        command.arg("serve").current_dir(self.folder.path()).envs(&self.settings).envs(other);
        Process::spawn(&mut command, &self.folder.path().join("server.log"))
    }

    /// Keeps the folder, and returns its path.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

/// Returns a port that is free at this moment.
pub(crate) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
