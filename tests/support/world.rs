//! One database and one configuration: everything that a server is started with.

use std::{collections::BTreeMap, env, path::Path, process::Command, sync::Arc, time::Duration};

use rustix::fs::statvfs;
use sqlx::Connection;
use tempfile::TempDir;

use super::{
    postgres,
    process::Process,
    rest::{Leaves, LeftServer, LeftServers},
    run_to_end,
    server::TestServer,
};

/// The bearer of `/internal`.
pub(crate) const ADMIN_SECRET: &str = "the-admin-secret-of-the-tests";
/// The key of all webhook signatures.
pub(crate) const WEBHOOK_SECRET: &str = "the-webhook-secret-of-the-tests";
/// Base64 of 32 bytes.
const TOKEN_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";
/// How much room there must be for it to be used.
const MEMORY_WANTED: u64 = 1 << 30;

/// What a server is started with. Servers that are started in the same world share its database.
#[derive(Clone)]
pub(crate) struct World {
    settings: BTreeMap<String, String>,
    /// The working folder; the SQLite file lies in it. A server that runs in it keeps it.
    folder: Arc<TempDir>,
    /// Servers that the test has dropped.
    left: Arc<LeftServers>,
}

impl World {
    /// A world on an SQLite file that does not exist yet.
    pub(crate) fn on_sqlite() -> Self {
        let folder = fresh_folder();
        let url = format!("sqlite://{}", folder.path().join("cti.db").display());
        Self::around(folder, url)
    }

    /// A world on a fresh PostgreSQL database; none where PostgreSQL is not installed.
    pub(crate) async fn on_postgres(test: &str) -> Option<Self> {
        let url = postgres::fresh_database(test).await?;
        Some(Self::around(fresh_folder(), url))
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
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { settings, folder: Arc::new(folder), left: Arc::default() }
    }

    /// The same world with one setting more, or another value of it.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same world without a setting.
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

    /// Changes the database behind the servers' backs.
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

    /// Counts in the database.
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

    /// The same with other words at the command line.
    pub(crate) async fn start_with(&self, args: &[&str]) -> TestServer {
        self.finish().await;
        let mut process = Process::spawn("cti-server serve", &mut self.command(args));
        let base_url = process.says("where it is listening", listening_at).await;
        TestServer::new(base_url, process, self.clone())
    }

    /// Runs the binary in this world until it ends.
    pub(crate) async fn run(&self, args: &[&str]) -> Ended {
        let output = run_to_end(self.command(args), Duration::from_secs(60)).await;
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The binary in this world. It inherits nothing but the search path.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cti-server"));
        command.args(args).current_dir(self.folder()).env_clear().envs(&self.settings);
        if let Some(path) = env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }
}

/// How a command of the binary ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A folder in memory, where there is room. A disk that is busy with something else can keep a commit for longer than a
/// webhook may wait, and that is then told honestly, to a test that is about something else. What a killed server has
/// committed is there all the same: only a machine that loses its power would tell the two apart.
fn fresh_folder() -> TempDir {
    let mut folder = tempfile::Builder::new();
    folder.prefix("cti-test-");
    let has_room = statvfs(MEMORY).is_ok_and(|it| it.f_bavail * it.f_frsize >= MEMORY_WANTED);
    let in_memory = if has_room { folder.tempdir_in(MEMORY).ok() } else { None };
    in_memory.unwrap_or_else(|| folder.tempdir().expect("a temporary folder can be made"))
}

fn listening_at(line: &str) -> Option<String> {
    let rest = line.split_once("http://127.0.0.1:").filter(|_| line.contains("listening"))?.1;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!port.is_empty()).then(|| format!("http://127.0.0.1:{port}"))
}
