//! The cursor file of `listen`: one per server and key in the user's state folder.

use std::ffi::OsString;
use std::path::PathBuf;
use std::{env, fs, io};

use sha2::{Digest, Sha256};

/// Why there is no cursor file.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The user has no state folder.
    #[error("no folder for the cursor: neither XDG_STATE_HOME nor HOME is set; name a --cursor-file")]
    NoFolder,
    /// The folder can't be created.
    #[error("the folder for the cursor, {path}: {source}; name a --cursor-file")]
    Folder {
        /// The folder.
        path: String,
        /// The system's error.
        source: io::Error,
    },
}

/// Returns the file for this server and key, and creates its folder.
pub(super) fn path(server: &str, api_key: &str) -> Result<PathBuf, StateError> {
    let folder = folder(env::var_os("XDG_STATE_HOME"), env::var_os("HOME")).ok_or(StateError::NoFolder)?;
    fs::create_dir_all(&folder)
        .map_err(|source| StateError::Folder { path: folder.display().to_string(), source })?;
    Ok(folder.join(name(server, api_key)))
}

/// Returns the state folder of the XDG base directory specification, which ignores relative paths.
fn folder(state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let state = state_home
        .and_then(absolute)
        .or_else(|| home.and_then(absolute).map(|home| home.join(".local").join("state")))?;
    Some(state.join("cti-server"))
}

/// Returns a file name that reveals nothing and differs for each key and server address.
fn name(server: &str, api_key: &str) -> String {
    let digest =
        Sha256::new().chain_update(server.trim_end_matches('/')).chain_update("\n").chain_update(api_key);
    format!("listen-{}.cursor", hex::encode(&digest.finalize()[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_takes_precedence_over_the_home_folder() {
        let at = |state: Option<&str>, home: Option<&str>| {
            folder(state.map(OsString::from), home.map(OsString::from)).map(|path| path.display().to_string())
        };
        assert_eq!(at(Some("/state"), Some("/home/ada")).as_deref(), Some("/state/cti-server"));
        for none in [None, Some(""), Some("relative")] {
            assert_eq!(at(none, Some("/home/ada")).as_deref(), Some("/home/ada/.local/state/cti-server"));
            assert_eq!(at(none, None), None);
        }
    }

    #[test]
    fn a_cursor_belongs_to_one_server_and_one_key() {
        let own = name("http://127.0.0.1:4000", "raw_1");
        assert_eq!(own, name("http://127.0.0.1:4000/", "raw_1"));
        assert_ne!(own, name("http://127.0.0.1:4001", "raw_1"));
        assert_ne!(own, name("http://127.0.0.1:4000", "raw_2"));
        assert!(!own.contains("raw"), "{own}");
    }
}
