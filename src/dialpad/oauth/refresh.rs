//! Refreshing an app's tokens: store the intent, request new tokens, store the result. A kill at any point leaves either
//! the old tokens, or an intent that is taken over when its lease has ended. Its second request ends in valid tokens or
//! in an expired connection.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use cti_actors::{
    clock::Clock,
    error::StoreError,
    event::Frame,
    model::token::{
        DuePair, Outcome, TokenPair,
        schedule::{Jitter, Verdict, backoff},
    },
    ports::{Connections, Renewal},
};
use reqwest::StatusCode;
use secrecy::SecretString;
use tracing::{error, warn};

use super::{TokenError, access::Access};
use crate::{
    config::{Environment, OauthClient},
    dialpad::client::{
        DialpadClient, DialpadError,
        request::{ApiRequest, Endpoint},
    },
    store::{
        Store,
        dialpad::{
            connections::Tokens,
            renewals::{Begun, Finished, Intent},
        },
    },
};

const STORE_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Refreshes tokens for the engine.
pub struct TokenRefresher {
    /// Holds the connections.
    pub store: Store,
    /// Sends the requests.
    pub client: DialpadClient,
    /// The server's OAuth client at Dialpad.
    pub oauth: Option<OauthClient>,
    /// Connections of the other environment are not refreshed: Dialpad would refuse their tokens, and they would expire.
    pub environment: Environment,
    /// The present time.
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Connections for TokenRefresher {
    async fn due(&self, until: DateTime<Utc>, limit: usize) -> Result<Vec<DuePair>, StoreError> {
        self.store.renewals().due(self.environment.as_str(), until, limit).await
    }

    async fn renew(&self, pair: TokenPair) -> Result<Renewal, StoreError> {
        let outcome = match self.store.renewals().begin(pair, self.environment.as_str()).await? {
            Begun::Intent(intent) => return self.refresh(intent).await,
            Begun::Static(token) => return self.check_static(pair, token).await,
            Begun::UnderWay => Outcome::UnderWay,
            Begun::TooSoon { until, reason } => Outcome::TooSoon { until, reason },
            Begun::Superseded => Outcome::Superseded,
            Begun::Expired => Outcome::Expired,
        };
        Ok(outcome.into())
    }
}

impl TokenRefresher {
    async fn refresh(&self, intent: Intent) -> Result<Renewal, StoreError> {
        let Some(oauth) = &self.oauth else {
            return self.store_failure(&intent, not_requested("No OAuth client is configured")).await;
        };
        let Some(refresh_token) = &intent.refresh_token else {
            let error = not_requested("The refresh token can't be decrypted with the configured keys");
            return self.store_failure(&intent, error).await;
        };
        match self.client.refresh(oauth, refresh_token, intent.begun_at).await {
            Ok(tokens) => self.store_tokens(intent.pair, &tokens).await,
            Err(error) if error.verdict == Verdict::Expired => self.expire(intent.pair, &error.reason).await,
            Err(error) => self.store_failure(&intent, error).await,
        }
    }

    /// Stores new tokens, and retries as long as the database is unavailable: the old ones may be spent.
    async fn store_tokens(&self, pair: TokenPair, tokens: &Tokens) -> Result<Renewal, StoreError> {
        let app = pair.app_id;
        loop {
            match self.store.renewals().finish(pair, tokens).await {
                Ok(Finished::Stored(events)) => return Ok(Renewal { outcome: Outcome::Renewed, events }),
                Ok(Finished::Superseded) => return Ok(Outcome::Superseded.into()),
                Ok(Finished::Unwanted) => {
                    if let Err(error) = self.client.deauthorize(&tokens.access).await {
                        warn!(app.id = %app, %error, "the new tokens of a disconnected app could not be revoked");
                    }
                    return Ok(Outcome::Superseded.into());
                }
                Err(failure @ (StoreError::Unavailable(_) | StoreError::Conflict(_))) => {
                    warn!(app.id = %app, error = %failure, "new tokens could not be stored; they are kept in memory and retried");
                    tokio::time::sleep(STORE_RETRY_INTERVAL).await;
                }
                Err(failure) => {
                    error!(app.id = %app, error = %failure, "new tokens can't be stored");
                    return Err(failure);
                }
            }
        }
    }

    async fn store_failure(&self, intent: &Intent, error: TokenError) -> Result<Renewal, StoreError> {
        let failures = intent.failures.saturating_add(1);
        let retry_at = self.clock.now() + backoff(failures, error.retry_after, Jitter::of(rand::random()));
        let events = self.store.renewals().fail(intent, &error.reason, retry_at).await?;
        Ok(Renewal { outcome: Outcome::Failed(error.reason), events })
    }

    async fn expire(&self, pair: TokenPair, reason: &str) -> Result<Renewal, StoreError> {
        let event: Option<Frame> = self.store.renewals().expire(pair, reason).await?;
        // Without an event another process was first, with this result or with new tokens.
        let outcome = if event.is_some() { Outcome::Expired } else { Outcome::Superseded };
        Ok(Renewal { outcome, events: event.into_iter().collect() })
    }

    /// Checks a token that can't be refreshed after Dialpad refused it. One endpoint may refuse it for a reason of its
    /// own; the user that the token belongs to can be read without any scope.
    async fn check_static(&self, pair: TokenPair, token: SecretString) -> Result<Renewal, StoreError> {
        let access = Access { organization: None, token, generation: pair.generation };
        match self.client.send(&access, &ApiRequest::get(Endpoint::User, "users/me")).await {
            Err(DialpadError::Refused(StatusCode::UNAUTHORIZED)) => {
                self.expire(pair, "Dialpad no longer accepts the static token").await
            }
            _ => Ok(Outcome::StillGood.into()),
        }
    }
}

fn not_requested(reason: &str) -> TokenError {
    TokenError { status: None, verdict: Verdict::RetryLater, reason: reason.to_owned(), retry_after: None }
}
