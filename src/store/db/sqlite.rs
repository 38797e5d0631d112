//! Opening SQLite.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cti_actors::{background::resume, error::StoreError};
use sqlx::{
    ConnectOptions, Connection, Pool, Sqlite, SqliteConnection, SqliteExecutor,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use tracing::{info, warn};

use super::{
    connections::{Begin, Connections},
    errors::store_error,
    pool::{ACQUIRE_TIMEOUT, Pair},
    sqlite_file::{SqliteFile, log_of, size_of, why_read_only},
    trust::Trust,
};

/// How long SQLite waits while another process writes.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The settings of each connection.
pub(super) const PRAGMAS: [(&str, &str); 7] = [
    ("synchronous", "FULL"),
    ("foreign_keys", "ON"),
    // A statement of many rows saves the pages that it changes, in case it fails half-way: in memory, not in a file.
    ("temp_store", "MEMORY"),
    // What is deleted or replaced is overwritten: an erased person is in no free page.
    ("secure_delete", "ON"),
    ("cache_size", "-32768"),
    ("wal_autocheckpoint", "4000"),
    // That of `MAX_LOG_BYTES`.
    ("journal_size_limit", "67108864"),
];
/// How long the check of the file may take at the start.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// How many steps SQLite makes between two looks at the clock; some milliseconds.
const CHECK_STEPS: i32 = 100_000;
/// A larger write-ahead log is cut when it has been copied into the database.
const MAX_LOG_BYTES: u64 = 64 << 20;
/// How often its size is looked at.
const LOG_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How often the log is copied into the database while it grows, and how often it is looked at otherwise.
const LOG_COPY_INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];
/// A log that grew by more frames between two looks is left to the writers.
const MAX_COPIED_FRAMES: i64 = 1000;
/// How long writers may wait for a reader while the log is cut.
const LOG_CUT_TIMEOUT: Duration = Duration::from_millis(100);

const READ: Begin = Begin { any: "BEGIN", snapshot: "BEGIN", wraps_statements: false };
const WRITE: Begin = Begin { any: "BEGIN IMMEDIATE", snapshot: "BEGIN", wraps_statements: false };

/// Opens SQLite with a WAL, so that readers never wait; with `FULL`, so that a commit has reached the disk; and with
/// one writing connection, because SQLite has only one writer.
pub(super) async fn open(path: &Path, trust: &Trust) -> Result<Pair<Sqlite>, StoreError> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await.map_err(|error| store_error(sqlx::Error::Io(error)))?;
    }
    if let Some(problem) = why_read_only(path) {
        return Err(StoreError::Unusable(problem));
    }
    if size_of(path) > 0 {
        let file = SqliteFile::at(path).map_err(|error| store_error(sqlx::Error::Io(error)))?;
        file.check_log()?;
        check_content(path).await?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(BUSY_TIMEOUT);
    let options = PRAGMAS.into_iter().fold(options, |options, (name, value)| options.pragma(name, value));
    // Only here: a connection that is replaced later must not create another file.
    let mut first =
        options.clone().create_if_missing(true).connect().await.map_err(|error| unusable(path, error))?;
    let tried = try_to_write(&mut first).await;
    let file = SqliteFile::at(path).map_err(|error| store_error(sqlx::Error::Io(error)))?;
    let file = Arc::new(file);
    tried.map_err(|error| unusable(path, error))?;

    let watched = Arc::clone(&file);
    let pool = SqlitePoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(move |_, _| {
            let checked = watched.check();
            Box::pin(async { checked })
        });
    let pool = trust.guard(pool);
    let write = pool.clone().max_connections(1).idle_timeout(None).max_lifetime(None);
    let write = write.connect_with(options.clone()).await.map_err(|error| unusable(path, error))?;
    let read = pool.max_connections(4).connect_with(options.clone()).await;
    let read = read.map_err(|error| unusable(path, error))?;
    let state = (read.clone(), Arc::clone(&file));
    tokio::spawn(resume("copy the write-ahead log", state, |(pool, file)| Box::pin(copy_log(pool, file))));
    // After the others are open: the last connection that closes copies the log and removes it.
    let _ = first.close().await;
    let state = (write.clone(), options, Arc::clone(&file), log_of(path));
    tokio::spawn(resume("keep the write-ahead log small", state, |(pool, options, file, log)| {
        Box::pin(keep_log_small(pool, options, file, log))
    }));
    let connections =
        |pool, begin| Connections { pool, begin, trust: trust.clone(), file: Some(Arc::clone(&file)) };
    Ok(Pair { read: connections(read, READ), write: connections(write, WRITE) })
}

/// Takes the lock of a writer, which a file that can only be read refuses.
async fn try_to_write(db: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    db.begin_with("BEGIN IMMEDIATE").await?.rollback().await
}

