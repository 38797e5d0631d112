//! What the server does when nobody asks for anything: each task runs until it is aborted, and goes on after a failure.

use std::{sync::Arc, time::Duration};

use cti_actors::{Engine, clock::Clock, error::StoreError, id::AppId};
use secrecy::SecretString;
use thiserror::Error;
use tracing::{debug, info, warn};

use crate::{
    config::{Environment, Retention},
    dialpad::{
        api::Dialpad,
        client::{DialpadClient, DialpadError},
        oauth::access::NoAccess,
    },
    store::{Store, crypto::reencrypt::Resealed, retention::Removed},
};

/// Removes what is older than it is kept.
pub async fn remove_old(store: Store, clock: Arc<dyn Clock>, retention: Retention) {
    let mut ticks = tokio::time::interval(retention.interval);
    loop {
        ticks.tick().await;
        let now = clock.now();
        match store.retention().prune(now - retention.events, now - retention.journal).await {
            Ok(removed) if removed == Removed::default() => {}
            Ok(removed) => {
                info!(events = removed.events, webhooks = removed.webhooks, "what was old was removed")
            }
            Err(failure) => warn!(error = %failure, "what is old could not be removed"),
        }
        match store.retention().prune_unrouted(now - retention.unrouted).await {
            Ok(0) => {}
            Ok(webhooks) => {
                warn!(webhooks, "webhooks were removed that had waited for somebody to the end of their time")
            }
            Err(failure) => warn!(error = %failure, "webhooks that nobody claimed could not be removed"),
        }
        if let Err(failure) = store.idempotency().prune().await {
            warn!(error = %failure, "old idempotency keys could not be removed");
        }
        if let Err(failure) = store.oauth_sessions().prune().await {
            warn!(error = %failure, "authorizations that were not finished could not be removed");
        }
    }
}

/// Asks whose the static key is, until Dialpad has said so: what waited for that organization is processed then.
pub async fn find_static_organization(
    store: Store,
    engine: Arc<Engine>,
    dialpad: DialpadClient,
    key: Option<SecretString>,
) {
    let Some(key) = key else { return };
    let mut pause = Duration::from_secs(1);
    loop {
        match dialpad.organization_of(&key).await {
            Ok(Some(organization)) => {
                store.routes().set_static_organization(organization);
                match store.journal().route_unrouted(organization).await {
                    Ok(apps) => apps.into_iter().for_each(|app| engine.notify(app)),
                    Err(failure) => {
                        warn!(error = %failure, "webhooks that waited for their organization still wait");
                    }
                }
                return info!(
                    organization,
                    "apps without a connection belong to the organization of DIALPAD_API_KEY"
                );
            }
            Ok(None) => return warn!("Dialpad names no organization for DIALPAD_API_KEY"),
            Err(error) => warn!(%error, "Dialpad did not say whose key DIALPAD_API_KEY is"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(60));
    }
}

/// Seals with the first key what others had sealed. As long as there are others, because another process may still seal
/// with one.
pub async fn reseal(store: Store, every: Duration) {
    if !store.reencryption().is_due() {
        return;
    }
    let mut ticks = tokio::time::interval(every);
    // What was said last: it is not said again every time.
    let mut said = None;
    loop {
        ticks.tick().await;
        let resealed = match store.reencryption().run().await {
            Ok(resealed) => resealed,
            Err(failure) => {
                warn!(error = %failure, "secrets could not be sealed anew");
                continue;
            }
        };
        if said.replace(resealed) == Some(resealed) {
            continue;
        }
        match resealed {
            Resealed { changed: 0, lost: 0 } => {
                info!("everything is sealed with the first TOKEN_ENCRYPTION_KEY; the others can go");
            }
            Resealed { changed, lost: 0 } => {
                info!(changed, "secrets were sealed anew with the first TOKEN_ENCRYPTION_KEY");
            }
            Resealed { changed, lost } => {
                warn!(changed, lost, "no TOKEN_ENCRYPTION_KEY opens some of the secrets");
            }
        }
    }
}

/// Asks again whose tokens they are, where Dialpad could not say so when the app was connected: without its
/// organization an app gets only what comes to its own address.
pub async fn find_organizations(
    store: Store,
    engine: Arc<Engine>,
    dialpad: Dialpad,
    environment: Environment,
    every: Duration,
) {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        let apps = match store.connections().without_organization(environment.as_str()).await {
            Ok(apps) => apps,
            Err(failure) => {
                debug!(error = %failure, "connections without an organization could not be looked up");
                continue;
            }
        };
        for app in apps {
            match find_organization(&store, &engine, &dialpad, app).await {
                Ok(Some(organization)) => {
                    info!(app.id = %app, organization, "the app's organization was found")
                }
                Ok(None) => debug!(app.id = %app, "Dialpad names no organization for the app's token"),
                Err(error) => warn!(app.id = %app, %error, "Dialpad did not say whose token the app's is"),
            }
        }
    }
}

#[derive(Debug, Error)]
enum NotFound {
    #[error(transparent)]
    Access(#[from] NoAccess),
    #[error(transparent)]
    Dialpad(#[from] DialpadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

async fn find_organization(
    store: &Store,
    engine: &Arc<Engine>,
    dialpad: &Dialpad,
    app: AppId,
) -> Result<Option<i64>, NotFound> {
    let access = dialpad.access.of(app).await?;
    let Some(organization) = dialpad.client.organization_of(&access.token).await? else { return Ok(None) };
    if store.connections().set_organization(app, access.generation, organization).await? {
        for app in store.journal().route_unrouted(organization).await? {
            engine.notify(app);
        }
    }
    Ok(Some(organization))
}
