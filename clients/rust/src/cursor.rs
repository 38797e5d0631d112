//! Where a client keeps its place in the feed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::sync::watch;

/// A place for the cursor: the `seq` of the last event that was dealt with. The best one is the database in which you
/// deal with the events, in the same transaction.
#[async_trait]
pub trait CursorStore: Send + Sync {
    /// The cursor; `None` if none was ever kept.
    async fn load(&self) -> io::Result<Option<u64>>;

    /// Keeps it. It may be lower than before, when the feed itself went back.
    async fn save(&self, seq: u64) -> io::Result<()>;
}

/// Keeps nothing: every new feed begins where it is told to, or with what comes from then on.
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

/// Lets the server keep it, under the name of a consumer: what is saved is acknowledged.
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

/// Keeps the cursor in a file, which is never half written: what is there after a crash is the old cursor or the new
/// one.
#[derive(Clone, Debug)]
pub struct FileCursor {
    path: PathBuf,
}

impl FileCursor {
    /// In this file; its folder must be there.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file.
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
    // Taken for none, it would silently skip what happened since.
    let unreadable = || io::Error::new(ErrorKind::InvalidData, format!("{} holds no cursor", path.display()));
    text.trim().parse().map(Some).map_err(|_| unreadable())
}

fn save(path: &Path, seq: u64) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = (|| {
        let mut file = File::create(&beside)?;
        writeln!(file, "{seq}")?;
        file.sync_data()?;
        fs::rename(&beside, path)
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
            cursor.save(seq).await.expect("kept");
            assert_eq!(cursor.load().await.expect("there"), Some(seq));
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
    }

    #[tokio::test]
    async fn what_is_no_cursor_is_not_taken_for_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("crm.cursor");
        fs::write(&path, "4x1").expect("written");
        let error = FileCursor::new(&path).load().await.expect_err("no number");
        assert!(error.to_string().contains("crm.cursor"), "{error}");
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let error =
            FileCursor::new(folder.path().join("no/crm.cursor")).save(1).await.expect_err("no folder");
        assert!(error.to_string().contains("no/crm.cursor"), "{error}");
    }
}