/// Says why a file can't be used.
fn unusable(path: &Path, error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|failure| failure.code()?.parse::<u32>().ok());
    let file = path.display();
    match code.map(|code| code & 0xff) {
        Some(8) => {
            StoreError::Unusable(format!("the database file {file} or its folder is read-only: {error}"))
        }
        Some(14) => {
            StoreError::Unusable(format!("the database file {file} can't be opened or created: {error}"))
        }
        Some(11) => damaged(path, &error.to_string()),
        Some(26) => StoreError::Unusable(format!("the file {file} is no database of SQLite")),
        _ => store_error(error),
    }
}

fn damaged(path: &Path, problem: &str) -> StoreError {
    let file = path.display();
    let log = log_of(path);
    let hint = if size_of(&log) > 0 {
        format!(
            "; if this file was restored while {log} was left from another one, move {log} and {file}-shm away",
            log = log.display()
        )
    } else {
        String::new()
    };
    StoreError::Unusable(format!("the database file {file} is damaged ({problem}); restore a backup{hint}"))
}

/// Reads the whole file, as far as the time allows, without changing it: once it is open for writing, a log that belongs
/// to another file is copied into it.
async fn check_content(path: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let mut db = options.connect().await.map_err(|error| unusable(path, error))?;
    let began = Instant::now();
    let mut handle = db.lock_handle().await.map_err(store_error)?;
    handle.set_progress_handler(CHECK_STEPS, move || began.elapsed() < CHECK_TIMEOUT);
    drop(handle);
    let checked: Result<String, _> = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut db).await;
    let _ = db.close().await;
    match checked {
        Ok(found) if found == "ok" => Ok(()),
        Ok(problem) => Err(damaged(path, &problem)),
        Err(error) if error.as_database_error().is_some_and(|it| it.code().as_deref() == Some("9")) => {
            info!(file = %path.display(), "the database file is too large to be checked wholly at the start");
            Ok(())
        }
        Err(error) => Err(unusable(path, error)),
    }
}

/// Copies the write-ahead log into the database beside the writers. A writer whose log has become long copies it itself,
/// and what waits for that commit waits for some thousand pages: without this, one webhook in fifty at 500 a second. When
/// writers have much to do, they are left alone: their flushes would wait for this one.
async fn copy_log(pool: &Pool<Sqlite>, file: &SqliteFile) {
    let [while_it_grows, otherwise] = LOG_COPY_INTERVALS;
    let (mut interval, mut known) = (otherwise, 0);
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = pool.close_event() => return,
        }
        if file.check().is_err() {
            continue;
        }
        // What fails here, a writer does, or its error shows.
        let (_, frames, copied) = checkpoint(pool, "PRAGMA wal_checkpoint(NOOP)").await.unwrap_or_default();
        let new = if frames < known { frames } else { frames - known };
        if frames > copied && new <= MAX_COPIED_FRAMES {
            let _ = checkpoint(pool, "PRAGMA wal_checkpoint(PASSIVE)").await;
        }
        interval = if new == 0 { otherwise } else { while_it_grows };
        known = frames;
    }
}

/// Cuts the write-ahead log when it has become large. Beside a reader that stays, it grows: SQLite begins with it anew only
/// when nobody reads from it, and never makes it smaller by itself.
async fn keep_log_small(pool: &Pool<Sqlite>, options: &SqliteConnectOptions, file: &SqliteFile, log: &Path) {
    let options = options.clone().busy_timeout(LOG_CUT_TIMEOUT);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOG_CHECK_INTERVAL) => {}
            () = pool.close_event() => return,
        }
        if size_of(log) <= MAX_LOG_BYTES || file.check().is_err() {
            continue;
        }
        match cut_log(&options).await {
            Ok(0) => info!("the write-ahead log was cut"),
            Ok(_) => warn!(bytes = size_of(log), "a reader keeps the write-ahead log from being cut"),
            Err(error) => warn!(%error, "the write-ahead log could not be cut"),
        }
    }
}

/// Returns 0 if the log was cut, 1 if somebody reads from it.
async fn cut_log(options: &SqliteConnectOptions) -> Result<i64, sqlx::Error> {
    let mut db = options.connect().await?;
    let (busy, _, _) = checkpoint(&mut db, "PRAGMA wal_checkpoint(TRUNCATE)").await?;
    db.close().await?;
    Ok(busy)
}

/// Returns 1 if somebody prevented it, how many frames the log has, and how many of them are copied.
async fn checkpoint(
    db: impl SqliteExecutor<'_>,
    statement: &'static str,
) -> Result<(i64, i64, i64), sqlx::Error> {
    sqlx::query_as(statement).fetch_one(db).await
}

#[cfg(test)]
mod tests;
