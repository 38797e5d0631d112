//! The token with which a request for an app is sent: that of its connection, or the static key.
//!
//! A token that is still valid is used as it is, also while it is being refreshed. Requests wait for a refresh only when
//! the token has ended or was refused, and all that wait share one.

use std::{sync::Arc, time::Duration};

use cti_actors::{
    Engine,
    error::StoreError,
    id::AppId,
    model::token::{Outcome, TokenPair},
};
use secrecy::SecretString;
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    config::Environment,
    store::{Store, dialpad::connections::Connection},
};

/// How long a request waits for a new token: Dialpad's time limit and a little more.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(12);
/// How often a token is read again that was refreshed meanwhile and has ended already.
const MAX_READS: usize = 3;

/// A token and what it belongs to.
#[derive(Clone, Debug)]
pub struct Access {
    /// The organization; rate limits are counted for it.
    pub organization: Option<i64>,
    /// The bearer token.
    pub token: SecretString,
    /// The generation of the connection's tokens that it belongs to; 0 for the static key.
    pub generation: i64,
}

/// Why there is no token for an app.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NoAccess {
    /// The app has no connection.
    #[error("the app is not connected to Dialpad")]
    NotConnected,
    /// The app's tokens have ended for good; it must be connected again.
    #[error("OAuth tokens expired and refresh failed")]
    Expired,
    /// The token has ended and could not be refreshed yet.
    #[error("the token could not be refreshed: {0}")]
    Degraded(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds the tokens of apps. Cheap to clone.
#[derive(Clone)]
pub struct AccessBook {
    store: Store,
    /// Refreshes tokens.
    engine: Arc<Engine>,
    /// Connections of another environment are not used.
    environment: Environment,
    /// Used for every app without a connection.
    static_key: Option<SecretString>,
}

impl AccessBook {
    /// Creates it for the connections of this store and, for apps without one, the static key.
    #[must_use]
    pub fn new(
        store: Store,
        engine: Arc<Engine>,
        environment: Environment,
        static_key: Option<SecretString>,
    ) -> Self {
        Self { store, engine, environment, static_key }
    }

    /// Returns whether apps without a connection have access.
    #[must_use]
    pub fn has_static_key(&self) -> bool {
        self.static_key.is_some()
    }

    /// Returns the environment whose connections are used.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// Returns a valid token of an app, refreshed if need be.
    ///
    /// # Errors
    /// See [`NoAccess`].
    pub async fn of(&self, app: AppId) -> Result<Access, NoAccess> {
        for _ in 0..MAX_READS {
            let Some(connection) = self.usable_connection(app).await? else { return self.static_access() };
            let now = self.engine.ports().clock.now();
            // What can't be refreshed is used until Dialpad refuses it: that ends the connection, and a clock may be wrong.
            if !connection.is_renewable || connection.expires_at.is_none_or(|expires_at| expires_at > now) {
                return Ok(Access {
                    organization: connection.dialpad_org_id,
                    token: connection.access_token,
                    generation: connection.pair.generation,
                });
            }
            self.refresh(connection.pair).await?;
        }
        Err(NoAccess::Degraded("new tokens have expired already".into()))
    }

    /// Returns a token of an app after Dialpad answered 401 to this one: a newer one, or the same if it turned out to
    /// be valid.
    ///
    /// # Errors
    /// See [`NoAccess`].
    pub async fn after_refusal(&self, app: AppId, refused: &Access) -> Result<Access, NoAccess> {
        if let Some(connection) = self.usable_connection(app).await?
            && connection.pair.generation == refused.generation
        {
            self.refresh(connection.pair).await?;
        }
        self.of(app).await
    }

    async fn usable_connection(&self, app: AppId) -> Result<Option<Connection>, NoAccess> {
        match self.store.connections().find(app).await? {
            Some(connection) if connection.environment != self.environment.as_str() => {
                Err(NoAccess::NotConnected)
            }
            Some(connection) if connection.is_expired => Err(NoAccess::Expired),
            connection => Ok(connection),
        }
    }

    fn static_access(&self) -> Result<Access, NoAccess> {
        let token = self.static_key.clone().ok_or(NoAccess::NotConnected)?;
        Ok(Access { organization: self.store.routes().static_organization(), token, generation: 0 })
    }

    /// Waits until a pair of tokens was refreshed.
    async fn refresh(&self, pair: TokenPair) -> Result<(), NoAccess> {
        let outcome = match timeout(REFRESH_TIMEOUT, self.engine.renew(pair)).await {
            Ok(outcome) => outcome?,
            Err(_) => Outcome::UnderWay,
        };
        match outcome {
            Outcome::Renewed | Outcome::Superseded | Outcome::StillGood => Ok(()),
            Outcome::Expired => Err(NoAccess::Expired),
            Outcome::Failed(reason) | Outcome::TooSoon { reason, .. } => Err(NoAccess::Degraded(reason)),
            Outcome::UnderWay => Err(NoAccess::Degraded("it takes too long".into())),
        }
    }
}
