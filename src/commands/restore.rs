//! `cti-server restore FILE`: replaces the database by a backup, and begins another epoch of its feeds.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use cti_actors::{error::StoreError, id::Epoch};
use sqlx::postgres::PgConnectOptions;
use thiserror::Error;

use super::{output::print_line, postgres_tools, private_file};
use crate::{
    config::{Config, ConfigError, Needs},
    database_url::DatabaseUrl,
    store::backup::{
        Check, Counts, begin_epoch, check_sqlite, count, drop_tables, host_of, inspect_postgres, lock_sqlite,
        sqlite_has_data, sqlite_is_in_use,
    },
};

/// How long PostgreSQL may show connections of a server that has just been stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Replace the database by a backup. The feeds get a new epoch.
///
/// No server may run. Pending migrations are applied. Clients learn from the new epoch that events are missing.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// The file that `backup` wrote
    file: PathBuf,
    /// Check the restored database thoroughly, and say what it has
    #[arg(long)]
    verify: bool,
    /// Replace a database that has data
    #[arg(long)]
    force: bool,
    /// A settings file that overrides the defaults; environment variables override the file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why `restore` failed.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database has data.
    #[error("the database {0:?} has data; replace it with --force")]
    HasData(DatabaseUrl),
    /// A server uses the database.
    #[error("a process uses the database {0:?}; stop it first")]
    InUse(DatabaseUrl),
    /// The backup is the database.
    #[error("{} is the database itself", .0.display())]
    Itself(PathBuf),
    /// A file can't be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file is no backup, or the database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `pg_restore` is not installed.
    #[error("pg_restore was not found; it comes with the clients of PostgreSQL")]
    NoTool,
    /// `pg_restore` failed.
    #[error("pg_restore failed: {0}")]
    Tool(String),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |error| RestoreError::File { path, error }
}

/// Replaces the database.
///
/// # Errors
/// See [`RestoreError`].
pub async fn run(args: RestoreArgs) -> Result<(), RestoreError> {
    let RestoreArgs { file, verify, force, config } = args;
    let url = Config::load(config.as_deref(), Needs::Database)?.database_url;
    // A missing backup is said before anything about the database.
    File::open(&file).map_err(at(&file))?;
    let (epoch, applied) = match &url {
        DatabaseUrl::Sqlite(database) => into_sqlite(&file, database, &url, force).await?,
        DatabaseUrl::Postgres(hosts) => {
            let database = host_of(hosts).await?;
            into_postgres(&file, &database, &url, force).await?
        }
    };
    for migration in applied {
        print_line(&format!("applied {migration}"));
    }
    print_line(&format!("restored {} into {url:?}; the epoch of the feeds is now {epoch}", file.display()));
    if verify {
        if let DatabaseUrl::Sqlite(database) = &url {
            check_sqlite(database, Check::Full).await?;
        }
        let Counts { apps, calls, events, webhooks } = count(&url).await?;
        print_line(&format!("verified: {apps} apps, {calls} calls, {events} events, {webhooks} webhooks"));
    }
    Ok(())
}

/// Prepares the database beside its place, and moves it there when nothing can fail any more.
async fn into_sqlite(
    file: &Path,
    database: &Path,
    url: &DatabaseUrl,
    force: bool,
) -> Result<(Epoch, Vec<String>), RestoreError> {
    if let (Ok(file), Ok(database)) = (file.canonicalize(), database.canonicalize())
        && file == database
    {
        return Err(RestoreError::Itself(file));
    }
    if let Some(folder) = database.parent() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let Some(_lock) = lock_sqlite(database).map_err(at(database))? else {
        return Err(RestoreError::InUse(url.clone()));
    };
    if database.exists() && sqlite_is_in_use(database).await {
        return Err(RestoreError::InUse(url.clone()));
    }
    // A database that can't be read may have data as well.
    if !force && database.exists() && sqlite_has_data(database).await.unwrap_or(true) {
        return Err(RestoreError::HasData(url.clone()));
    }
    let prepared = private_file::beside(database, ".restoring");
    let ready = prepare(file, &prepared).await;
    if ready.is_err() {
        // The error counts.
        let _ = remove_sqlite(&prepared);
    }
    let begun = ready?;
    // First the log of the database before: with another database file, it would damage that.
    remove_log(database).map_err(at(database))?;
    private_file::move_to(&prepared, database).map_err(at(database))?;
    Ok(begun)
}

