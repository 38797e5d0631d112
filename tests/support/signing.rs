//! The two ways in which a webhook proves where it comes from.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::Value;
use sha2::Sha256;

/// The HMAC-SHA256 of a body.
pub(crate) fn hmac(secret: &str, body: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length will do");
    mac.chain_update(body).finalize().into_bytes().to_vec()
}

/// The same in its most usual spelling.
pub(crate) fn hmac_hex(secret: &str, body: &[u8]) -> String {
    hex::encode(hmac(secret, body))
}

/// A body that is its own signature.
pub(crate) fn jws(secret: &str, claims: &Value) -> String {
    jws_with(Algorithm::HS256, secret, claims)
}

/// The same with a choice of algorithm.
pub(crate) fn jws_with(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes()).expect("a secret that is not empty");
    encode(&Header::new(algorithm), claims, &key).expect("claims can be signed")
}
