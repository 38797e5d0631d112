//! The database and the configuration of a server.

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    net::TcpListener,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use rustix::fs::statvfs;
use sqlx::Connection;
use tempfile::TempDir;

use super::{
    postgres,
    process::Process,
    rest::{LeftServer, LeftServers},
    run_to_end,
    server::TestServer,
};

/// The bearer token of `/internal`.
pub(crate) const ADMIN_SECRET: &str = "the-admin-secret-of-the-tests";
/// The shared webhook secret.
pub(crate) const WEBHOOK_SECRET: &str = "the-webhook-secret-of-the-tests";
/// Base64 of 32 bytes.
const TOKEN_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The in-memory file system of Linux.
const MEMORY: &str = "/dev/shm";
/// The free space that it must have to be used.
const MEMORY_WANTED: u64 = 1 << 30;

/// A database and a configuration. Servers of the same world share the database.
#[derive(Clone)]
pub(crate) struct World {
    settings: BTreeMap<String, String>,
    /// The binary that is tested, or another version of it.
    program: PathBuf,
    /// The working folder with the SQLite file. A running server keeps it.
    folder: Arc<TempDir>,
    /// Servers that the test has dropped.
    left: Arc<LeftServers>,
}

impl World {
    /// Creates a world with a new SQLite file.
    pub(crate) fn on_sqlite() -> Self {
        let folder = fresh_folder();
        let url = format!("sqlite://{}", folder.path().join("cti.db").display());
        Self::around(folder, url)
    }

    /// Creates a world with a new PostgreSQL database; `None` if PostgreSQL is not installed.
    pub(crate) async fn on_postgres(test: &str) -> Option<Self> {
        let url = postgres::fresh_database(test).await?;
        Some(Self::around(fresh_folder(), url))
    }

    /// Creates a world with this database.
    pub(crate) fn on(database_url: &str) -> Self {
        Self::around(fresh_folder(), database_url.to_owned())
    }