async fn prepare(file: &Path, prepared: &Path) -> Result<(Epoch, Vec<String>), RestoreError> {
    remove_sqlite(prepared).map_err(at(prepared))?;
    private_file::create(prepared).map_err(at(prepared))?;
    fs::copy(file, prepared).map_err(at(prepared))?;
    // The permissions were copied as well.
    private_file::restrict(prepared).map_err(at(prepared))?;
    check_sqlite(prepared, Check::Quick).await?;
    if !sqlite_has_tables(prepared).await? {
        return Err(no_backup(file));
    }
    let begun = begin_epoch(&DatabaseUrl::Sqlite(prepared.to_owned())).await?;
    // Nothing is left in a log: its connections are closed.
    remove_log(prepared).map_err(at(prepared))?;
    Ok(begun)
}

fn no_backup(file: &Path) -> RestoreError {
    StoreError::Rejected(format!("{} is no backup of a cti-server: it has no apps", file.display())).into()
}

async fn sqlite_has_tables(file: &Path) -> Result<bool, StoreError> {
    count(&DatabaseUrl::Sqlite(file.to_owned())).await.map(|_| true).or_else(|failure| match failure {
        StoreError::Rejected(_) => Ok(false),
        failure => Err(failure),
    })
}

fn remove_sqlite(database: &Path) -> io::Result<()> {
    remove_log(database)?;
    remove_if_there(database)
}

/// Removes the write-ahead log of a SQLite database that nobody has open, and its index.
fn remove_log(database: &Path) -> io::Result<()> {
    ["-wal", "-shm"].iter().try_for_each(|suffix| remove_if_there(&private_file::beside(database, suffix)))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn into_postgres(
    file: &Path,
    database: &PgConnectOptions,
    url: &DatabaseUrl,
    force: bool,
) -> Result<(Epoch, Vec<String>), RestoreError> {
    let mut target = inspect_postgres(database).await?;
    let began = Instant::now();
    while target.servers > 0 {
        if began.elapsed() > STOP_TIMEOUT {
            return Err(RestoreError::InUse(url.clone()));
        }
        tokio::time::sleep(STOP_CHECK_INTERVAL).await;
        target = inspect_postgres(database).await?;
    }
    if target.has_data && !force {
        return Err(RestoreError::HasData(url.clone()));
    }
    let name = file.display().to_string();
    let listed = pg_restore(vec!["--list".to_owned(), name.clone()], database).await?;
    // "215; 1259 16385 TABLE public apps owner"
    let of_backup: Vec<&str> =
        listed.lines().filter_map(|line| line.split(" TABLE ").nth(1)?.split(' ').nth(1)).collect();
    if !of_backup.contains(&"apps") {
        return Err(no_backup(file));
    }
    // Reads all of it: the list is at the beginning of the file.
    pg_restore(vec!["--file=/dev/null".to_owned(), name.clone()], database).await?;
    // Tables of a newer version would be in the way of the restore and of the migrations that follow.
    let (known, newer): (Vec<String>, Vec<String>) =
        target.tables.into_iter().partition(|table| of_backup.contains(&table.as_str()));
    drop_tables(database, &newer).await?;
    let mut arguments: Vec<String> =
        ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
            .map(str::to_owned)
            .into();
    if !known.is_empty() {
        arguments.extend(["--clean", "--if-exists"].map(str::to_owned));
    }
    arguments.push(format!("--dbname={}", database.get_database().unwrap_or(database.get_username())));
    arguments.push(name);
    pg_restore(arguments, database).await?;
    Ok(begin_epoch(url).await?)
}

async fn pg_restore(arguments: Vec<String>, database: &PgConnectOptions) -> Result<String, RestoreError> {
    let tool = Path::new("pg_restore");
    match postgres_tools::run("pg_restore", arguments, database).await.map_err(at(tool))? {
        Some(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Some(output) => Err(RestoreError::Tool(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        None => Err(RestoreError::NoTool),
    }
}
