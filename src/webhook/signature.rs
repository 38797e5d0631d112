//! Signatures of webhooks: a webhook without a valid one is refused.
//!
//! There are two forms. The body decides which one, never the content type: a compact JWS (RFC 7515; what Dialpad sends
//! for a webhook with a secret), or any other body with its HMAC-SHA256 in a header.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_URL_SAFE_NO_PAD,
};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

const EITHER_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, EITHER_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, EITHER_PADDING);

/// None of the secrets made the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAuthentic;

/// Verifies a webhook and returns its payload: the claims of a JWS, else the body as it is.
///
/// # Errors
/// The signature is missing, or none of the secrets made it.
pub fn verify(body: &[u8], header: Option<&str>, secrets: &[SecretString]) -> Result<Vec<u8>, NotAuthentic> {
    match jws_parts(body) {
        Some(parts) => verify_jws(&parts, secrets),
        None => verify_hmac(body, header.ok_or(NotAuthentic)?, secrets),
    }
}

struct Jws<'a> {
    signed: &'a str,
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
}

/// Splits a compact JWS: three non-empty base64url parts between dots. Returns `None` for any other body.
fn jws_parts(body: &[u8]) -> Option<Jws<'_>> {
    let text = std::str::from_utf8(body).ok()?.trim_ascii();
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let is_part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    [header, claims, signature].into_iter().all(is_part).then_some(Jws { signed, header, claims, signature })
}

/// Verifies a JWS. The algorithm is fixed: the header must name it, and can't choose another one.
fn verify_jws(jws: &Jws<'_>, secrets: &[SecretString]) -> Result<Vec<u8>, NotAuthentic> {
    #[derive(serde::Deserialize)]
    struct Header {
        alg: String,
        /// Extensions that the verifier must support (RFC 7515, section 4.1.11); this one supports none.
        crit: Option<serde_json::Value>,
    }
    let header = BASE64_URL_SAFE_NO_PAD.decode(jws.header).map_err(|_| NotAuthentic)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| NotAuthentic)?;
    if header.alg != "HS256" || header.crit.is_some() {
        return Err(NotAuthentic);
    }
    let signature = BASE64_URL_SAFE_NO_PAD.decode(jws.signature).map_err(|_| NotAuthentic)?;
    if !is_signed(jws.signed.as_bytes(), &signature, secrets) {
        return Err(NotAuthentic);
    }
    BASE64_URL_SAFE_NO_PAD.decode(jws.claims).map_err(|_| NotAuthentic)
}

fn verify_hmac(body: &[u8], header: &str, secrets: &[SecretString]) -> Result<Vec<u8>, NotAuthentic> {
    let header = header.trim();
    let header = match header.split_at_checked("sha256=".len()) {
        Some((prefix, digest)) if prefix.eq_ignore_ascii_case("sha256=") => digest,
        _ => header,
    };
    let decoded = [hex::decode(header).ok(), STANDARD.decode(header).ok(), URL_SAFE.decode(header).ok()];
    let signature = decoded.into_iter().flatten().find(|bytes| bytes.len() == 32).ok_or(NotAuthentic)?;
    if is_signed(body, &signature, secrets) { Ok(body.to_vec()) } else { Err(NotAuthentic) }
}

/// Returns the HMAC-SHA256 of a body, as the header has it.
pub(crate) fn sign(body: &[u8], secret: &SecretString) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("any length will do");
    hex::encode(mac.chain_update(body).finalize().into_bytes())
}

/// Whether one of the secrets made this HMAC-SHA256. Compares in constant time.
fn is_signed(message: &[u8], signature: &[u8], secrets: &[SecretString]) -> bool {
    secrets.iter().any(|secret| {
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes());
        mac.is_ok_and(|mac| mac.chain_update(message).verify_slice(signature).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

    use super::*;

    const BODY: &[u8] = br#"{"event_type":"call.ring","call_id":1}"#;

    fn secrets(list: &[&str]) -> Vec<SecretString> {
        list.iter().map(|secret| (*secret).to_owned().into()).collect()
    }

    fn mac(secret: &str) -> Vec<u8> {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
        mac.chain_update(BODY).finalize().into_bytes().to_vec()
    }

    fn jws(alg: Algorithm, secret: &str) -> String {
        let claims = serde_json::json!({"state": "ringing", "call_id": 1});
        let key = EncodingKey::from_secret(secret.as_bytes()).expect("a secret");
        encode(&Header::new(alg), &claims, &key).expect("encodes")
    }

    #[test]
    fn the_hmac_is_accepted_in_every_encoding() {
        let mac = mac("s");
        let spellings = [
            hex::encode(&mac),
            hex::encode_upper(&mac),
            format!("sha256={}", hex::encode(&mac)),
            format!("SHA256={}", hex::encode_upper(&mac)),
            BASE64_STANDARD.encode(&mac),
            BASE64_STANDARD.encode(&mac).trim_end_matches('=').to_owned(),
            BASE64_URL_SAFE.encode(&mac),
            BASE64_URL_SAFE_NO_PAD.encode(&mac),
        ];
        for spelling in spellings {
            assert!(verify(BODY, Some(&spelling), &secrets(&["s"])).is_ok(), "{spelling}");
        }
    }

    #[test]
    fn both_secrets_are_valid_while_one_is_rotated_out() {
        assert!(verify(BODY, Some(&hex::encode(mac("old"))), &secrets(&["new", "old"])).is_ok());
        assert!(verify(jws(Algorithm::HS256, "old").as_bytes(), None, &secrets(&["new", "old"])).is_ok());
    }

    #[test]
    fn the_payload_of_a_jws_is_its_claims() {
        let body = format!("  {}\n", jws(Algorithm::HS256, "s"));
        let claims = verify(body.as_bytes(), None, &secrets(&["s"])).expect("authentic");
        assert_eq!(claims, br#"{"call_id":1,"state":"ringing"}"#);
    }

    #[test]
    fn a_body_without_a_valid_signature_is_refused() {
        let all = secrets(&["s"]);
        assert!(verify(BODY, None, &all).is_err(), "no signature");
        assert!(verify(BODY, Some("sha256=abc"), &all).is_err(), "no digest");
        assert!(verify(BODY, Some(&hex::encode(mac("other"))), &all).is_err(), "another secret");
        assert!(verify(jws(Algorithm::HS256, "other").as_bytes(), None, &all).is_err(), "another secret");
        assert!(verify(jws(Algorithm::HS384, "s").as_bytes(), None, &all).is_err(), "another algorithm");
        let none = format!("{}.{}.", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), "e30");
        assert!(verify(none.as_bytes(), None, &all).is_err(), "no algorithm");
        assert!(verify(BODY, Some(&hex::encode(mac("s"))), &[]).is_err(), "no secret at all");
    }
}
