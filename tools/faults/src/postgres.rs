//! A PostgreSQL of its own, from the installed binaries, that can be stopped, killed and frozen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::Failure;
use crate::process::{Owner, Process, Signal, TICK, give_to, other_user, run_as};
use crate::site::free_port;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// The role of the server under test: unlike a superuser it has limits and permissions.
pub(crate) const ROLE: &str = "cti";
const DATABASE: &str = "cti";

/// A cluster with one database, which belongs to the server under test.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) port: u16,
    binaries: PathBuf,
    folder: PathBuf,
    owner: Option<Owner>,
    process: Option<Process>,
    /// Removed after the process has ended.
    _temporary: TempDir,
}

impl Cluster {
    /// Creates a cluster in a new folder there.
    pub(crate) async fn create(parent: &Path) -> Result<Self, Failure> {
        let temporary = tempfile::Builder::new().prefix("cti-faults-pg-").tempdir_in(parent)?;
        let folder = temporary.path().to_owned();
        let binaries = binaries().ok_or("PostgreSQL is not installed")?;
        let owner = other_user(&["postgres", "nobody"])?;
        give_to(&folder, owner)?;
        let mut initdb = Command::new(binaries.join("initdb"));
        run_as(&mut initdb, owner);
        initdb
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .arg(folder.join("data"))
            .current_dir(&folder)
            .stdin(Stdio::null());
        let made = initdb.output()?;
        if !made.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let port = free_port()?;
        let mut cluster = Self { port, binaries, folder, owner, process: None, _temporary: temporary };
        cluster.start().await?;
        cluster.admin_on("postgres", &format!("CREATE ROLE {ROLE} LOGIN")).await?;
        cluster.admin_on("postgres", &format!("CREATE DATABASE {DATABASE} OWNER {ROLE}")).await?;
        Ok(cluster)
    }

    /// Returns the URL for the server under test, through this port.
    pub(crate) fn url(port: u16) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{port}/{DATABASE}")
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) async fn start(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            // After a kill, its children hold the memory for a moment, and a new start fails.
            let mut process = self.spawn()?;
            while process.ended()?.is_none() {
                if self.connect("postgres").await.is_ok() {
                    self.process = Some(process);
                    return Ok(());
                }
                if began.elapsed() > START_TIMEOUT {
                    return Err(format!("PostgreSQL does not start:\n{}", process.output()).into());
                }
                sleep(TICK).await;
            }
            if began.elapsed() > START_TIMEOUT {
                return Err(format!("PostgreSQL ends at its start:\n{}", process.output()).into());
            }
            sleep(TICK * 10).await;
        }
    }

    fn spawn(&self) -> Result<Process, Failure> {
        let mut command = Command::new(self.binaries.join("postgres"));
        run_as(&mut command, self.owner);
        command.current_dir(&self.folder).arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.folder);
        command.args(["-p", &self.port.to_string()]);
        for setting in
            ["listen_addresses=127.0.0.1", "max_connections=300", "shared_buffers=64MB", "min_wal_size=32MB"]
        {
            command.args(["-c", setting]);
        }
        Process::spawn(&mut command, &self.folder.with_extension("log"))
    }

    /// Stops it: with `INT` in order, with `QUIT` at once, with `KILL` without a word.
    pub(crate) async fn stop(&mut self, signal: Signal) -> Result<(), Failure> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(signal)?;
        process.exit(STOP_TIMEOUT).await?;
        Ok(())
    }

    /// Whether its process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool, Failure> {
        match &mut self.process {
            Some(process) => Ok(process.ended()?.is_some()),
            None => Ok(true),
        }
    }

    /// Stops all of its processes without ending them (`STOP`), or lets them continue (`CONT`).
    pub(crate) fn signal_all(&self, signal: Signal) -> Result<(), Failure> {
        let Some(process) = &self.process else { return Ok(()) };
        for child in children_of(process.id())? {
            // A backend may have ended meanwhile.
            let _ = rustix::process::kill_process(child, signal);
        }
        process.signal(signal)
    }

    /// Executes statements in the server's database as superuser.
    pub(crate) async fn admin(&self, statements: &str) -> Result<(), Failure> {
        self.admin_on(DATABASE, statements).await
    }

    async fn admin_on(&self, database: &str, statements: &str) -> Result<(), Failure> {
        let mut connection = self.connect(database).await?;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Returns a connection of a superuser to the server's database.
    pub(crate) async fn session(&self) -> Result<PgConnection, Failure> {
        self.connect(DATABASE).await
    }

    async fn connect(&self, database: &str) -> Result<PgConnection, Failure> {
        let url = format!("postgres://postgres@127.0.0.1:{}/{database}", self.port);
        Ok(PgConnection::connect(&url).await?)
    }

    /// Ends the connections of the server under test.
    pub(crate) async fn end_connections(&self) -> Result<(), Failure> {
        self.admin(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"
        ))
        .await
    }

    /// Sets a default for the connections that the server opens from now on, and ends the present ones.
    pub(crate) async fn set_default(&self, setting: &str) -> Result<(), Failure> {
        self.admin(&format!("ALTER ROLE {ROLE} {setting}")).await?;
        self.end_connections().await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.with_extension("log"));
    }
}

/// Returns the processes whose parent is this one.
fn children_of(parent: u32) -> Result<Vec<rustix::process::Pid>, Failure> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name of the program, in parentheses, may hold anything.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        if fields.split(' ').nth(1).and_then(|field| field.parse::<u32>().ok()) == Some(parent) {
            children.extend(rustix::process::Pid::from_raw(id));
        }
    }
    Ok(children)
}

/// Whether there is one to run.
pub(crate) fn is_installed() -> bool {
    binaries().is_some()
}

/// Returns the folder of the newest installed binaries.
fn binaries() -> Option<PathBuf> {
    let named = std::env::var_os("CTI_TEST_POSTGRES_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort_by_key(|bin| {
        let version =
            bin.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse::<u32>().ok());
        std::cmp::Reverse(version)
    });
    let is_whole = |bin: &PathBuf| bin.join("initdb").is_file() && bin.join("postgres").is_file();
    named.into_iter().chain(std::env::split_paths(&path)).chain(versions).find(is_whole)
}
