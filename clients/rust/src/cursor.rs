//! Where a client stores its cursor.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use async_trait::async_trait;
use tokio::sync::watch;

/// A position in a feed. Its text is `EPOCH:SEQ`, or `SEQ` without an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The epoch that `seq` belongs to. When the server's database is restored, another one begins, and the same `seq` may be
    /// another event. `None`: not known; the server can't tell then that the cursor is of another epoch.
    pub epoch: Option<String>,
    /// The last processed event.
    pub seq: u64,
}

impl From<u64> for Cursor {
    fn from(seq: u64) -> Self {
        Self { epoch: None, seq }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.epoch {
            Some(epoch) => write!(f, "{epoch}:{}", self.seq),
            None => write!(f, "{}", self.seq),
        }
    }
}

/// A text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number, or EPOCH:SEQ")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (epoch, seq) = match text.split_once(':') {
            Some((epoch, seq)) => (Some(epoch), seq),
            None => (None, text),
        };
        let is_uuid = |epoch: &str| {
            epoch.len() == 36 && epoch.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        };
        if epoch.is_some_and(|epoch| !is_uuid(epoch)) {
            return Err(InvalidCursor);
        }
        let seq = seq.parse().map_err(|_| InvalidCursor)?;
        Ok(Self { epoch: epoch.map(str::to_owned), seq })
    }
}

/// A store for the cursor: the last processed event. The best one is the database in which you process the events, in the
/// same transaction.
#[async_trait]
pub trait CursorStore: Send + Sync {
    /// Returns the cursor; `None` if none was saved yet.
    async fn load(&self) -> io::Result<Option<Cursor>>;

    /// Saves the cursor. Its `seq` may be lower than before, if the feed itself went back.
    async fn save(&self, cursor: Cursor) -> io::Result<()>;
}

/// Saves nothing: every new feed starts where the subscription says, or with new events.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryCursor;

#[async_trait]
impl CursorStore for MemoryCursor {
    async fn load(&self) -> io::Result<Option<Cursor>> {
        Ok(None)
    }

    async fn save(&self, _: Cursor) -> io::Result<()> {
        Ok(())
    }
}

/// Stores the cursor on the server, under the name of a consumer: what is saved is acknowledged.
pub(crate) struct ServerCursor {
    pub(crate) acknowledged: watch::Sender<Option<Cursor>>,
}

#[async_trait]
impl CursorStore for ServerCursor {
    async fn load(&self) -> io::Result<Option<Cursor>> {
        Ok(None)
    }

    async fn save(&self, cursor: Cursor) -> io::Result<()> {
        self.acknowledged.send_replace(Some(cursor));
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
    async fn load(&self) -> io::Result<Option<Cursor>> {
        let path = self.path.clone();
        on_a_thread(move || load(&path)).await
    }

    async fn save(&self, cursor: Cursor) -> io::Result<()> {
        let path = self.path.clone();
        on_a_thread(move || save(&path, &cursor)).await
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn load(path: &Path) -> io::Result<Option<Cursor>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(path, &error)),
    };
    // An unreadable cursor treated as none would silently skip events.
    let unreadable = || io::Error::new(ErrorKind::InvalidData, format!("{} holds no cursor", path.display()));
    text.trim().parse().map(Some).map_err(|_| unreadable())
}

fn save(path: &Path, cursor: &Cursor) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        writeln!(file, "{cursor}")?;
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
        let epoch = "018cc4e0-7d2b-4c55-9f21-6a7b8c9d0e1f".to_owned();
        for saved in [Cursor::from(41), Cursor { epoch: Some(epoch), seq: 7 }] {
            cursor.save(saved.clone()).await.expect("saved");
            assert_eq!(cursor.load().await.expect("there"), Some(saved));
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "no temporary file is left");
    }

    #[tokio::test]
    async fn an_unreadable_cursor_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("crm.cursor");
        for text in ["4x1", "", ":41", "epoch:41", "018cc4e0-7d2b-4c55-9f21-6a7b8c9d0e1f:"] {
            fs::write(&path, text).expect("written");
            let error = FileCursor::new(&path).load().await.expect_err("no cursor");
            assert!(error.to_string().contains("crm.cursor"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let error =
            FileCursor::new(folder.path().join("no/crm.cursor")).save(1.into()).await.expect_err("no folder");
        assert!(error.to_string().contains("no/crm.cursor"), "{error}");
    }
}
