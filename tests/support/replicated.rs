//! A PostgreSQL primary and its streaming replica, each a cluster of its own, for tests of a failover.

use std::{fs, path::PathBuf, process::Command};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, migrate::MigrateDatabase};

use super::{
    eventually, free_port,
    postgres::{Node, Program, skipped},
};

const DATABASE: &str = "cti";

/// Two servers of PostgreSQL. The second one follows the first until it is promoted.
pub(crate) struct Replicated {
    pub(crate) first: Replica,
    pub(crate) second: Replica,
}

/// One of the two.
pub(crate) struct Replica {
    pub(crate) port: u16,
    program: Program,
    folder: PathBuf,
    /// None while it is stopped.
    node: Option<Node>,
}

impl Replicated {
    /// Starts both, with an empty database; `None`, with a message, if PostgreSQL is not installed.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        let Some(program) = Program::find() else {
            skipped(test);
            return None;
        };
        let mut first = Replica::new(&program);
        program.initialize(&first.folder);
        first.start().await;
        let mut second = Replica::new(&program);
        let mut copy = program.command("pg_basebackup", &second.folder);
        copy.args(["-R", "-X", "stream", "-c", "fast", "-h", "127.0.0.1", "-U", "postgres", "-p"]);
        copy.arg(first.port.to_string()).arg("-D").arg(second.folder.join("data"));
        let copied = copy.output().expect("pg_basebackup can be started");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        second.start().await;
        Postgres::create_database(&first.url()).await.expect("a database can be made");
        let both = Self { first, second };
        both.wait_until_streaming().await;
        Some(both)
    }

    /// Lets each commit of the first wait for the second, so that a failover loses nothing.
    pub(crate) async fn synchronous(&self) {
        self.first.execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
        self.first.execute("SELECT pg_reload_conf()").await;
        let synchronous = "SELECT COUNT(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        eventually("the replica is synchronous", async || {
            (self.first.count(synchronous).await == 1).then_some(())
        })
        .await;
    }

    /// Waits until the second has everything that the first has.
    pub(crate) async fn caught_up(&self) {
        let caught_up = "SELECT COUNT(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()";
        eventually("the replica has it", async || (self.first.count(caught_up).await == 1).then_some(()))
            .await;
    }

    async fn wait_until_streaming(&self) {
        let streaming = "SELECT COUNT(*) FROM pg_stat_replication WHERE state = 'streaming'";
        eventually("the replica follows", async || (self.first.count(streaming).await == 1).then_some(()))
            .await;
        eventually("the replica has the database", async || {
            PgConnection::connect(&self.second.url()).await.ok()?.close().await.ok()
        })
        .await;
    }
}

impl Replica {
    fn new(program: &Program) -> Self {
        let port = free_port().parse().expect("a number");
        Self { port, program: program.clone(), folder: program.create_folder(), node: None }
    }

    /// Starts it, also after it was stopped or killed.
    pub(crate) async fn start(&mut self) {
        self.node = Some(Node::start(&self.program, &self.folder, self.port).await);
    }

    /// Stops it in an orderly way.
    pub(crate) async fn stop(&mut self) {
        self.signal("INT").await;
    }

    /// Lets it crash.
    pub(crate) async fn crash(&mut self) {
        self.signal("QUIT").await;
    }

    /// Kills it. What is left of it ends by itself, and it is not started again.
    pub(crate) async fn kill(&mut self) {
        self.send("KILL");
        let file = self.pid_file();
        fs::remove_file(file).expect("it is left behind");
        drop(self.node.take());
    }

    async fn signal(&mut self, signal: &str) {
        self.send(signal);
        let file = self.pid_file();
        eventually("PostgreSQL ends", async || (!file.exists()).then_some(())).await;
        drop(self.node.take());
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("data/postmaster.pid")
    }

    fn send(&self, signal: &str) {
        let file = self.pid_file();
        let pid = fs::read_to_string(&file).expect("it runs");
        let pid = pid.lines().next().expect("its process id");
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
        assert!(sent.is_ok_and(|status| status.success()), "PostgreSQL takes no signal");
    }

    /// Makes a replica the primary.
    pub(crate) async fn promote(&self) {
        self.execute("SELECT pg_promote()").await;
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@{}/{DATABASE}", self.address())
    }

    /// Executes a statement on it.
    pub(crate) async fn execute(&self, statement: &str) {
        let mut db = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut db).await.expect("a good statement");
    }

    /// Runs a counting query on it.
    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        let mut db = self.connect().await;
        sqlx::query_scalar(statement).fetch_one(&mut db).await.expect("a good statement")
    }

    async fn connect(&self) -> PgConnection {
        let url = format!("postgres://postgres@{}/postgres", self.address());
        PgConnection::connect(&url).await.expect("it can be reached")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if self.node.is_none() {
            // Nobody else removes it then; what can't be removed is left to the system.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
