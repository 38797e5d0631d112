use std::{fs, future::Future, os::unix::fs::PermissionsExt, path::PathBuf};

use tempfile::TempDir;

use super::*;
use crate::{
    database_url::DatabaseUrl,
    store::db::pool::{Database, Pools},
};

/// A database in a folder of its own.
struct Opened {
    folder: TempDir,
    database: Database,
}

impl Opened {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let database = open_database(&folder.path().join("cti.db")).await.expect("the database opens");
        let opened = Self { folder, database };
        opened.execute("CREATE TABLE notes (text BLOB)").await.expect("a good statement");
        opened
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cti.db")
    }

    fn pools(&self) -> &Pair<Sqlite> {
        match self.database.pools() {
            Pools::Sqlite(pools) => pools,
            Pools::Postgres(_) => panic!("this is SQLite"),
        }
    }

    async fn execute(&self, statement: &'static str) -> Result<(), StoreError> {
        self.write(async { sqlx::query(statement).execute(&self.pools().write).await.map(|_| ()) }).await
    }

    /// Writes a note in a transaction.
    async fn write_note(&self) -> Result<(), StoreError> {
        self.write(async {
            let mut transaction = self.pools().write.begin().await?;
            sqlx::query("INSERT INTO notes VALUES (zeroblob(200000))").execute(&mut *transaction).await?;
            transaction.commit().await
        })
        .await
    }

    async fn write(&self, work: impl Future<Output = Result<(), sqlx::Error>>) -> Result<(), StoreError> {
        self.database.in_time(work).await
    }
}

async fn open_database(path: &Path) -> Result<Database, StoreError> {
    Database::open(&DatabaseUrl::Sqlite(path.to_owned())).await
}

/// Opens a database that can't be used. Returns the reason.
async fn refusal(path: &Path) -> String {
    match open_database(path).await {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(StoreError::Unusable(reason)) => reason,
        Err(other) => panic!("{other}"),
    }
}

fn reason<T>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(_) => panic!("it was written"),
        Err(StoreError::Unavailable(reason)) => reason,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_writer_works_again_after_the_disk_was_full() {
    let opened = Opened::new().await;
    // Of the one connection that writes: SQLite says then what it says when the disk is full.
    opened.execute("PRAGMA max_page_count = 1").await.expect("a good statement");
    let problem = reason(opened.write_note().await);
    assert!(problem.contains("full"), "{problem}");
    opened.write_note().await.expect("another connection writes");
    opened.write_note().await.expect("it goes on");
}

#[tokio::test]
async fn nothing_counts_as_written_once_the_file_was_removed_or_replaced() {
    let opened = Opened::new().await;
    let aside = opened.folder.path().join("aside.db");
    fs::rename(opened.path(), &aside).expect("the file can be moved");
    let problem = reason(opened.write_note().await);
    assert!(problem.contains("cti.db was removed"), "{problem}");
    fs::write(opened.path(), "").expect("a file can be made");
    let problem = reason(opened.write_note().await);
    assert!(problem.contains("cti.db was replaced"), "{problem}");
    fs::rename(&aside, opened.path()).expect("the file can be moved");
    opened.write_note().await.expect("the file is back");
}

#[tokio::test]
async fn one_server_at_a_time_uses_a_file() {
    let opened = Opened::new().await;
    let file = opened.database.file().expect("there is a file");
    let lock = file.claim().expect("nobody else uses it");
    let link = opened.folder.path().join("link.db");
    std::os::unix::fs::symlink(opened.path(), &link).expect("a link can be made");
    for path in [opened.path(), link] {
        let second = open_database(&path).await.expect("commands may open it");
        let refused = second.file().expect("there is a file").claim().expect_err("it is in use").to_string();
        assert!(refused.contains("another server") && refused.contains("cti.db"), "{refused}");
        second.close().await;
    }
    drop(lock);
    let next = open_database(&opened.path()).await.expect("the database opens");
    next.file().expect("there is a file").claim().expect("the other server is gone");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_with_the_cause() {
    let opened = Opened::new().await;
    opened.database.close().await;
    let path = opened.path();
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    mode(0o444);
    assert!(refusal(&path).await.contains("read-only"));
    mode(0o644);

    let text = opened.folder.path().join("text.db");
    fs::write(&text, "This is no database, but a text of some length.".repeat(100)).expect("it is written");
    assert!(refusal(&text).await.contains("no database of SQLite"));
}

#[tokio::test]
async fn a_log_that_belongs_to_another_file_is_not_copied_into_it() {
    let opened = Opened::new().await;
    let _lock = opened.database.file().expect("there is a file").claim().expect("nobody else uses it");
    opened.write_note().await.expect("it is written");
    // What a server leaves that was killed, beside a file that was restored.
    let folder = tempfile::tempdir().expect("a folder can be made");
    let restored = folder.path().join("cti.db");
    for name in ["cti.db", "cti.db-wal", "cti.db-lock"] {
        fs::copy(opened.folder.path().join(name), folder.path().join(name)).expect("it can be copied");
    }
    let before = fs::read(&restored).expect("it is there");
    let problem = refusal(&restored).await;
    assert!(problem.contains("cti.db-wal was written for another file"), "{problem}");
    assert!(fs::read(&restored).expect("it is there") == before, "the file was changed");

    fs::remove_file(folder.path().join("cti.db-wal")).expect("it can be removed");
    open_database(&restored).await.expect("the restored file alone is a good one");
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let opened = Opened::new().await;
    for _ in 0..40 {
        opened.execute("INSERT INTO notes VALUES (randomblob(3000))").await.expect("it is written");
    }
    opened.execute("CREATE INDEX notes_of_text ON notes (text)").await.expect("it is written");
    opened.database.close().await;
    let mut content = fs::read(opened.path()).expect("it is there");
    let half = content.len() / 2;
    content[half..].fill(0xa5);
    fs::write(opened.path(), content).expect("the folder takes a file");
    let problem = refusal(&opened.path()).await;
    assert!(problem.contains("damaged") && problem.contains("cti.db"), "{problem}");
}

#[tokio::test]
async fn the_log_is_cut_unless_somebody_reads_from_it() {
    let opened = Opened::new().await;
    opened.write_note().await.expect("it is written");
    let options = SqliteConnectOptions::new().filename(opened.path()).busy_timeout(LOG_CUT_TIMEOUT);
    let mut reader = opened.pools().read.read_snapshot().await.expect("a snapshot begins");
    let _: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM notes").fetch_one(&mut *reader).await.expect("it reads");
    opened.write_note().await.expect("it is written");
    assert_eq!(cut_log(&options).await.expect("it is tried"), 1);
    reader.rollback().await.expect("the snapshot ends");
    assert_eq!(cut_log(&options).await.expect("it is cut"), 0);
    assert_eq!(size_of(&log_of(&opened.path())), 0);
    opened.write_note().await.expect("it is written");
}
