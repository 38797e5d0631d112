//! Secrets at rest: encrypted with XChaCha20-Poly1305 and bound to the place where they are stored, so that one row's
//! secret can't be read as another's.

use std::sync::Arc;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;
use thiserror::Error;

use crate::encryption_keys::EncryptionKeys;

/// The first byte of everything sealed, which says how to read the rest.
const FORMAT: u8 = 1;
const NONCE_LEN: usize = 24;

/// Seals with its first key and opens with any of them.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<[XChaCha20Poly1305]>,
    /// Makes hashes that nobody can make without the first key.
    hash_key: Arc<SecretBox<[u8; 32]>>,
}

/// No key opens a stored secret, or it was stored in another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a stored secret can't be opened with the configured keys")]
pub struct SealedError;

impl Vault {
    /// Makes the vault of these keys.
    #[must_use]
    pub fn new(keys: &EncryptionKeys) -> Self {
        let first = keys.iter().next().expect("there is at least one key").expose_secret();
        Self {
            keys: keys.iter().map(|key| XChaCha20Poly1305::new(key.expose_secret().into())).collect(),
            hash_key: Arc::new(SecretBox::new(Box::new(hmac(first, b"cti-server keyed hash")))),
        }
    }

    /// Seals a secret for the place that `place` names.
    #[must_use]
    pub fn seal(&self, secret: &SecretString, place: &str) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = rand::random();
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

    /// Seals a secret again that an old key had sealed. Returns `None` where the first key had.
    ///
    /// # Errors
    /// No key opens it.
    pub fn reencrypt(&self, sealed: &[u8], place: &str) -> Result<Option<Vec<u8>>, SealedError> {
        if open_with(&self.keys[..1], sealed, place).is_ok() {
            return Ok(None);
        }
        self.open(sealed, place).map(|secret| Some(self.seal(&secret, place)))
    }

    /// Returns a hash of a text, as hexadecimal digits. Without the first key, nobody can find out of which text.
    #[must_use]
    pub fn keyed_hash(&self, text: &str) -> String {
        hex::encode(hmac(self.hash_key.expose_secret(), text.as_bytes()))
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// No key opens it.
    pub fn open(&self, sealed: &[u8], place: &str) -> Result<SecretString, SealedError> {
        open_with(&self.keys, sealed, place)
    }
}

fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is taken");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn open_with(keys: &[XChaCha20Poly1305], sealed: &[u8], place: &str) -> Result<SecretString, SealedError> {
    let body = sealed.strip_prefix(&[FORMAT]).ok_or(SealedError)?;
    let (nonce, body) = body.split_at_checked(NONCE_LEN).ok_or(SealedError)?;
    let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| SealedError)?;
    let open = |key: &XChaCha20Poly1305| {
        let payload = Payload { msg: body, aad: place.as_bytes() };
        key.decrypt(&XNonce::from(nonce), payload).ok()
    };
    let plain = keys.iter().find_map(open).ok_or(SealedError)?;
    String::from_utf8(plain).map(SecretString::from).map_err(|_| SealedError)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};

    use super::*;

    fn vault(seeds: &[u8]) -> Vault {
        let keys: Vec<String> = seeds.iter().map(|seed| BASE64_STANDARD.encode([*seed; 32])).collect();
        Vault::new(&EncryptionKeys::parse(&keys.join(",").into()).expect("keys of the right length"))
    }

    #[test]
    fn a_secret_opens_only_at_its_own_place() {
        let vault = vault(&[1]);
        let sealed = vault.seal(&"a token".into(), "row 1");
        assert_eq!(vault.open(&sealed, "row 1").expect("opens").expose_secret(), "a token");
        assert!(vault.open(&sealed, "row 2").is_err());
    }

    #[test]
    fn a_hash_depends_on_the_text_and_on_the_first_key() {
        let hash = |seeds: &[u8], text| vault(seeds).keyed_hash(text);
        assert_eq!(hash(&[1], "+14155551234"), hash(&[1, 2], "+14155551234"));
        assert_ne!(hash(&[1], "+14155551234"), hash(&[2, 1], "+14155551234"));
        assert_ne!(hash(&[1], "+14155551234"), hash(&[1], "+14155551235"));
    }

    #[test]
    fn an_old_key_still_opens_while_a_new_one_seals() {
        let sealed = vault(&[1]).seal(&"a token".into(), "row");
        assert!(vault(&[2, 1]).open(&sealed, "row").is_ok());
        assert!(vault(&[2]).open(&sealed, "row").is_err());
    }

    #[test]
    fn a_secret_is_reencrypted_once_after_a_change_of_keys() {
        let old = vault(&[1]);
        let both = vault(&[2, 1]);
        let new = vault(&[2]);
        let sealed = old.seal(&"a token".into(), "row");
        let reencrypted =
            both.reencrypt(&sealed, "row").expect("it opens").expect("an old key had sealed it");
        assert_eq!(new.open(&reencrypted, "row").expect("opens").expose_secret(), "a token");
        assert!(both.reencrypt(&reencrypted, "row").expect("it opens").is_none());
        assert!(both.reencrypt(&sealed, "another row").is_err());
        assert!(both.has_old_keys() && !new.has_old_keys());
    }
}
