//! One private PostgreSQL cluster per test process, from the installed binaries. It is removed with the process.
//!
//! `CTI_TEST_POSTGRES_BIN` names the folder of the binaries, if they are in none of the usual places.
//! `CTI_TEST_REQUIRE_POSTGRES=1` turns the skipped tests of a machine without PostgreSQL into failures.

use std::{
    env, fs,
    io::Write,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::geteuid;
use sqlx::{Connection, PgConnection, Postgres, migrate::MigrateDatabase};
use tokio::sync::OnceCell;

use super::{eventually, free_port};

static CLUSTER: OnceCell<Option<Cluster>> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Runs as long as its standard input is open: when the test process ends, for any reason, it stops the cluster and removes
/// its folder, unless a test has stopped the cluster already. The cluster does not sync to disk, as the servers' own folders are in memory.
const WATCHDOG: &str = r#"
"$1" -D "$2/data" -p "$3" -k "$2" -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=300 \
     -c shared_buffers=64MB >"$2/log" 2>&1 &
server=$!
read -r forever
[ -f "$2/data/postmaster.pid" ] || exit 0
kill -INT "$server"
wait "$server"
rm -rf "$2"
"#;

/// The cluster that all tests of this process share.
struct Cluster {
    port: u16,
    _node: Node,
}

/// A running cluster. It ends, and its folder is removed, when this is dropped.
pub(super) struct Node {
    /// Its open standard input keeps the cluster running.
    _watchdog: Child,
}

/// The installed binaries, and the user that runs them.
#[derive(Clone)]
pub(super) struct Program {
    binaries: PathBuf,
}

/// Returns the URL of a new, empty database; `None`, with a message, if PostgreSQL is not installed.
pub(crate) async fn fresh_database(test: &str) -> Option<String> {
    let Some(cluster) = CLUSTER.get_or_init(Cluster::start).await else {
        skipped(test);
        return None;
    };
    let url = url(cluster.port, &format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed)));
    Postgres::create_database(&url).await.expect("a database can be made");
    Some(url)
}

/// Says that a test is skipped, or fails it.
pub(super) fn skipped(test: &str) {
    let required = env::var("CTI_TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
    assert!(!required, "PostgreSQL binaries not found, and CTI_TEST_REQUIRE_POSTGRES=1");
    // Not eprintln: the test harness captures it.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: PostgreSQL binaries not found (set CTI_TEST_POSTGRES_BIN to their folder): {test}"
    );
}

impl Cluster {
    async fn start() -> Option<Self> {
        let program = Program::find()?;
        let folder = program.create_folder();
        program.initialize(&folder);
        let port = free_port().parse().expect("a number");
        Some(Self { port, _node: Node::start(&program, &folder, port).await })
    }
}

impl Program {
    pub(super) fn find() -> Option<Self> {
        // A folder of links has not all of them.
        let initdb = binaries()?.join("initdb").canonicalize().expect("it was just found");
        Some(Self { binaries: initdb.parent().expect("a file is in a folder").to_owned() })
    }

    /// Creates a folder for a cluster, which belongs to its user.
    pub(super) fn create_folder(&self) -> PathBuf {
        let folder =
            tempfile::Builder::new().prefix("cti-pg-").tempdir().expect("a folder can be made").keep();
        if let Some((user, group)) = owner() {
            chown(&folder, Some(user), Some(group)).expect("root can give a folder away");
        }
        folder
    }

    /// Makes an empty cluster in a folder.
    pub(super) fn initialize(&self, folder: &Path) {
        let initdb = self
            .command("initdb", folder)
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .arg(folder.join("data"))
            .output()
            .expect("initdb can be started");
        assert!(initdb.status.success(), "initdb failed: {}", String::from_utf8_lossy(&initdb.stderr));
    }

    /// Returns the command of one of the binaries, run by the user of the folder.
    pub(super) fn command(&self, name: &str, folder: &Path) -> Command {
        as_owner(Command::new(self.binaries.join(name)), folder)
    }
}

impl Node {
    /// Starts the cluster in this folder, and waits until it takes connections.
    pub(super) async fn start(program: &Program, folder: &Path, port: u16) -> Self {
        let mut watchdog = as_owner(Command::new("sh"), folder)
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(program.binaries.join("postgres"))
            .arg(folder)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal is for the tests; the watchdog ends after them.
            .process_group(0)
            .spawn()
            .expect("sh can be started");
        eventually("PostgreSQL takes connections", async || {
            let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(!log().contains("FATAL:  could not create"), "PostgreSQL does not start:\n{}", log());
            assert!(watchdog.try_wait().is_ok_and(|exit| exit.is_none()), "PostgreSQL ended:\n{}", log());
            PgConnection::connect(&url(port, "postgres")).await.ok()
        })
        .await
        .close()
        .await
        .expect("the connection can be closed");
        Self { _watchdog: watchdog }
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

/// Returns the folder of the newest installed binaries.
fn binaries() -> Option<PathBuf> {
    let named = env::var_os("CTI_TEST_POSTGRES_BIN").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort_by_key(|bin| {
        let version =
            bin.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse::<u32>().ok());
        std::cmp::Reverse(version)
    });
    let whole = |bin: &PathBuf| bin.join("initdb").is_file() && bin.join("postgres").is_file();
    named.into_iter().chain(env::split_paths(&path)).chain(versions).find(whole)
}

/// Returns the user of the cluster: PostgreSQL refuses to run as root, so it runs as `postgres` or `nobody`.
fn owner() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").expect("root can read the list of users");
    let ids = |wanted: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("there is a user besides root"))
}

fn as_owner(mut command: Command, folder: &Path) -> Command {
    command.current_dir(folder);
    if let Some((user, group)) = owner() {
        command.uid(user).gid(group);
    }
    command
}
