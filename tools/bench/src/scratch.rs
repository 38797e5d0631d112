//! Databases that the bench creates and removes: it never writes into a database that it did not create.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;

use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::Failure;

/// The database to measure on.
#[derive(Clone)]
pub enum DatabaseChoice {
    /// SQLite in the system's temporary directory.
    TemporarySqlite,
    /// SQLite in this file, which must not exist: measures a particular disk.
    Sqlite(PathBuf),
    /// A new database on this PostgreSQL server.
    Postgres(Url),
}

impl FromStr for DatabaseChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            None if text == "sqlite" => Ok(Self::TemporarySqlite),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => {
                Url::parse(text).map(Self::Postgres).map_err(|error| error.to_string())
            }
            _ => Err("expected `sqlite`, `sqlite://PATH` or `postgres://…`".to_owned()),
        }
    }
}

/// Formats the choice without the password of a URL.
impl fmt::Display for DatabaseChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TemporarySqlite => f.write_str("sqlite"),
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => write!(f, "postgres://{}", url.host_str().unwrap_or("localhost")),
        }
    }
}

impl fmt::Debug for DatabaseChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A database and a folder for one measure. Dropping it removes both; stop the server first.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// The database.
    pub(crate) database: Database,
    /// The folder of the server's log, and its working directory.
    pub(crate) folder: Folder,
}

/// The database of one measure.
#[derive(Debug)]
pub(crate) enum Database {
    /// A file, and the files that SQLite puts next to it.
    Sqlite(PathBuf),
    /// A new database on a server.
    Postgres {
        /// The database from which others are created and dropped.
        admin: Url,
        /// The new database.
        own: Url,
    },
}

impl Scratch {
    /// Creates database and folder.
    pub(crate) async fn create(choice: &DatabaseChoice) -> Result<Self, Failure> {
        let folder = Folder::create()?;
        let database = match choice {
            DatabaseChoice::TemporarySqlite => Database::Sqlite(folder.path.join("cti.db")),
            DatabaseChoice::Sqlite(path) => {
                let path = std::path::absolute(path)?;
                if path.exists() {
                    return Err(format!("{} exists; the bench wants a new file", path.display()).into());
                }
                Database::Sqlite(path)
            }
            DatabaseChoice::Postgres(admin) => Database::create_on(admin.clone()).await?,
        };
        Ok(Self { database, folder })
    }
}

impl Database {
    async fn create_on(admin: Url) -> Result<Self, Failure> {
        let mut own = admin.clone();
        own.set_path(&format!("cti_bench_{:016x}", rand::random::<u64>()));
        let database = Self::Postgres { admin, own };
        database.administer(|name| format!("CREATE DATABASE {name}")).await?;
        Ok(database)
    }

    /// Returns the server's `DATABASE_URL`.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite://{}", path.display()),
            Self::Postgres { own, .. } => own.to_string(),
        }
    }

    /// Returns the file of the reference on SQLite: next to the server's own, hence on the same disk.
    pub(crate) fn reference_file(path: &Path) -> PathBuf {
        path.with_added_extension("reference")
    }

    /// Returns the file of the bare server on SQLite.
    pub(crate) fn ceiling_file(path: &Path) -> PathBuf {
        path.with_added_extension("ceiling")
    }

    /// Runs statements about the new database from the administrative one.
    async fn administer(&self, statements: impl FnOnce(&str) -> String) -> Result<(), sqlx::Error> {
        let Self::Postgres { admin, own } = self else { return Ok(()) };
        let mut connection = PgConnection::connect(admin.as_str()).await?;
        // The name is hexadecimal and generated here: nothing in it needs quoting.
        let sql = statements(own.path().trim_start_matches('/'));
        for statement in sql.split(';') {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
        }
        connection.close().await
    }

    fn remove(&self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(path) => {
                remove_sqlite(&Self::reference_file(path))?;
                remove_sqlite(&Self::ceiling_file(path))?;
                Ok(remove_sqlite(path)?)
            }
            Self::Postgres { .. } => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok(runtime.block_on(self.administer(drop_database))?)
            }
        }
    }
}

/// Returns the statements that drop a database. An interrupted bench may still hold connections; `DROP DATABASE … WITH
/// (FORCE)` exists only since PostgreSQL 13.
fn drop_database(name: &str) -> String {
    format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}';
         DROP DATABASE IF EXISTS {name}"
    )
}

/// Removes a database file and its companions, if they exist.
pub(crate) fn remove_sqlite(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

impl Drop for Database {
    /// Runs on a thread, because a runtime must not block within another one, and a cancelled bench drops its database
    /// within one.
    fn drop(&mut self) {
        let removed = thread::scope(|scope| scope.spawn(|| self.remove().map_err(|e| e.to_string())).join());
        if let Ok(Err(error)) = removed {
            tracing::warn!(error, "a scratch database could not be removed");
        }
    }
}

/// A folder that is removed with its content when dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Its path.
    pub(crate) path: PathBuf,
}

impl Folder {
    fn create() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("cti-server-bench-{:016x}", rand::random::<u64>()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, folder = %self.path.display(), "a scratch folder could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_parsed_from_its_url_and_shown_without_its_password() {
        let shown = |text: &str| text.parse::<DatabaseChoice>().map(|choice| choice.to_string());
        assert_eq!(shown("sqlite").unwrap(), "sqlite");
        assert_eq!(shown("sqlite://data/x.db").unwrap(), "sqlite://data/x.db");
        assert_eq!(shown("postgres://me:secret@db.local/cti").unwrap(), "postgres://db.local");
        assert!(shown("mysql://x").is_err());
        assert!(shown("sqlite://").is_err());
    }

    #[tokio::test]
    async fn a_scratch_database_is_removed_when_it_is_dropped() {
        let scratch = Scratch::create(&DatabaseChoice::TemporarySqlite).await.unwrap();
        let folder = scratch.folder.path.clone();
        fs::write(folder.join("server.log"), "x").unwrap();
        assert!(scratch.database.url().starts_with("sqlite:///"));
        drop(scratch);
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn an_existing_file_is_refused() {
        let folder = Folder::create().unwrap();
        let path = folder.path.join("mine.db");
        fs::write(&path, "precious").unwrap();
        let refused = Scratch::create(&DatabaseChoice::Sqlite(path.clone())).await;
        assert!(refused.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
