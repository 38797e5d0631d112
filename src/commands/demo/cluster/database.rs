//! The PostgreSQL database of the demo: a new one beside that of `DATABASE_URL`, or one on a private server.

use std::{
    env, fs, io,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::{Connection, PgConnection, Postgres, migrate::MigrateDatabase};
use tokio::time::{Instant, sleep};

use super::balancer::free_port;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const START_CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Where Debian has the binaries of each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is neither a URL nor a program.
    #[error(
        "several processes need PostgreSQL: set DATABASE_URL=postgres://… to a server on which the demo may create a \
         database, or install PostgreSQL's server (initdb and postgres on the PATH or in {DEBIAN})"
    )]
    Missing,
    /// The server of `DATABASE_URL` does not let the demo create a database.
    #[error("cannot create a database on the server of DATABASE_URL: {0}")]
    Refused(sqlx::Error),
    /// The private server could not be made.
    #[error("cannot run {program}: {reason}")]
    Program {
        /// The program.
        program: &'static str,
        /// Its output, or the system's error.
        reason: String,
    },
}

/// A database that is removed at the end.
pub(super) struct Database {
    url: String,
    described: String,
    /// The private server.
    server: Option<Child>,
}

impl Database {
    /// Creates a database. What `DATABASE_URL` names is not touched: only its server is used.
    pub(super) async fn create(folder: &Path) -> Result<Self, DatabaseError> {
        let given = env::var("DATABASE_URL").unwrap_or_default();
        if let Ok(mut url) = reqwest::Url::parse(&given)
            && url.scheme().starts_with("postgres")
        {
            let name = format!("cti_demo_{:08x}", rand::random::<u32>());
            url.set_path(&name);
            Postgres::create_database(url.as_str()).await.map_err(DatabaseError::Refused)?;
            let host = url.host_str().unwrap_or("localhost");
            let described = format!("{name} on the PostgreSQL of {host} (removed at the end)");
            return Ok(Self { url: url.into(), described, server: None });
        }
        let binaries = binaries().ok_or(DatabaseError::Missing)?;
        private(&binaries, folder).await
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn described(&self) -> &str {
        &self.described
    }

    /// Removes the database, or stops the private server, whose folder goes with the demo's.
    pub(super) async fn remove(self) {
        let Some(mut server) = self.server else {
            // What can't be removed has a name that says what it is.
            let _ = Postgres::force_drop_database(&self.url).await;
            return;
        };
        // It fails only if the server has ended.
        let _ = kill_process(Pid::from_child(&server), Signal::INT);
        let _ = tokio::task::spawn_blocking(move || server.wait()).await;
    }
}

/// Starts a private server in a folder below the demo's.
async fn private(binaries: &Path, demo: &Path) -> Result<Database, DatabaseError> {
    let failed =
        |program| move |error: io::Error| DatabaseError::Program { program, reason: error.to_string() };
    let folder = demo.join("postgres");
    fs::create_dir(&folder).map_err(failed("initdb"))?;
    let user = owner(demo, &folder).map_err(failed("initdb"))?;
    let run = |name: &str| {
        let mut command = Command::new(binaries.join(name));
        command.current_dir(&folder).stdin(Stdio::null());
        if let Some((user, group)) = user {
            command.uid(user).gid(group);
        }
        command
    };
    let data = folder.join("data");
    let made: Output = run("initdb")
        .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"])
        .arg(&data)
        .output()
        .map_err(failed("initdb"))?;
    if !made.status.success() {
        let reason = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        return Err(DatabaseError::Program { program: "initdb", reason });
    }
    let port = free_port().map_err(failed("postgres"))?;
    let log = fs::File::create(demo.join("postgres.log")).map_err(failed("postgres"))?;
    let server = run("postgres")
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=300", "-k", ""])
        .args(["-p", &port.to_string()])
        .arg("-D")
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(failed("postgres"))?;
    let mut database = Database {
        url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        described: format!("a private PostgreSQL on port {port} (removed at the end)"),
        server: Some(server),
    };
    let began = Instant::now();
    while PgConnection::connect(&database.url).await.is_err() {
        let has_ended = database.server.as_mut().is_none_or(|server| !matches!(server.try_wait(), Ok(None)));
        if has_ended || began.elapsed() > START_TIMEOUT {
            database.remove().await;
            let reason = fs::read_to_string(demo.join("postgres.log")).unwrap_or_default();
            return Err(DatabaseError::Program { program: "postgres", reason });
        }
        sleep(START_CHECK_INTERVAL).await;
    }
    Ok(database)
}

/// Returns the folder of the newest server that is installed.
fn binaries() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(DEBIAN)
        .map(|versions| {
            let version = |entry: fs::DirEntry| {
                Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
            };
            versions.flatten().filter_map(version).collect()
        })
        .unwrap_or_default();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let folders = env::split_paths(&path).chain(versions.into_iter().map(|(_, folder)| folder));
    folders.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

/// Gives the folder, which is in that of the demo, to another user where this one is root, as which PostgreSQL refuses to
/// run.
fn owner(demo: &Path, folder: &Path) -> io::Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let ids = |wanted: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = ids("postgres").or_else(|| ids("nobody"));
    if let Some((user, group)) = found {
        chown(folder, Some(user), Some(group))?;
        // A temporary folder is root's alone: that user must get through it.
        if fs::metadata(demo)?.permissions().mode() & 0o001 == 0 {
            chown(demo, None, Some(group))?;
            fs::set_permissions(demo, fs::Permissions::from_mode(0o710))?;
        }
    }
    Ok(found)
}
