//! Who is signed in: sessions and single-use sign-in tokens, in the memory of this process. Of a secret that a browser
//! has, only the hash is kept.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// How long a session lasts at most.
pub(super) const MAX_AGE: TimeDelta = TimeDelta::hours(12);
/// After how long without a request a session ends.
pub(super) const IDLE_TIMEOUT: TimeDelta = TimeDelta::hours(1);
/// How long a sign-in token is valid.
const TOKEN_TIMEOUT: TimeDelta = TimeDelta::hours(1);
/// How many sessions there are at a time. Beyond it, the one that was used longest ago ends.
const MAX_SESSIONS: usize = 1000;

type Hash = [u8; 32];

/// The sessions of this process.
#[derive(Default)]
pub(super) struct Sessions(Mutex<State>);

#[derive(Default)]
struct State {
    by_hash: HashMap<Hash, Session>,
    /// The end of each sign-in token that was not used.
    tokens: HashMap<Hash, DateTime<Utc>>,
}

struct Session {
    began_at: DateTime<Utc>,
    used_at: DateTime<Utc>,
    csrf: String,
}

impl Session {
    fn is_valid(&self, now: DateTime<Utc>) -> bool {
        now - self.began_at < MAX_AGE && now - self.used_at < IDLE_TIMEOUT
    }
}

/// Whether a request shows that a person is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A page or a form.
    Active,
    /// A page that updates itself.
    Background,
}

impl Sessions {
    /// Begins a session, and returns its cookie's value.
    pub(super) fn begin(&self, now: DateTime<Utc>) -> SecretString {
        let cookie = random_text();
        let mut state = self.0.lock();
        state.by_hash.retain(|_, session| session.is_valid(now));
        if state.by_hash.len() >= MAX_SESSIONS {
            let oldest = state.by_hash.iter().min_by_key(|(_, session)| session.used_at);
            if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                state.by_hash.remove(&oldest);
            }
        }
        let session = Session { began_at: now, used_at: now, csrf: random_text() };
        state.by_hash.insert(hash_of(&cookie), session);
        cookie.into()
    }

    /// Returns the CSRF token of a valid session.
    pub(super) fn find(&self, cookie: &str, now: DateTime<Utc>, usage: Use) -> Option<String> {
        let mut state = self.0.lock();
        let session = state.by_hash.get_mut(&hash_of(cookie)).filter(|session| session.is_valid(now))?;
        if usage == Use::Active {
            session.used_at = now;
        }
        Some(session.csrf.clone())
    }

    /// Ends a session.
    pub(super) fn end(&self, cookie: &str) {
        self.0.lock().by_hash.remove(&hash_of(cookie));
    }

    /// Creates a token with which one person can sign in once.
    pub(super) fn create_token(&self, now: DateTime<Utc>) -> SecretString {
        let token = random_text();
        let mut state = self.0.lock();
        state.tokens.retain(|_, until| *until > now);
        state.tokens.insert(hash_of(&token), now + TOKEN_TIMEOUT);
        token.into()
    }

    /// Uses up a token. Returns whether it was valid.
    pub(super) fn take_token(&self, token: &SecretString, now: DateTime<Utc>) -> bool {
        let until = self.0.lock().tokens.remove(&hash_of(token.expose_secret()));
        until.is_some_and(|until| until > now)
    }
}

/// Returns 256 random bits as text.
fn random_text() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

fn hash_of(text: &str) -> Hash {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_704_110_400 + 60 * minute, 0).expect("an instant")
    }

    #[test]
    fn a_session_ends_after_an_hour_without_a_request() {
        let sessions = Sessions::default();
        let cookie = sessions.begin(at(0));
        let find = |minute, usage| sessions.find(cookie.expose_secret(), at(minute), usage);
        let csrf = find(59, Use::Active).expect("it was used a moment ago");
        assert_eq!(find(118, Use::Background), Some(csrf), "an hour after the last request");
        assert_eq!(find(119, Use::Active), None, "a page that updates itself is no request of a person");
    }

    #[test]
    fn a_session_ends_after_twelve_hours_however_often_it_is_used() {
        let sessions = Sessions::default();
        let cookie = sessions.begin(at(0));
        for minute in (0..720).step_by(30) {
            assert!(sessions.find(cookie.expose_secret(), at(minute), Use::Active).is_some(), "{minute}");
        }
        assert!(sessions.find(cookie.expose_secret(), at(719), Use::Active).is_some());
        assert_eq!(sessions.find(cookie.expose_secret(), at(720), Use::Active), None);
    }

    #[test]
    fn a_session_that_was_ended_is_not_found() {
        let sessions = Sessions::default();
        let (one, other) = (sessions.begin(at(0)), sessions.begin(at(0)));
        sessions.end(one.expose_secret());
        assert_eq!(sessions.find(one.expose_secret(), at(0), Use::Active), None);
        assert!(sessions.find(other.expose_secret(), at(0), Use::Active).is_some());
    }

    #[test]
    fn a_token_signs_in_once_and_for_an_hour() {
        let sessions = Sessions::default();
        let (used, late) = (sessions.create_token(at(0)), sessions.create_token(at(0)));
        assert!(sessions.take_token(&used, at(59)));
        assert!(!sessions.take_token(&used, at(59)));
        assert!(!sessions.take_token(&late, at(60)));
        assert!(!sessions.take_token(&SecretString::from("a guess"), at(0)));
    }

    #[test]
    fn the_number_of_sessions_is_limited() {
        let sessions = Sessions::default();
        let first = sessions.begin(at(0));
        for _ in 0..MAX_SESSIONS {
            sessions.begin(at(1));
        }
        assert_eq!(sessions.find(first.expose_secret(), at(1), Use::Active), None);
        assert_eq!(sessions.0.lock().by_hash.len(), MAX_SESSIONS);
    }
}
