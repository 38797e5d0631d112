//! Everything that reads bytes of strangers, as functions of any bytes: each panics where the server would, and where a
//! property does not hold. The targets in `fuzz/` call them with what a fuzzer finds, the tests here with the seeds.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use cti_actors::{
    feed::Position,
    model::{
        call::{self, CallFacts},
        message,
    },
    ports::Inbound,
    session,
};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use sha2::Sha256;

use crate::{
    http, spool,
    store::views::listing::Cursor,
    webhook::{payload, signature},
};

const SECRET: &str = "a secret of the targets";

/// A function that takes any bytes and must not panic.
pub type Target = fn(&[u8]);

/// The functions by the names of their targets.
pub const TARGETS: [(&str, Target); 7] = [
    ("signature", signature_header),
    ("jws", jws),
    ("payload", webhook_payload),
    ("cursor", cursor),
    ("query", query),
    ("client_message", client_message),
    ("spool_segment", spool_segment),
];

fn mac(message: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length will do");
    mac.chain_update(message).finalize().into_bytes().to_vec()
}

/// Returns the first line of an input, and the rest.
fn lines(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    (&data[..end], data.get(end + 1..).unwrap_or_default())
}

/// A body and the header with its signature, which is the first line.
///
/// # Panics
/// A signature is accepted that nobody made, or the right one is refused.
pub fn signature_header(data: &[u8]) {
    let (header, body) = lines(data);
    let header = String::from_utf8_lossy(header);
    let secrets = [SecretString::from(SECRET)];
    let is_right = |header: &str| signature::verify(body, Some(header), &secrets).is_ok();
    assert!(!is_right(&header) || header.len() >= 43, "nobody guesses a signature");
    let signed = signature::verify(body, Some(&hex::encode(mac(body))), &secrets);
    // Three parts between dots are a JWS, whatever the header says.
    let may_be_jws = body.iter().filter(|byte| **byte == b'.').count() >= 2;
    assert!(may_be_jws || signed.is_ok_and(|payload| payload == body), "the right signature is accepted");
}

/// A JWS with the first line as its header and the rest as its claims, signed with the right secret.
///
/// # Panics
/// Another algorithm than HS256 is accepted, other claims are returned, or a changed signature is accepted.
pub fn jws(data: &[u8]) {
    let (header, claims) = lines(data);
    let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mut signature = mac(signed.as_bytes());
    let secrets = [SecretString::from(SECRET)];
    let verify = |signature: &[u8]| {
        let token = format!("{signed}.{}", encode(signature));
        signature::verify(token.as_bytes(), None, &secrets)
    };
    if let Ok(payload) = verify(&signature) {
        assert_eq!(payload, claims);
        // As text: what the server does not read of a header may be no UTF-8.
        let header: serde_json::Value =
            serde_json::from_str(&String::from_utf8_lossy(header)).unwrap_or_default();
        assert!(header["alg"] == "HS256" || header[0] == "HS256", "{header}");
    }
    signature[0] ^= 1;
    assert!(verify(&signature).is_err(), "a changed signature is refused");
    // And as a whole: what a stranger sends without any secret.
    assert!(signature::verify(data, None, &[]).is_err());
}

/// The payload of a webhook.
///
/// # Panics
/// Reading it twice differs, taking it twice changes something, or its facts are not read as they are stored.
pub fn webhook_payload(data: &[u8]) {
    let now = DateTime::<Utc>::from_timestamp(1_704_067_200, 0).unwrap_or_default();
    let (one, other) = (payload::read_webhook(data, now), payload::read_webhook(data, now));
    assert_eq!((&one.dedup_key, &one.content), (&other.dedup_key, &other.content));
    match one.content {
        Ok(Inbound::Call(event)) => {
            let first = call::apply(&CallFacts::default(), &event.clone().into());
            let second = call::apply(&first.facts, &event.into());
            assert_eq!(first.facts, second.facts, "a webhook that comes again adds nothing");
            let stored = serde_json::to_string(&first.facts).expect("facts are JSON");
            let read: CallFacts = serde_json::from_str(&stored).expect("stored facts are read");
            assert_eq!(read, first.facts);
            let _ = read.snapshot();
        }
        Ok(Inbound::Message(event)) => {
            let (first, _) = message::apply(None, &event);
            let (second, change) = message::apply(Some(&first), &event);
            assert_eq!((&first, change), (&second, None), "a webhook that comes again adds nothing");
            let stored = serde_json::to_string(&first).expect("facts are JSON");
            let read: message::MessageFacts = serde_json::from_str(&stored).expect("stored facts are read");
            assert_eq!(read, first);
            let _ = read.snapshot();
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
}

/// A position in the feed, and a cursor of a list.
///
/// # Panics
/// One is not read as it was written.
pub fn cursor(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse(), Ok(position));
        assert!(position.seq.0 >= 0);
    }
    if let Some(cursor) = Cursor::decode(&text) {
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
    }
}

/// The query of a request.
pub fn query(data: &[u8]) {
    http::fuzzing::read_query(&String::from_utf8_lossy(data));
}

/// A message of a client on its WebSocket.
///
/// # Panics
/// It is understood only sometimes.
pub fn client_message(data: &[u8]) {
    assert_eq!(session::reads_client_message(data), session::reads_client_message(data));
}

/// A segment of the spool.
///
/// # Panics
/// See [`spool::fuzzing::read_segment`].
pub fn spool_segment(data: &[u8]) {
    spool::fuzzing::read_segment(data);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Returns the seeds of a target.
    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let files = fs::read_dir(folder).expect("a folder of seeds for each target");
        files.map(|file| fs::read(file.expect("a file").path()).expect("a readable seed")).collect()
    }

    #[test]
    fn no_seed_makes_a_target_panic_and_neither_does_one_that_is_cut_or_changed() {
        for (target, run) in TARGETS {
            let seeds = seeds(target);
            assert!(!seeds.is_empty(), "{target} has no seeds");
            for seed in seeds {
                run(&seed);
                for place in 0..seed.len().min(400) {
                    run(&seed[..place]);
                    let mut changed = seed.clone();
                    changed[place] ^= 1 << (place % 8);
                    run(&changed);
                    changed[place] = b"\0\xff{\"[9"[place % 6];
                    run(&changed);
                }
            }
        }
    }

    #[test]
    fn every_target_is_a_file_in_fuzz() {
        for (target, _) in TARGETS {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/targets/{target}.rs"));
            assert!(file.exists(), "{target} has no file in fuzz/targets");
        }
    }
}
