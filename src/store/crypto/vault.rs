//! Secrets at rest: sealed with XChaCha20-Poly1305 and bound to the place where they are kept, so that one row's
//! secret can't be read, or passed off, as another's.

use std::{io::Write, path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

/// The first byte of everything sealed: what comes behind it.
const FORMAT: u8 = 1;
const NONCE: usize = 24;

/// Seals with its first key and opens with any of them.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<[XChaCha20Poly1305]>,
}

/// Why there is no vault, or why something can't be opened.
#[derive(Debug, Error)]
pub enum VaultError {
    /// A key is not what it should be.
    #[error("must be base64 of 32 bytes (several: comma-separated)")]
    Key,
    /// The key file could not be read or made.
    #[error("the key file {path}: {error}")]
    KeyFile {
        /// The file.
        path: String,
        /// What went wrong.
        error: std::io::Error,
    },
    /// No key opens it, or it was kept elsewhere.
    #[error("a stored secret can't be opened with the configured keys")]
    Sealed,
}

impl Vault {
    /// Reads comma-separated keys, each base64 of 32 bytes.
    ///
    /// # Errors
    /// One is something else, or there is none.
    pub fn from_keys(keys: &SecretString) -> Result<Self, VaultError> {
        let keys = keys.expose_secret().split(',').map(|key| {
            let bytes = BASE64_STANDARD.decode(key.trim()).map_err(|_| VaultError::Key)?;
            XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| VaultError::Key)
        });
        Ok(Self { keys: keys.collect::<Result<Vec<_>, _>>()?.into() })
    }

    /// Reads the key from a file that only its owner may read; makes it where there is none.
    ///
    /// # Errors
    /// The file can be neither read nor made.
    pub fn from_key_file(path: &Path) -> Result<Self, VaultError> {
        let failed = |error| VaultError::KeyFile { path: path.display().to_string(), error };
        match std::fs::read_to_string(path) {
            Ok(key) => Self::from_keys(&key.trim().to_owned().into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let bits: [u8; 32] = rand::random();
                let key = SecretString::from(BASE64_STANDARD.encode(bits));
                write_private(path, key.expose_secret()).map_err(failed)?;
                Self::from_keys(&key)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Seals a secret for the place that `place` names.
    #[must_use]
    pub fn seal(&self, secret: &SecretString, place: &str) -> Vec<u8> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: place.as_bytes() };
        let sealed = self.keys[0]
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a secret is shorter than the cipher's limit of 256 GiB");
        [&[FORMAT][..], &nonce, &sealed].concat()
    }

    /// Whether there are keys that only open.
    #[must_use]
    pub fn has_old_keys(&self) -> bool {
        self.keys.len() > 1
    }

    /// Seals with the first key what another one had sealed; `None` when the first one had.
    ///
    /// # Errors
    /// No key opens it.
    pub fn seal_anew(&self, sealed: &[u8], place: &str) -> Result<Option<Vec<u8>>, VaultError> {
        if open_with(&self.keys[..1], sealed, place).is_ok() {
            return Ok(None);
        }
        self.open(sealed, place).map(|secret| Some(self.seal(&secret, place)))
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// No key opens it.
    pub fn open(&self, sealed: &[u8], place: &str) -> Result<SecretString, VaultError> {
        open_with(&self.keys, sealed, place)
    }
}

fn open_with(keys: &[XChaCha20Poly1305], sealed: &[u8], place: &str) -> Result<SecretString, VaultError> {
    let body = sealed.strip_prefix(&[FORMAT]).ok_or(VaultError::Sealed)?;
    let (nonce, body) = body.split_at_checked(NONCE).ok_or(VaultError::Sealed)?;
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| VaultError::Sealed)?;
    let open = |key: &XChaCha20Poly1305| {
        let payload = Payload { msg: body, aad: place.as_bytes() };
        key.decrypt(&XNonce::from(nonce), payload).ok()
    };
    let plain = keys.iter().find_map(open).ok_or(VaultError::Sealed)?;
    String::from_utf8(plain).map(SecretString::from).map_err(|_| VaultError::Sealed)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
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

    fn vault(seeds: &[u8]) -> Vault {
        let keys: Vec<String> = seeds.iter().map(|seed| BASE64_STANDARD.encode([*seed; 32])).collect();
        Vault::from_keys(&keys.join(",").into()).expect("keys of the right length")
    }

    #[test]
    fn a_secret_opens_only_at_its_own_place() {
        let vault = vault(&[1]);
        let sealed = vault.seal(&"a token".into(), "row 1");
        assert_eq!(vault.open(&sealed, "row 1").expect("opens").expose_secret(), "a token");
        assert!(vault.open(&sealed, "row 2").is_err());
    }

    #[test]
    fn an_old_key_still_opens_while_a_new_one_seals() {
        let sealed = vault(&[1]).seal(&"a token".into(), "row");
        assert!(vault(&[2, 1]).open(&sealed, "row").is_ok());
        assert!(vault(&[2]).open(&sealed, "row").is_err());
    }

    #[test]
    fn what_an_old_key_sealed_is_sealed_anew_and_then_left_alone() {
        let (old, both, new) = (vault(&[1]), vault(&[2, 1]), vault(&[2]));
        let sealed = old.seal(&"a token".into(), "row");
        let anew = both.seal_anew(&sealed, "row").expect("it opens").expect("an old key had sealed it");
        assert_eq!(new.open(&anew, "row").expect("opens").expose_secret(), "a token");
        assert!(both.seal_anew(&anew, "row").expect("it opens").is_none());
        assert!(both.seal_anew(&sealed, "another row").is_err());
        assert!(both.has_old_keys() && !new.has_old_keys());
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused() {
        assert!(Vault::from_keys(&"c2hvcnQ=".to_owned().into()).is_err());
        assert!(Vault::from_keys(&String::new().into()).is_err());
    }
}
