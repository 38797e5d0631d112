//! Who is signed in. A session is what its cookie says, signed with the administrators' secret: every process knows it,
//! also after a restart and while the database is away, and it ends with the secret. What ends earlier, by signing out,
//! is in the database.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::clock::new_uuid;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use uuid::Uuid;

/// How long a session lasts at most.
pub(super) const MAX_AGE: TimeDelta = TimeDelta::hours(12);
/// After how long without a request a session ends.
pub(super) const IDLE_TIMEOUT: TimeDelta = TimeDelta::hours(1);
/// How long a sign-in token is valid.
const TOKEN_TIMEOUT: TimeDelta = TimeDelta::hours(1);
/// How often a cookie is replaced by one that says when the session was used.
const RENEW_INTERVAL: TimeDelta = TimeDelta::minutes(1);

const ID_LEN: usize = 16;
const INSTANT_LEN: usize = 8;

/// What a signature is for: one kind is never valid as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Session,
    SignIn,
    Form,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Session => b"cti-server console session\0",
            Self::SignIn => b"cti-server console sign-in\0",
            Self::Form => b"cti-server console form\0",
        }
    }
}

/// A session, by a cookie of it.
#[derive(Clone, Copy)]
pub(super) struct Session<'s> {
    pub(super) id: Uuid,
    began_at: DateTime<Utc>,
    used_at: DateTime<Utc>,
    /// The secret that signs it.
    secret: &'s SecretString,
}

/// A token with which one person can sign in once.
pub(super) struct SignInToken<'s> {
    pub(super) id: Uuid,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) secret: &'s SecretString,
}

impl<'s> Session<'s> {
    /// Begins a session of a person who knows this secret.
    pub(super) fn begin(secret: &'s SecretString, now: DateTime<Utc>) -> Self {
        Self { id: new_uuid(), began_at: now, used_at: now, secret }
    }

    /// Returns the session of a cookie, if it is valid. Whether the person has signed out is in the database.
    pub(super) fn of_cookie(
        cookie: &SecretString,
        secrets: &'s [SecretString],
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let (secret, [id, began_at, used_at]) = opened(Purpose::Session, cookie.expose_secret(), secrets)?;
        let session = Self {
            id: Uuid::from_slice(&id).ok()?,
            began_at: instant(&began_at)?,
            used_at: instant(&used_at)?,
            secret,
        };
        (now - session.began_at < MAX_AGE && now - session.used_at < IDLE_TIMEOUT).then_some(session)
    }

    /// Returns the value of its cookie.
    pub(super) fn cookie(&self) -> SecretString {
        let parts: [&[u8]; 3] = [self.id.as_bytes(), &seconds(self.began_at), &seconds(self.used_at)];
        signed(Purpose::Session, &parts, self.secret)
    }

    /// Returns the token that its forms carry.
    pub(super) fn csrf(&self) -> String {
        hex::encode(signature(Purpose::Form, &[self.id.as_bytes()], self.secret).finalize().into_bytes())
    }

    /// Returns when it ends at the latest.
    pub(super) fn expires_at(&self) -> DateTime<Utc> {
        self.began_at + MAX_AGE
    }

    /// Returns the session as it is used now, if its cookie should be replaced to say so.
    pub(super) fn renewed(&self, now: DateTime<Utc>) -> Option<Self> {
        (now - self.used_at >= RENEW_INTERVAL).then_some(Self { used_at: now, ..*self })
    }
}

impl<'s> SignInToken<'s> {
    /// Returns what is in a token that was not tampered with and has not expired. Whether it was used is in the database.
    pub(super) fn open(
        token: &SecretString,
        secrets: &'s [SecretString],
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let (secret, [id, expires_at]) = opened(Purpose::SignIn, token.expose_secret(), secrets)?;
        let token = Self { id: Uuid::from_slice(&id).ok()?, expires_at: instant(&expires_at)?, secret };
        (token.expires_at > now).then_some(token)
    }
}

/// Creates a token with which one person can sign in once.
pub(super) fn create_token(secret: &SecretString, now: DateTime<Utc>) -> SecretString {
    signed(Purpose::SignIn, &[new_uuid().as_bytes(), &seconds(now + TOKEN_TIMEOUT)], secret)
}

fn seconds(at: DateTime<Utc>) -> [u8; INSTANT_LEN] {
    at.timestamp().to_be_bytes()
}

fn instant(bytes: &[u8]) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::from_be_bytes(bytes.try_into().ok()?), 0)
}

