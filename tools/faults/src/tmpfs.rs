//! A small disk that fills up: a file system in memory.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::process::run;

/// What is written to fill the disk at once.
const CHUNK: usize = 64 << 10;

/// A mounted file system of a fixed size. Dropping it unmounts it.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    pub(crate) path: PathBuf,
}

impl SmallDisk {
    /// Mounts one at a new folder. Only root may.
    pub(crate) fn mount(path: PathBuf, mebibytes: u32) -> Result<Self, Failure> {
        fs::create_dir_all(&path)?;
        let options = format!("size={mebibytes}m,mode=0755");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &path.display().to_string()])?;
        Ok(Self { path })
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Fills what is left of it, to the last byte.
    pub(crate) fn fill(&self) -> Result<(), Failure> {
        let mut file = File::options().append(true).create(true).open(self.filler())?;
        for size in [CHUNK, 4096, 1] {
            let chunk = vec![0; size];
            while file.write_all(&chunk).is_ok() {}
        }
        Ok(())
    }

    /// Frees what was filled.
    pub(crate) fn free(&self) -> Result<(), Failure> {
        Ok(fs::remove_file(self.filler())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process may be about to end in it.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Whether this process may mount one there; otherwise the reason.
pub(crate) fn mountable(parent: &Path) -> Result<(), String> {
    let folder = tempfile::Builder::new().prefix("cti-faults-mount-").tempdir_in(parent);
    let folder = folder.map_err(|error| error.to_string())?;
    SmallDisk::mount(folder.path().join("disk"), 1).map(drop).map_err(|error| error.to_string())
}
