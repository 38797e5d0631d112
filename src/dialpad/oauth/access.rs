//! The right to speak to Dialpad for an app: its connection's token, or the static key.
//!
//! A token that lives is used as it is, also while the next one is being got. Only when it has ended, or was refused,
//! does whoever needs it wait for the next one, and all who wait share one renewal.

use std::{sync::Arc, time::Duration};

use cti_actors::{
    Engine,
    error::StoreError,
    id::AppId,
    model::token::{Outcome, TokenPair},
};
use secrecy::SecretString;
use thiserror::Error;

use crate::{
    config::Environment,
    store::{Store, dialpad::connections::Connection},
};

/// How long anybody waits for a new token: as long as Dialpad may take for it, and a little more.
const PATIENCE: Duration = Duration::from_secs(12);
/// How often a token is looked up that was replaced while somebody waited for it, and has ended again.
const LOOKS: usize = 3;

/// The right to ask Dialpad something for an app.
#[derive(Clone, Debug)]
pub struct Access {
    /// The organisation that is asked; limits are counted for it.
    pub organization: Option<i64>,
    /// Opens the API.
    pub token: SecretString,
    /// Which pair of the connection's tokens this one is of; 0 for the static key.
    pub generation: i64,
}

/// Why an app can't speak to Dialpad.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NoAccess {
    /// It has no connection.
    #[error("the app is not connected to Dialpad")]
    NotConnected,
    /// Its tokens are dead; somebody has to authorise again.
    #[error("OAuth tokens expired and refresh failed")]
    Expired,
    /// Its token has ended, and no new one could be had so far; that may heal by itself.
    #[error("the token could not be refreshed: {0}")]
    Degraded(String),
    /// Nobody can tell right now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where the right to speak for an app comes from. Cheap to clone.
#[derive(Clone)]
pub struct AccessBook {
    store: Store,
    /// Gets new tokens.
    engine: Arc<Engine>,
    /// Connections of the other one open nothing here.
    environment: Environment,
    /// Good for every app without a connection.
    static_key: Option<SecretString>,
}

impl AccessBook {
    /// The connections of this store; an app without one has the static key, where there is one.
    #[must_use]
    pub fn new(
        store: Store,
        engine: Arc<Engine>,
        environment: Environment,
        static_key: Option<SecretString>,
    ) -> Self {
        Self { store, engine, environment, static_key }
    }

    /// Whether apps without a connection may be spoken for.
    #[must_use]
    pub fn has_static_key(&self) -> bool {
        self.static_key.is_some()
    }

    /// Of which environment a connection must be.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// The right to speak for an app.
    ///
    /// # Errors
    /// See [`NoAccess`].
    pub async fn of(&self, app: AppId) -> Result<Access, NoAccess> {
        for _ in 0..LOOKS {
            let Some(connection) = self.connection(app).await? else { return self.by_static_key() };
            let now = self.engine.ports().clock.now();
            if connection.expires_at.is_none_or(|ends_at| ends_at > now) {
                return Ok(Access {
                    organization: connection.dialpad_org_id,
                    token: connection.access_token,
                    generation: connection.pair.generation,
                });
            }
            self.replace(connection.pair).await?;
        }
        Err(NoAccess::Degraded("tokens end as soon as they come".into()))
    }

    /// The right to speak for an app after Dialpad refused this one: a newer token, or the same one where nothing
    /// speaks against it.
    ///
    /// # Errors
    /// See [`NoAccess`].
    pub async fn after_refusal(&self, app: AppId, refused: &Access) -> Result<Access, NoAccess> {
        if let Some(connection) = self.connection(app).await?
            && connection.pair.generation == refused.generation
        {
            self.replace(connection.pair).await?;
        }
        self.of(app).await
    }

    /// A connection that somebody could speak with.
    async fn connection(&self, app: AppId) -> Result<Option<Connection>, NoAccess> {
        let connection = self.store.connections().find(app).await?;
        match connection {
            Some(connection) if connection.environment != self.environment.as_str() => {
                Err(NoAccess::NotConnected)
            }
            Some(connection) if connection.is_expired => Err(NoAccess::Expired),
            connection => Ok(connection),
        }
    }

    fn by_static_key(&self) -> Result<Access, NoAccess> {
        let token = self.static_key.clone().ok_or(NoAccess::NotConnected)?;
        Ok(Access { organization: self.store.routes().static_organization(), token, generation: 0 })
    }

    /// Waits until a pair has been replaced.
    async fn replace(&self, pair: TokenPair) -> Result<(), NoAccess> {
        let renewal = tokio::time::timeout(PATIENCE, self.engine.renew(pair)).await;
        let outcome = renewal.unwrap_or(Ok(Outcome::UnderWay))?;
        match outcome {
            Outcome::Renewed | Outcome::Superseded | Outcome::StillGood => Ok(()),
            Outcome::Expired => Err(NoAccess::Expired),
            Outcome::Failed(reason) | Outcome::TooSoon { reason, .. } => Err(NoAccess::Degraded(reason)),
            Outcome::UnderWay => Err(NoAccess::Degraded("it takes too long".into())),
        }
    }
}