fn signature(purpose: Purpose, parts: &[&[u8]], secret: &SecretString) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(purpose.label());
    parts.iter().for_each(|part| mac.update(part));
    mac
}

/// Returns parts of fixed lengths with their signature as text.
fn signed(purpose: Purpose, parts: &[&[u8]], secret: &SecretString) -> SecretString {
    let mut bytes = parts.concat();
    bytes.extend(signature(purpose, parts, secret).finalize().into_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes).into()
}

/// Returns the parts of a signed text, an id and instants, and the secret that signed it.
fn opened<'s, const PARTS: usize>(
    purpose: Purpose,
    text: &str,
    secrets: &'s [SecretString],
) -> Option<(&'s SecretString, [Vec<u8>; PARTS])> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let (content, mac) = bytes.split_at_checked(ID_LEN + INSTANT_LEN * (PARTS - 1))?;
    let is_signed_with =
        |secret: &&SecretString| signature(purpose, &[content], secret).verify_slice(mac).is_ok();
    let secret = secrets.iter().find(is_signed_with)?;
    let mut rest = content;
    let parts = std::array::from_fn(|part| {
        let (first, others) = rest.split_at(if part == 0 { ID_LEN } else { INSTANT_LEN });
        rest = others;
        first.to_vec()
    });
    Some((secret, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_704_110_400 + 60 * minute, 0).expect("an instant")
    }

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts.iter().map(|text| SecretString::from(*text)).collect()
    }

    #[test]
    fn a_session_ends_after_an_hour_without_a_request() {
        let secrets = secrets(&["one"]);
        let began = Session::begin(&secrets[0], at(0));
        let find =
            |session: &Session<'_>, minute| Session::of_cookie(&session.cookie(), &secrets, at(minute));
        let used = find(&began, 59).expect("it was used a moment ago");
        assert_eq!(used.csrf(), began.csrf(), "forms stay valid");
        let renewed = used.renewed(at(59)).expect("its cookie is old");
        assert!(find(&began, 60).is_none(), "the cookie that was not replaced");
        assert!(find(&renewed, 118).is_some());
        assert!(find(&renewed, 119).is_none());
    }

    #[test]
    fn a_session_ends_after_twelve_hours_however_often_it_is_used() {
        let secrets = secrets(&["one"]);
        let mut session = Session::begin(&secrets[0], at(0));
        for minute in (0..720).step_by(30) {
            let found = Session::of_cookie(&session.cookie(), &secrets, at(minute)).expect("it is used");
            session = found.renewed(at(minute)).unwrap_or(found);
        }
        assert!(Session::of_cookie(&session.cookie(), &secrets, at(719)).is_some());
        assert!(Session::of_cookie(&session.cookie(), &secrets, at(720)).is_none());
        assert_eq!(session.expires_at(), at(720));
    }

    #[test]
    fn a_session_ends_with_the_secret_that_signed_it() {
        let (old, both, new) = (secrets(&["old"]), secrets(&["new", "old"]), secrets(&["new"]));
        let cookie = Session::begin(&old[0], at(0)).cookie();
        assert!(Session::of_cookie(&cookie, &both, at(1)).is_some());
        assert!(Session::of_cookie(&cookie, &new, at(1)).is_none());
    }

    #[test]
    fn what_was_changed_or_signed_for_something_else_is_no_session() {
        let secrets = secrets(&["one"]);
        let cookie = Session::begin(&secrets[0], at(0)).cookie();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cookie.expose_secret()).expect("base64");
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let changed = SecretString::from(BASE64_URL_SAFE_NO_PAD.encode(changed));
            assert!(Session::of_cookie(&changed, &secrets, at(0)).is_none(), "byte {index}");
        }
        let token = create_token(&secrets[0], at(0));
        assert!(Session::of_cookie(&token, &secrets, at(0)).is_none());
        assert!(SignInToken::open(&cookie, &secrets, at(0)).is_none());
        for text in ["", "a", "0000", &"0".repeat(64)] {
            assert!(Session::of_cookie(&SecretString::from(text), &secrets, at(0)).is_none());
        }
    }

    #[test]
    fn a_token_is_valid_for_an_hour() {
        let secrets = secrets(&["one"]);
        let token = create_token(&secrets[0], at(0));
        assert!(SignInToken::open(&token, &secrets, at(59)).is_some());
        assert!(SignInToken::open(&token, &secrets, at(60)).is_none());
    }
}
