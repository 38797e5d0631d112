//! Where the database lies: a folder that is ours alone and goes with us, or the one that was asked for and stays.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The demo's folder. A temporary one is removed on drop: the database in it must be closed by then.
pub(super) struct Folder {
    path: PathBuf,
    pub(super) is_temporary: bool,
}

impl Folder {
    /// Makes sure of the folder that was asked for, or makes a new one that nobody else can read.
    pub(super) fn open(given: Option<PathBuf>) -> io::Result<Self> {
        if let Some(path) = given {
            fs::create_dir_all(&path)?;
            return Ok(Self { path, is_temporary: false });
        }
        let name = format!("cti-server-demo-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        // Not recursive: a folder that somebody else has put there is an error, not ours.
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
            // What cannot be removed is left to the system's own cleaning of its temporary folder.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_goes_with_its_owner_and_a_given_one_stays() {
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
