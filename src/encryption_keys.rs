//! The keys that stored secrets are encrypted with: the first one encrypts, all of them decrypt.

use std::{io, io::Write, path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use thiserror::Error;

/// A key of XChaCha20-Poly1305: 256 bits.
pub type EncryptionKey = SecretBox<[u8; 32]>;

/// At least one key. Cheap to clone; its `Debug` form is redacted.
#[derive(Clone, Debug)]
pub struct EncryptionKeys(Arc<[EncryptionKey]>);

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A key is malformed.
    #[error("must be base64 of 32 bytes (several: comma-separated)")]
    Malformed,
    /// The key file can be neither read nor created.
    #[error("the key file {path}: {error}")]
    KeyFile {
        /// The file.
        path: String,
        /// What went wrong.
        error: io::Error,
    },
}

impl EncryptionKeys {
    /// Parses comma-separated keys, each the base64 of 32 bytes.
    ///
    /// # Errors
    /// One of them is malformed, or there is none.
    pub fn parse(text: &SecretString) -> Result<Self, KeyError> {
        let keys = text.expose_secret().split(',').map(|key| {
            let bytes = BASE64_STANDARD.decode(key.trim()).map_err(|_| KeyError::Malformed)?;
            let key: [u8; 32] = bytes.try_into().map_err(|_| KeyError::Malformed)?;
            Ok(EncryptionKey::new(Box::new(key)))
        });
        Ok(Self(keys.collect::<Result<Vec<_>, _>>()?.into()))
    }

    /// Reads the keys from a file. Creates it with a random key, readable by its owner only, where there is none.
    ///
    /// # Errors
    /// The file can be neither read nor created, or its content is malformed.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let failed = |error| KeyError::KeyFile { path: path.display().to_string(), error };
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text.trim().into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key: [u8; 32] = rand::random();
                let text = SecretString::from(BASE64_STANDARD.encode(key));
                write_private(path, text.expose_secret()).map_err(failed)?;
                Self::parse(&text)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Iterates over the keys, the encrypting one first.
    pub fn iter(&self) -> impl Iterator<Item = &EncryptionKey> {
        self.0.iter()
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_wrong_length_is_refused() {
        assert!(EncryptionKeys::parse(&"c2hvcnQ=".into()).is_err());
        assert!(EncryptionKeys::parse(&"".into()).is_err());
    }
}
