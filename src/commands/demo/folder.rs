//! The folder of the database: a temporary one that is removed, or the given one that stays.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The demo's folder. A temporary one is removed on drop; close the database first.
pub(super) struct Folder {
    path: PathBuf,
    pub(super) is_temporary: bool,
}

impl Folder {
    /// Opens the given folder, or creates a temporary one that only this user can read.
    pub(super) fn open(given: Option<PathBuf>) -> io::Result<Self> {
        if let Some(path) = given {
            fs::create_dir_all(&path)?;
            return Ok(Self { path, is_temporary: false });
        }
        let name = format!("cti-server-demo-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        // Not recursive: a folder that already exists belongs to somebody else and is an error.
        builder.create(&path)?;
        Ok(Self { path, is_temporary: true })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary {
            // If it can't be removed, it is left to the system.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_is_removed_and_a_given_one_stays() {
        let temporary = Folder::open(None).expect("the system has a temporary folder");
        let path = temporary.path().to_owned();
        fs::write(path.join("cti.db"), "x").expect("it can be written to");
        drop(temporary);
        assert!(!path.exists());

        let given = Folder::open(Some(path.join("nested"))).expect("parents are made");
        drop(given);
        assert!(path.join("nested").exists());
        fs::remove_dir_all(path).expect("it is there");
    }
}
