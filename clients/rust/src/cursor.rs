//! Where a client stores its cursor.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::sync::watch;

/// A store for the cursor: the `seq` of the last processed event. The best one is the database in which you process the
/// events, in the same transaction.
#[async_trait]
pub trait CursorStore: Send + Sync {
    /// Returns the cursor; `None` if none was saved yet.
    async fn load(&self) -> io::Result<Option<u64>>;

    /// Saves the cursor. It may be lower than before, if the feed itself went back.
    async fn save(&self, seq: u64) -> io::Result<()>;
}

/// Saves nothing: every new feed starts where the subscription says, or with new events.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryCursor;

#[async_trait]
impl CursorStore for MemoryCursor {
    async fn load(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    async fn save(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// Stores the cursor on the server, under the name of a consumer: what is saved is acknowledged.
pub(crate) struct ServerCursor {
    pub(crate) acknowledged: watch::Sender<Option<u64>>,
}

#[async_trait]
impl CursorStore for ServerCursor {
    async fn load(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    async fn save(&self, seq: u64) -> io::Result<()> {
        self.acknowledged.send_replace(Some(seq));
        Ok(())
    }
}

/// Stores the cursor in a file. The file is replaced atomically: after a crash it holds the old cursor or the new one.
#[derive(Clone, Debug)]
pub struct FileCursor {
    path: PathBuf,
}

impl FileCursor {
    /// Uses this file; its folder must exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl CursorStore for FileCursor {
    async fn load(&self) -> io::Result<Option<u64>> {
        let path = self.path.clone();
        on_a_thread(move || load(&path)).await
    }

    async fn save(&self, seq: u64) -> io::Result<()> {
        let path = self.path.clone();
        on_a_thread(move || save(&path, seq)).await
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn load(path: &Path) -> io::Result<Option<u64>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(path, &error)),
    };
    // An unreadable cursor treated as none would silently skip events.
    let unreadable = || io::Error::new(ErrorKind::InvalidData, format!("{} holds no cursor", path.display()));
    text.trim().parse().map(Some).map_err(|_| unreadable())
}

fn save(path: &Path, seq: u64) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        writeln!(file, "{seq}")?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    })();
    written.map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_keeps_the_cursor() {
        let folder = tempfile::tempdir().expect("a folder");
        let cursor = FileCursor::new(folder.path().join("crm.cursor"));
        assert_eq!(cursor.load().await.expect("none yet"), None);
        for seq in [41, 7] {
            cursor.save(seq).await.expect("saved");
            assert_eq!(cursor.load().await.expect("there"), Some(seq));
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "no temporary file is left");
    }

    #[tokio::test]
    async fn an_unreadable_cursor_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("crm.cursor");
        fs::write(&path, "4x1").expect("written");
        let error = FileCursor::new(&path).load().await.expect_err("no number");
        assert!(error.to_string().contains("crm.cursor"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let error =
            FileCursor::new(folder.path().join("no/crm.cursor")).save(1).await.expect_err("no folder");
        assert!(error.to_string().contains("no/crm.cursor"), "{error}");
    }
}