    fn around(folder: TempDir, database_url: String) -> Self {
        let settings = [
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("DATABASE_URL", &database_url),
            ("INTERNAL_API_SECRET", ADMIN_SECRET),
            ("DIALPAD_WEBHOOK_SECRET", WEBHOOK_SECRET),
            ("TOKEN_ENCRYPTION_KEY", TOKEN_KEY),
            ("RUST_LOG", "info"),
            ("NO_COLOR", "1"),
            // The private PostgreSQL does not sync to the disk.
            ("ALLOW_UNSAFE_DATABASE", "true"),
            // Tests that count events don't want one that depends on how long they take.
            ("INTERACTION_SETTLE", "1h"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let program = env!("CARGO_BIN_EXE_cti-server").into();
        Self { settings, program, folder: Arc::new(folder), left: Arc::default() }
    }

    /// Sets a setting.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Runs another version of the binary.
    pub(crate) fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// Removes a setting.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.settings.remove(name);
        self
    }

    /// Stops the servers that the test has dropped, each once it is at rest. Every test ends with it.
    pub(crate) async fn finish(&self) {
        self.left.finish().await;
    }

    /// Takes over a server that the test has dropped.
    pub(super) fn leave(&self, base_url: String, process: Process) {
        let secrets = self.settings.get("INTERNAL_API_SECRET").map_or(ADMIN_SECRET, String::as_str);
        let admin_secret = secrets.split(',').next().unwrap_or_default().trim().to_owned();
        let folder = Arc::clone(&self.folder);
        self.left.add(LeftServer { base_url, admin_secret, process, folder });
    }

    pub(crate) fn setting(&self, name: &str) -> &str {
        &self.settings[name]
    }

    pub(crate) fn is_on_postgres(&self) -> bool {
        self.setting("DATABASE_URL").starts_with("postgres:")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Executes a statement in the database directly.
    pub(crate) async fn execute(&self, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        let url = self.setting("DATABASE_URL");
        if self.is_on_postgres() {
            let mut db = sqlx::PgConnection::connect(url).await.expect("the database can be reached");
            sqlx::raw_sql(statement).execute(&mut db).await.expect("a good statement");
        } else {
            let mut db = sqlx::SqliteConnection::connect(url).await.expect("the database can be opened");
            sqlx::raw_sql(statement).execute(&mut db).await.expect("a good statement");
        }
    }

    /// Runs a counting query in the database directly.
    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        let url = self.setting("DATABASE_URL");
        if self.is_on_postgres() {
            let mut db = sqlx::PgConnection::connect(url).await.expect("the database can be reached");
            sqlx::query_scalar(statement).fetch_one(&mut db).await.expect("a good statement")
        } else {
            let mut db = sqlx::SqliteConnection::connect(url).await.expect("the database can be opened");
            sqlx::query_scalar(statement).fetch_one(&mut db).await.expect("a good statement")
        }
    }

    /// Starts a server and waits until it listens. Servers that were dropped before are stopped first.
    pub(crate) async fn start(&self) -> TestServer {
        self.start_with(&["serve"]).await
    }

    /// Starts a server with these arguments.
    pub(crate) async fn start_with(&self, args: &[&str]) -> TestServer {
        self.finish().await;
        let mut command = self.command(args);
        if !self.settings.contains_key("SPOOL_DIR") {
            command.env("SPOOL_DIR", self.free_spool());
        }
        let mut process = Process::spawn("cti-server serve", &mut command);
        let base_url = process.wait_for_line("where it is listening", listening_at).await;
        TestServer::new(base_url, process, self.clone())
    }

    /// Starts a server as a service manager does that has opened the socket, and waits until it listens.
    pub(crate) async fn start_on(&self, socket: &TcpListener) -> TestServer {
        self.finish().await;
        let mut process = self.spawn_on(socket.try_clone().expect("a socket can be shared").into());
        let base_url = process.wait_for_line("where it is listening", listening_at).await;
        TestServer::new(base_url, process, self.clone())
    }

    /// Starts a server with this file as the socket of a service manager (descriptor 3).
    pub(crate) fn spawn_on(&self, socket: OwnedFd) -> Process {
        let serve = self.command(&["serve"]);
        let mut command = Command::new("sh");
        // The process id must be the server's own, so the shell becomes the server.
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve";
        command.args(["-c", script]).arg(serve.get_program()).current_dir(self.folder()).env_clear();
        command.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Process::spawn_with_input("cti-server serve", &mut command, socket.into())
    }

    /// Returns the folder of the first spool that no server uses: servers of one world that run at the same time each
    /// have their own, and the next server after one that was killed has the same.
    pub(crate) fn free_spool(&self) -> PathBuf {
        let is_free = |spool: &PathBuf| {
            let lock = File::open(spool.join("lock"));
            lock.map_or(true, |lock| lock.try_lock().is_ok())
        };
        let name = |number: usize| if number == 0 { "spool".to_owned() } else { format!("spool-{number}") };
        let mut spools = (0..).map(|number| self.folder().join(name(number)));
        spools.find(is_free).expect("there are enough numbers")
    }

    /// Runs the binary until it ends.
    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        let output = run_to_end(self.command(args), Duration::from_secs(60)).await;
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns the command of the binary. It inherits only the search path.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.folder()).env_clear().envs(&self.settings);
        if let Some(path) = env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Creates a folder, in memory if there is room. A busy disk can delay a commit for longer than a webhook may wait; the
/// server then answers accordingly and fails a test about something else. Commits survive a killed server in either place:
/// only a power failure would differ.
fn fresh_folder() -> TempDir {
    let mut folder = tempfile::Builder::new();
    folder.prefix("cti-test-");
    let has_room = statvfs(MEMORY).is_ok_and(|stats| stats.f_bavail * stats.f_frsize >= MEMORY_WANTED);
    let in_memory = if has_room { folder.tempdir_in(MEMORY).ok() } else { None };
    in_memory.unwrap_or_else(|| folder.tempdir().expect("a temporary folder can be made"))
}

pub(crate) fn listening_at(line: &str) -> Option<String> {
    let (before, rest) = line.split_once("://127.0.0.1:").filter(|_| line.contains("listening"))?;
    let scheme = if before.ends_with("https") { "https" } else { "http" };
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!port.is_empty()).then(|| format!("{scheme}://127.0.0.1:{port}"))
}
