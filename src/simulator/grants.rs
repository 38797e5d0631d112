//! Which codes and tokens are good: a code works once, a refresh token works once, an access token works until it
//! expires or its connection is revoked.
//!
//! Time comes in as an argument; only the tokens themselves are left to chance, because nobody may guess them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// How long an authorization code waits to be traded.
const CODE_LIFETIME: Duration = Duration::from_secs(600);

/// What the user agreed to on the consent page.
pub(super) struct Consent {
    pub(super) redirect_uri: String,
    pub(super) scope: String,
    pub(super) challenge: Option<Challenge>,
}

/// The PKCE challenge that the authorization began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Plain(String),
    S256(String),
}

impl Challenge {
    fn met_by(&self, verifier: &str) -> bool {
        match self {
            Self::Plain(challenge) => challenge == verifier,
            Self::S256(challenge) => *challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
        }
    }
}

/// A new access token and, with the scope `offline_access`, its refresh token.
pub(super) struct Pair {
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
}

/// Why a code or refresh token was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the code is unknown, used or expired")]
    Code,
    #[error("redirect_uri is not the one that the authorization began with")]
    RedirectUri,
    #[error("code_verifier does not match the code_challenge")]
    Verifier,
    #[error("the refresh token is unknown, used or revoked")]
    RefreshToken,
}

/// Everything that was granted and not revoked.
#[derive(Default)]
pub(super) struct Grants {
    codes: HashMap<String, (Consent, Instant)>,
    access: HashMap<String, Access>,
    /// Refresh token → the connection it renews.
    refresh: HashMap<String, Connection>,
    connections: u64,
}

/// One authorization by one user: all its tokens fall together.
#[derive(Clone)]
struct Connection {
    number: u64,
    scope: String,
}

struct Access {
    connection: u64,
    scope: String,
    expires: Instant,
}

impl Grants {
    /// Issues the code that stands for a consent.
    pub(super) fn issue_code(&mut self, consent: Consent, now: Instant) -> String {
        self.codes.retain(|_, (_, expires)| *expires > now);
        let code = opaque("code");
        self.codes.insert(code.clone(), (consent, now + CODE_LIFETIME));
        code
    }

    /// Trades a code for tokens. Any attempt spends the code.
    pub(super) fn trade_code(
        &mut self,
        code: &str,
        verifier: Option<&str>,
        redirect_uri: Option<&str>,
        lifetime: Duration,
        now: Instant,
    ) -> Result<Pair, Refused> {
        let (consent, expires) = self.codes.remove(code).ok_or(Refused::Code)?;
        if expires <= now {
            return Err(Refused::Code);
        }
        if redirect_uri.is_some_and(|uri| uri != consent.redirect_uri) {
            return Err(Refused::RedirectUri);
        }
        if let Some(challenge) = &consent.challenge
            && !verifier.is_some_and(|verifier| challenge.met_by(verifier))
        {
            return Err(Refused::Verifier);
        }
        self.connections += 1;
        Ok(self.issue_pair(Connection { number: self.connections, scope: consent.scope }, lifetime, now))
    }

    /// Trades a refresh token for a new pair. The old refresh token is spent; the old access token lives out its time.
    pub(super) fn trade_refresh_token(
        &mut self,
        token: &str,
        lifetime: Duration,
        now: Instant,
    ) -> Result<Pair, Refused> {
        let connection = self.refresh.remove(token).ok_or(Refused::RefreshToken)?;
        Ok(self.issue_pair(connection, lifetime, now))
    }

    /// The scopes of an access token that is good.
    pub(super) fn scope_of(&self, token: &str, now: Instant) -> Option<String> {
        self.access.get(token).filter(|access| access.expires > now).map(|access| access.scope.clone())
    }

    /// Revokes every token of the connection that this access token belongs to.
    pub(super) fn revoke(&mut self, token: &str) {
        let Some(connection) = self.access.get(token).map(|access| access.connection) else {
            return;
        };
        self.access.retain(|_, access| access.connection != connection);
        self.refresh.retain(|_, kept| kept.number != connection);
    }

    fn issue_pair(&mut self, connection: Connection, lifetime: Duration, now: Instant) -> Pair {
        self.access.retain(|_, access| access.expires > now);
        let access_token = opaque("access");
        let access = Access {
            connection: connection.number,
            scope: connection.scope.clone(),
            expires: now + lifetime,
        };
        self.access.insert(access_token.clone(), access);
        let lasting = connection.scope.split_whitespace().any(|scope| scope == "offline_access");
        let refresh_token = lasting.then(|| opaque("refresh"));
        if let Some(token) = &refresh_token {
            self.refresh.insert(token.clone(), connection);
        }
        Pair { access_token, refresh_token }
    }
}

fn opaque(kind: &str) -> String {
    format!("sim_{kind}_{}", hex::encode(rand::random::<[u8; 24]>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn consent(scope: &str, challenge: Option<Challenge>) -> Consent {
        Consent { redirect_uri: "http://here/callback".to_owned(), scope: scope.to_owned(), challenge }
    }

    #[test]
    fn a_code_works_once_and_not_after_ten_minutes() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        let code = grants.issue_code(consent("", None), now);
        assert!(grants.trade_code(&code, None, None, HOUR, now).is_ok());
        assert_eq!(grants.trade_code(&code, None, None, HOUR, now).err(), Some(Refused::Code));
        let late = grants.issue_code(consent("", None), now);
        assert_eq!(
            grants.trade_code(&late, None, None, HOUR, now + CODE_LIFETIME).err(),
            Some(Refused::Code)
        );
    }

    #[test]
    fn the_challenge_of_rfc_7636_is_met_by_its_verifier_only() {
        let challenge = Challenge::S256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned());
        assert!(challenge.met_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert!(!challenge.met_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"));
        assert!(Challenge::Plain("same".to_owned()).met_by("same"));
    }

    #[test]
    fn a_refresh_token_works_once_and_only_exists_with_offline_access() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        let code = grants.issue_code(consent("calls:list", None), now);
        assert!(grants.trade_code(&code, None, None, HOUR, now).expect("tokens").refresh_token.is_none());

        let code = grants.issue_code(consent("calls:list offline_access", None), now);
        let first = grants.trade_code(&code, None, None, HOUR, now).expect("tokens");
        let token = first.refresh_token.expect("a refresh token");
        let second = grants.trade_refresh_token(&token, HOUR, now).expect("a new pair");
        assert_ne!(first.access_token, second.access_token);
        assert_eq!(grants.trade_refresh_token(&token, HOUR, now).err(), Some(Refused::RefreshToken));
    }

    #[test]
    fn revoking_takes_the_whole_connection_and_no_other() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        let mut connect = || {
            let code = grants.issue_code(consent("offline_access", None), now);
            grants.trade_code(&code, None, None, HOUR, now).expect("tokens")
        };
        let (gone, kept) = (connect(), connect());
        grants.revoke(&gone.access_token);
        assert_eq!(grants.scope_of(&gone.access_token, now), None);
        assert!(grants.trade_refresh_token(&gone.refresh_token.expect("one"), HOUR, now).is_err());
        assert_eq!(grants.scope_of(&kept.access_token, now).as_deref(), Some("offline_access"));
        assert_eq!(grants.scope_of(&kept.access_token, now + HOUR), None);
    }
}
