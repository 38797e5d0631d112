//! A signed webhook: the bytes that are signed are the bytes that every attempt sends.

use actix_web::web::Bytes;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response};
use serde_json::Value;
use sha2::Sha256;

/// The header of the HMAC form.
const SIGNATURE_HEADER: &str = "x-dialpad-signature";

/// How a webhook is signed.
#[derive(Clone, Copy)]
pub enum Signature<'a> {
    /// The body is a compact JWS over the payload, HS256 with the raw bytes of the secret.
    Jws(&'a str),
    /// The body is JSON, and a header carries its HMAC-SHA256.
    Hmac(&'a str),
    /// The body is JSON without a signature.
    None,
}

/// A webhook for one receiver.
pub struct SignedWebhook {
    pub(crate) url: String,
    body: Bytes,
    content_type: &'static str,
    signature: Option<String>,
}

impl SignedWebhook {
    /// Signs a payload for the receiver at `url`.
    #[must_use]
    pub fn new(url: String, payload: &Value, signature: Signature<'_>) -> Self {
        let json = payload.to_string();
        let (body, content_type, signature) = match signature {
            Signature::Jws(secret) => (jws(payload, secret), "application/jwt", None),
            Signature::Hmac(secret) => {
                let signature = hmac_hex(json.as_bytes(), secret);
                (json, "application/json", Some(format!("sha256={signature}")))
            }
            Signature::None => (json, "application/json", None),
        };
        Self { url, body: body.into(), content_type, signature }
    }

    /// Posts it once.
    pub async fn post(&self, client: &Client) -> reqwest::Result<Response> {
        let mut request =
            client.post(&self.url).header(CONTENT_TYPE, self.content_type).body(self.body.clone());
        if let Some(signature) = &self.signature {
            request = request.header(SIGNATURE_HEADER, signature);
        }
        request.send().await
    }
}

/// The compact serialization of RFC 7515.
fn jws(payload: &Value, secret: &str) -> String {
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = BASE64_URL_SAFE_NO_PAD.encode(payload.to_string());
    let signed = format!("{header}.{claims}");
    let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac_sha256(signed.as_bytes(), secret));
    format!("{signed}.{signature}")
}

fn hmac_hex(body: &[u8], secret: &str) -> String {
    hex::encode(hmac_sha256(body, secret))
}

fn hmac_sha256(body: &[u8], secret: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.chain_update(body).finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hmac_is_the_one_of_rfc_4231() {
        let signature = hmac_hex(b"what do ya want for nothing?", "Jefe");
        assert_eq!(signature, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
