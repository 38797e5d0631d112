//! Asks Dialpad which organization a token belongs to, where that is not known yet. Until then an app gets only the
//! webhooks at its own address.

use std::{sync::Arc, time::Duration};

use cti_actors::{Engine, error::StoreError, id::AppId};
use secrecy::SecretString;
use thiserror::Error;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::{
    periodic::{every, periodic_once},
    unrouted::route_organization,
};
use crate::{
    backoff::Backoff,
    dialpad::{
        api::Dialpad,
        client::{DialpadClient, DialpadError},
        oauth::access::NoAccess,
    },
    store::Store,
};

const STATIC_KEY_BACKOFF: Backoff =
    Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(60), jitter: 0.0 };

/// Asks for the organization of the static key until Dialpad has answered. Webhooks that waited for that organization
/// are then processed.
pub(super) async fn of_static_key(
    store: &Store,
    engine: &Engine,
    dialpad: &DialpadClient,
    key: &SecretString,
) {
    let mut failures = 0;
    let organization = loop {
        match dialpad.organization_of(key).await {
            Ok(Some(organization)) => break organization,
            Ok(None) => return warn!("Dialpad names no organization for DIALPAD_API_KEY"),
            Err(error) => warn!(%error, "Dialpad did not name the organization of DIALPAD_API_KEY"),
        }
        failures += 1;
        sleep(STATIC_KEY_BACKOFF.ceiling(failures)).await;
    };
    store.routes().set_static_organization(organization);
    if let Err(error) = route_organization(store, engine, organization).await {
        warn!(%error, "webhooks that wait for their organization could not be routed yet");
    }
    info!(organization, "apps without a connection belong to the organization of DIALPAD_API_KEY");
}

/// Asks again for the organizations that Dialpad did not name when the apps were connected.
pub(super) async fn of_connections(store: Store, engine: Arc<Engine>, dialpad: Dialpad, interval: Duration) {
    let state = (store.clone(), engine, dialpad);
    periodic_once(store, "resolve organizations", every(interval), state, |(store, engine, dialpad)| {
        Box::pin(resolve_all(store, engine, dialpad))
    })
    .await;
}

async fn resolve_all(store: &Store, engine: &Engine, dialpad: &Dialpad) -> Result<(), StoreError> {
    let environment = dialpad.access.environment();
    for app in store.connections().without_organization(environment.as_str()).await? {
        match resolve(store, engine, dialpad, app).await {
            Ok(Some(organization)) => {
                info!(app.id = %app, organization, "Dialpad named the organization of the app");
            }
            Ok(None) => debug!(app.id = %app, "Dialpad names no organization for the app"),
            Err(error) => warn!(app.id = %app, %error, "Dialpad did not name the organization of the app"),
        }
    }
    Ok(())
}

#[derive(Debug, Error)]
enum ResolveError {
    #[error(transparent)]
    Access(#[from] NoAccess),
    #[error(transparent)]
    Dialpad(#[from] DialpadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

async fn resolve(
    store: &Store,
    engine: &Engine,
    dialpad: &Dialpad,
    app: AppId,
) -> Result<Option<i64>, ResolveError> {
    let access = dialpad.access.of(app).await?;
    let Some(organization) = dialpad.client.organization_of(&access.token).await? else { return Ok(None) };
    if store.connections().set_organization(app, access.generation, organization).await? {
        route_organization(store, engine, organization).await?;
    }
    Ok(Some(organization))
}
