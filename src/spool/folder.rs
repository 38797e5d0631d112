//! The files of a spool, in a folder that one process uses at a time.
//!
//! | file | holds |
//! |---|---|
//! | `lock` | nothing; it is locked while a process uses the folder |
//! | `00000000000000000001.spool` | frames; a higher number is newer |
//! | `damaged` | what could not be read, as it was |

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

const LOCK: &str = "lock";
const DAMAGED: &str = "damaged";
/// Written and removed again, after the disk had refused something.
const CHECK: &str = "check";
const CHECK_BYTES: usize = 64 << 10;
const EXTENSION: &str = "spool";
/// Webhooks are private: only the server's own user may read them.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Why a spool can't be used.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// Another process uses it.
    #[error(
        "SPOOL_DIR: another process uses the spool in {}; give each process a SPOOL_DIR of its own",
        .0.display()
    )]
    InUse(PathBuf),
    /// Its folder can't be created, read or locked.
    #[error("SPOOL_DIR: the spool in {} can't be used: {error}; set SPOOL_DIR, or SPOOL=off", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// The folder of a spool, locked for this process.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Folder {
    /// Creates the folder where it is missing, and locks it.
    ///
    /// # Errors
    /// Another process uses it, or it can't be created or locked.
    pub(super) fn open(path: &Path) -> Result<Self, SpoolError> {
        let failed = |error| SpoolError::Folder { path: path.to_owned(), error };
        create(path).map_err(failed)?;
        let lock =
            options().write(true).create(true).truncate(false).open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(SpoolError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the numbers of the segments, oldest first.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = PathBuf::from(entry?.file_name());
            if name.extension().is_some_and(|extension| extension == EXTENSION) {
                numbers.extend(name.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()));
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Creates a segment. Its entry in the folder is durable.
    pub(super) fn create(&self, number: u64) -> io::Result<File> {
        let file = options().append(true).create_new(true).open(self.segment(number))?;
        File::open(&self.path)?.sync_all()?;
        Ok(file)
    }

    pub(super) fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        fs::read(self.segment(number))
    }

    /// Removes a segment. A power failure may bring it back: its webhooks are duplicates then.
    pub(super) fn remove(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.segment(number))
    }

    /// Appends bytes to the file of what is damaged.
    pub(super) fn set_aside(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = options().append(true).create(true).open(self.path.join(DAMAGED))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Succeeds if the folder's disk takes a file.
    pub(super) fn check(&self) -> io::Result<()> {
        let path = self.path.join(CHECK);
        let mut file = options().write(true).create(true).truncate(true).open(&path)?;
        let written = file.write_all(&[0; CHECK_BYTES]).and_then(|()| file.sync_all());
        fs::remove_file(path)?;
        written
    }

    /// Returns how many bytes the file of what is damaged has.
    pub(super) fn damaged_bytes(&self) -> u64 {
        fs::metadata(self.path.join(DAMAGED)).map_or(0, |file| file.len())
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.{EXTENSION}"))
    }
}

/// Whether an open file has been removed: what is written to it is lost.
pub(super) fn is_removed(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() == 0)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE);
    options
}

fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        // A folder that somebody else prepared may be wider; where it is not ours to change, it stays so.
        let _ = fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE));
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(FOLDER_MODE).create(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
