//! The lock of a SQLite file: servers hold it together, and a command that rewrites calls holds it alone.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use cti_actors::error::StoreError;

use crate::{database_url::DatabaseUrl, store::Store};

/// How a process holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Beside others.
    Shared,
    /// Alone.
    Alone,
}

impl Store {
    /// Takes the lock for as long as the store is open. PostgreSQL has none: a server there is known by its heartbeats.
    ///
    /// # Errors
    /// Another process holds it, or the lock file beside the database can't be opened.
    pub fn hold(&self, url: &DatabaseUrl, how: Hold) -> Result<(), StoreError> {
        let DatabaseUrl::Sqlite(path) = url else { return Ok(()) };
        let file = take(path, how)?;
        // A second call keeps the first lock.
        let _ = self.shared.lock.set(file);
        Ok(())
    }
}

fn take(path: &Path, how: Hold) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let failed = |error| StoreError::Rejected(format!("{}: {error}", name.display()));
    let file = OpenOptions::new().create(true).append(true).open(&name).map_err(failed)?;
    let taken = match how {
        Hold::Shared => file.try_lock_shared(),
        Hold::Alone => file.try_lock(),
    };
    match taken {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let who = if how == Hold::Alone { "a server" } else { "a command" };
            Err(StoreError::Unavailable(format!("{who} is using {}", path.display())))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_hold_it_together_and_a_command_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cti.db");
        let [one, other] = [Hold::Shared, Hold::Shared].map(|how| take(&path, how).expect("both serve"));
        assert!(take(&path, Hold::Alone).is_err());
        drop((one, other));
        let alone = take(&path, Hold::Alone).expect("nobody serves");
        assert!(take(&path, Hold::Shared).is_err());
        drop(alone);
        take(&path, Hold::Shared).expect("free again");
    }
}
