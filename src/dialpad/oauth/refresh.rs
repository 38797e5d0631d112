//! Renewing an app's tokens: write down the intent, ask Dialpad, write down what came of it. A kill at any point leaves
//! either what was before, or an intent that is taken over when its lease has ended: that asks once more, and ends in
//! valid tokens or in a connection that is told to be expired.

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

use super::{NoTokens, access::Access};
use crate::dialpad::client::{
    DialpadClient, DialpadError,
    request::{ApiRequest, Endpoint},
};
use crate::{
    config::{Environment, OauthClient},
    store::{
        Store,
        dialpad::{
            connections::Tokens,
            renewals::{Begun, Finished, Intent},
        },
    },
};

/// How long to wait before a new pair is tried to be stored again.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// The engine's way to new tokens.
pub struct Renewals {
    /// Where connections are kept.
    pub store: Store,
    /// The way to Dialpad.
    pub client: DialpadClient,
    /// Who we are there.
    pub oauth: Option<OauthClient>,
    /// Connections of the other one are left alone: their tokens would be refused, and then be dead.
    pub environment: Environment,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Connections for Renewals {
    async fn due(&self, until: DateTime<Utc>, limit: usize) -> Result<Vec<DuePair>, StoreError> {
        self.store.renewals().due(self.environment.as_str(), until, limit).await
    }

    async fn renew(&self, pair: TokenPair) -> Result<Renewal, StoreError> {
        let outcome = match self.store.renewals().begin(pair, self.environment.as_str()).await? {
            Begun::Intent(intent) => return self.carry_out(intent).await,
            Begun::Static(token) => return self.make_sure_of(pair, token).await,
            Begun::UnderWay => Outcome::UnderWay,
            Begun::TooSoon { until, reason } => Outcome::TooSoon { until, reason },
            Begun::Superseded => Outcome::Superseded,
            Begun::Expired => Outcome::Expired,
        };
        Ok(outcome.into())
    }
}

impl Renewals {
    async fn carry_out(&self, intent: Intent) -> Result<Renewal, StoreError> {
        let Some(oauth) = &self.oauth else {
            return self.failed(&intent, no_tokens("No OAuth client is configured")).await;
        };
        let Some(refresh_token) = &intent.refresh_token else {
            return self
                .failed(&intent, no_tokens("The refresh token can't be opened with the configured keys"))
                .await;
        };
        match self.client.refresh(oauth, refresh_token, intent.begun_at).await {
            Ok(tokens) => self.finished(intent.pair, &tokens).await,
            Err(refusal) if refusal.verdict == Verdict::Expired => {
                self.dead(intent.pair, &refusal.reason).await
            }
            Err(no_tokens) => self.failed(&intent, no_tokens).await,
        }
    }

    /// Stores a new pair, however long that takes: the old one may be spent.
    async fn finished(&self, pair: TokenPair, tokens: &Tokens) -> Result<Renewal, StoreError> {
        let app = pair.app_id;
        loop {
            match self.store.renewals().finish(pair, tokens).await {
                Ok(Finished::Stored(told)) => return Ok(Renewal { outcome: Outcome::Renewed, events: told }),
                Ok(Finished::Superseded) => return Ok(Outcome::Superseded.into()),
                Ok(Finished::Unwanted) => {
                    if let Err(error) = self.client.deauthorize(&tokens.access).await {
                        warn!(app.id = %app, %error, "the new tokens of an app that was disconnected could not be revoked");
                    }
                    return Ok(Outcome::Superseded.into());
                }
                Err(failure @ (StoreError::Unavailable(_) | StoreError::Conflict(_))) => {
                    warn!(app.id = %app, error = %failure, "new tokens could not be stored; they are kept and tried again");
                    tokio::time::sleep(STORE_RETRY).await;
                }
                Err(failure) => {
                    error!(app.id = %app, error = %failure, "new tokens can't be stored");
                    return Err(failure);
                }
            }
        }
    }

    async fn failed(&self, intent: &Intent, why: NoTokens) -> Result<Renewal, StoreError> {
        let failures = intent.failures.saturating_add(1);
        let again_at = self.clock.now() + backoff(failures, why.retry_after, Jitter::of(rand::random()));
        let told = self.store.renewals().fail(intent, &why.reason, again_at).await?;
        Ok(Renewal { outcome: Outcome::Failed(why.reason), events: told })
    }

    async fn dead(&self, pair: TokenPair, reason: &str) -> Result<Renewal, StoreError> {
        let told: Option<Frame> = self.store.renewals().expire(pair, reason).await?;
        // Not told: somebody else was first, with this or with a new pair.
        let outcome = if told.is_some() { Outcome::Expired } else { Outcome::Superseded };
        Ok(Renewal { outcome, events: told.into_iter().collect() })
    }

    /// Dialpad refused a token that nothing can replace. One endpoint may do so for a reason of its own, so it is asked
    /// whom the token stands for: that needs no scope.
    async fn make_sure_of(&self, pair: TokenPair, token: SecretString) -> Result<Renewal, StoreError> {
        let access = Access { organization: None, token, generation: pair.generation };
        match self.client.ask(&access, &ApiRequest::get(Endpoint::User, "users/me")).await {
            Err(DialpadError::Refused(StatusCode::UNAUTHORIZED)) => {
                self.dead(pair, "Dialpad takes the static token no more").await
            }
            _ => Ok(Outcome::StillGood.into()),
        }
    }
}

fn no_tokens(reason: &str) -> NoTokens {
    NoTokens { status: None, verdict: Verdict::RetryLater, reason: reason.to_owned(), retry_after: None }
}
