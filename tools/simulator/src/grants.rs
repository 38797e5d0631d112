//! OAuth codes and tokens: a code works once, a refresh token works once (or as long as the policy allows), an access
//! token works until it expires or its connection is revoked.
//!
//! Time is an argument; the tokens themselves are random, because they must not be guessable.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// How long an authorization code is valid.
const CODE_LIFETIME: Duration = Duration::from_secs(600);

/// What the user approved.
pub(crate) struct Consent {
    pub(crate) redirect_uri: String,
    pub(crate) scope: String,
    pub(crate) company_id: i64,
    pub(crate) challenge: Option<Challenge>,
}

/// The PKCE challenge of an authorization (RFC 7636).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Plain(String),
    S256(String),
}

impl Challenge {
    fn matches(&self, verifier: &str) -> bool {
        match self {
            Self::Plain(challenge) => challenge == verifier,
            Self::S256(challenge) => *challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
        }
    }
}

/// A new access token and, with the scope `offline_access`, its refresh token.
pub(crate) struct TokenPair {
    pub(crate) access_token: String,
    pub(crate) refresh_token: Option<String>,
    pub(crate) scope: String,
}

/// How tokens are issued and accepted.
#[derive(Clone, Copy)]
pub(crate) struct TokenPolicy {
    /// The lifetime of a new access token.
    pub(crate) lifetime: Duration,
    /// Whether a refresh issues a new refresh token and invalidates the old one.
    pub(crate) rotate: bool,
    /// How long a used refresh token is accepted once more.
    pub(crate) grace: Duration,
    /// Whether using a refresh token again revokes its connection.
    pub(crate) reuse_revokes: bool,
}

/// The company and scopes of a valid access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenInfo {
    pub(crate) company_id: i64,
    pub(crate) scope: String,
}

/// Why a code or refresh token was rejected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantError {
    #[error("the code is unknown, used or expired")]
    Code,
    #[error("redirect_uri differs from the one of the authorization request")]
    RedirectUri,
    #[error("code_verifier does not match the code_challenge")]
    Verifier,
    #[error("the refresh token is unknown, used or revoked")]
    RefreshToken,
    #[error("the refresh token was used before: all tokens of its connection are revoked")]
    Reused,
}

/// Everything that was granted and not revoked.
#[derive(Default)]
pub(crate) struct Grants {
    codes: HashMap<String, (Consent, Instant)>,
    access: HashMap<String, AccessToken>,
    /// Refresh token → its connection.
    refresh: HashMap<String, Connection>,
    /// Used refresh token → its connection, and when it was used.
    used: HashMap<String, (Connection, Instant)>,
    connections: u64,
}

/// One authorization by one user; all its tokens are revoked together.
#[derive(Clone)]
struct Connection {
    number: u64,
    info: TokenInfo,
}

struct AccessToken {
    connection: u64,
    info: TokenInfo,
    expires: Instant,
}

impl Grants {
    /// Issues a code for a consent.
    pub(crate) fn issue_code(&mut self, consent: Consent, now: Instant) -> String {
        self.codes.retain(|_, (_, expires)| *expires > now);
        let code = opaque("code");
        self.codes.insert(code.clone(), (consent, now + CODE_LIFETIME));
        code
    }

    /// Exchanges a code for tokens. Any attempt uses up the code.
    pub(crate) fn exchange_code(
        &mut self,
        code: &str,
        verifier: Option<&str>,
        redirect_uri: Option<&str>,
        policy: TokenPolicy,
        now: Instant,
    ) -> Result<TokenPair, GrantError> {
        let (consent, expires) = self.codes.remove(code).ok_or(GrantError::Code)?;
        if expires <= now {
            return Err(GrantError::Code);
        }
        if redirect_uri.is_some_and(|uri| uri != consent.redirect_uri) {
            return Err(GrantError::RedirectUri);
        }
        if let Some(challenge) = &consent.challenge
            && !verifier.is_some_and(|verifier| challenge.matches(verifier))
        {
            return Err(GrantError::Verifier);
        }
        self.connections += 1;
        let info = TokenInfo { company_id: consent.company_id, scope: consent.scope };
        let connection = Connection { number: self.connections, info };
        let is_refreshable = connection.info.scope.split_whitespace().any(|scope| scope == "offline_access");
        Ok(self.issue_pair(connection, is_refreshable, policy, now))
    }

    /// Exchanges a refresh token for a new pair. The old refresh token is used up; the old access token stays valid until it
    /// expires.
    pub(crate) fn refresh(
        &mut self,
        token: &str,
        policy: TokenPolicy,
        now: Instant,
    ) -> Result<TokenPair, GrantError> {
        if !policy.rotate {
            let connection = self.refresh.get(token).cloned().ok_or(GrantError::RefreshToken)?;
            return Ok(self.issue_pair(connection, false, policy, now));
        }
        let connection = match self.refresh.remove(token) {
            Some(connection) => {
                self.used.insert(token.to_owned(), (connection.clone(), now));
                connection
            }
            None => self.reuse(token, policy, now)?,
        };
        Ok(self.issue_pair(connection, true, policy, now))
    }

    /// Handles a refresh token that is not valid: it may have been used before.
    fn reuse(&mut self, token: &str, policy: TokenPolicy, now: Instant) -> Result<Connection, GrantError> {
        let (connection, at) = self.used.get(token).cloned().ok_or(GrantError::RefreshToken)?;
        if now.duration_since(at) < policy.grace {
            return Ok(connection);
        }
        if !policy.reuse_revokes {
            return Err(GrantError::RefreshToken);
        }
        self.revoke_connection(connection.number);
        Err(GrantError::Reused)
    }

    /// Returns the company and scopes of an access token, if it is valid.
    pub(crate) fn validate(&self, token: &str, now: Instant) -> Option<TokenInfo> {
        self.access.get(token).filter(|access| access.expires > now).map(|access| access.info.clone())
    }

    /// Revokes every token of an access token's connection.
    pub(crate) fn revoke(&mut self, token: &str) {
        if let Some(connection) = self.access.get(token).map(|access| access.connection) {
            self.revoke_connection(connection);
        }
    }

    /// Revokes every access token.
    pub(crate) fn revoke_access_tokens(&mut self) {
        self.access.clear();
    }

    /// Revokes every refresh token.
    pub(crate) fn revoke_refresh_tokens(&mut self) {
        self.refresh.clear();
        self.used.clear();
    }

    fn revoke_connection(&mut self, number: u64) {
        self.access.retain(|_, access| access.connection != number);
        self.refresh.retain(|_, kept| kept.number != number);
        self.used.retain(|_, (kept, _)| kept.number != number);
    }

    fn issue_pair(
        &mut self,
        connection: Connection,
        is_refreshable: bool,
        policy: TokenPolicy,
        now: Instant,
    ) -> TokenPair {
        self.access.retain(|_, access| access.expires > now);
        let access_token = opaque("access");
        let scope = connection.info.scope.clone();
        let access = AccessToken {
            connection: connection.number,
            info: connection.info.clone(),
            expires: now + policy.lifetime,
        };
        self.access.insert(access_token.clone(), access);
        let refresh_token = is_refreshable.then(|| opaque("refresh"));
        if let Some(token) = &refresh_token {
            self.refresh.insert(token.clone(), connection);
        }
        TokenPair { access_token, refresh_token, scope }
    }
}

fn opaque(kind: &str) -> String {
    format!("sim_{kind}_{}", hex::encode(rand::random::<[u8; 24]>()))
}
