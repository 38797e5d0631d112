//! The file of SQLite: what is refused before it is opened, and whether it is still the same one.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use cti_actors::error::StoreError;

/// A file that was opened: its path, and which file that was.
pub(crate) struct SqliteFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SqliteFile {
    /// Remembers which file is at this path.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        // Whatever link leads to it later, and whatever the working folder is.
        let path = fs::canonicalize(path)?;
        let found = fs::metadata(&path)?;
        Ok(Self { path, device: found.dev(), inode: found.ino() })
    }

    /// Fails if another file is at the path now, or none: what is written into the one that is open would be lost. Costs
    /// a microsecond.
    pub(super) fn check(&self) -> Result<(), sqlx::Error> {
        match fs::metadata(&self.path) {
            Ok(found) if found.dev() == self.device && found.ino() == self.inode => Ok(()),
            Ok(_) => Err(self.failure("was replaced while the server runs; start it again")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(self.failure("was removed while the server runs; put it back, or start the server again"))
            }
            Err(error) => Err(self.failure(&format!("can't be seen any longer: {error}"))),
        }
    }

    /// Returns how large the write-ahead log beside it is.
    pub(super) fn wal_bytes(&self) -> u64 {
        size_of(&log_of(&self.path))
    }

    /// Takes the lock of the file, until what is returned is dropped, and notes there which file it is.
    ///
    /// # Errors
    /// `Unusable`: another server has it.
    pub(super) fn claim(&self) -> Result<File, StoreError> {
        let path = lock_of(&self.path);
        let shown = path.display();
        let unusable = |error| StoreError::Unusable(format!("the lock file {shown} can't be used: {error}"));
        let Some(lock) = lock(&self.path).map_err(unusable)? else {
            return Err(StoreError::Unusable(format!(
                "another server uses the database file {} (it holds {shown}); stop it first",
                self.path.display()
            )));
        };
        fs::write(&path, self.identity()).map_err(unusable)?;
        Ok(lock)
    }

    /// Which file it is, as text.
    fn identity(&self) -> String {
        format!("{}:{}", self.device, self.inode)
    }

    /// Fails if a log is beside the file that was written for another one: it would be copied into this one. A server
    /// notes in its lock file which file it had.
    pub(super) fn check_log(&self) -> Result<(), StoreError> {
        let (log, lock) = (log_of(&self.path), lock_of(&self.path));
        let noted = fs::read_to_string(&lock).unwrap_or_default();
        if size_of(&log) == 0 || noted.is_empty() || noted == self.identity() {
            return Ok(());
        }
        Err(StoreError::Unusable(format!(
            "{log} was written for another file than {file} is now; if the file was restored, move {log} and {file}-shm \
             away; if they belong together, remove {lock}",
            log = log.display(),
            file = self.path.display(),
            lock = lock.display(),
        )))
    }

    fn failure(&self, problem: &str) -> sqlx::Error {
        sqlx::Error::Configuration(format!("the database file {} {problem}", self.path.display()).into())
    }
}

/// Returns the size of the file at this path, 0 if there is none.
pub(super) fn size_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// Returns the path of the write-ahead log beside a database file.
pub(super) fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// Returns the path of the lock file beside a database file.
pub(in crate::store) fn lock_of(path: &Path) -> PathBuf {
    beside(path, "-lock")
}

/// Takes the lock beside a database file, until what is returned is dropped; `None`: another process has it. Not of the
/// file itself: closing it once would end the locks that SQLite has.
pub(in crate::store) fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(lock_of(path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Says why the file or its folder can't be written, as far as their permissions tell. SQLite itself would open them for
/// reading only, and say so at the first write.
pub(super) fn why_read_only(path: &Path) -> Option<String> {
    let is_read_only = |found: &Metadata| found.permissions().mode() & 0o222 == 0;
    if fs::metadata(path).is_ok_and(|found| is_read_only(&found)) {
        return Some(format!(
            "the database file {} is read-only; make it writable (chmod u+w)",
            path.display()
        ));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    let folder_is_read_only = fs::metadata(folder).is_ok_and(|found| is_read_only(&found));
    folder_is_read_only.then(|| {
        format!(
            "the folder {} of the database is read-only; SQLite keeps its log beside the file (chmod u+w)",
            folder.display()
        )
    })
}
