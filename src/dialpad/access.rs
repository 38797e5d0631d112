//! The right to speak to Dialpad for an app: its connection's token, or the static key.

use cti_actors::{error::StoreError, id::AppId};
use secrecy::SecretString;
use thiserror::Error;

use crate::store::Store;

/// The right to ask Dialpad something for an app.
#[derive(Clone, Debug)]
pub struct Access {
    /// The organisation that is asked; limits are counted for it.
    pub organization: Option<i64>,
    /// Opens the API.
    pub token: SecretString,
    /// Which pair of the connection's tokens this one is of; 0 for a token that is never renewed.
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
    /// Good for every app without a connection.
    static_key: Option<SecretString>,
}

impl AccessBook {
    /// The connections of this store; an app without one has the static key, where there is one.
    #[must_use]
    pub fn new(store: Store, static_key: Option<SecretString>) -> Self {
        Self { store, static_key }
    }

    /// The right to speak for an app.
    ///
    /// # Errors
    /// See [`NoAccess`].
    pub async fn of(&self, app: AppId) -> Result<Access, NoAccess> {
        match (self.store.connection(app).await?, &self.static_key) {
            (Some(connection), _) if connection.status == "expired" => Err(NoAccess::Expired),
            (Some(connection), _) => Ok(Access {
                organization: connection.dialpad_org_id,
                token: connection.access_token,
                generation: 0,
            }),
            (None, Some(key)) => Ok(Access {
                organization: self.store.static_organization(),
                token: key.clone(),
                generation: 0,
            }),
            (None, None) => Err(NoAccess::NotConnected),
        }
    }

    /// The right to speak for an app after Dialpad refused this one.
    ///
    /// # Errors
    /// See [`NoAccess`].
    pub async fn after_refusal(&self, app: AppId, refused: &Access) -> Result<Access, NoAccess> {
        let _ = refused;
        self.of(app).await
    }
}
