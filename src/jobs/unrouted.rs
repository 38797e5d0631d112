//! Webhooks that wait for their app to be activated: they are released in their order when it is.
//!
//! They become pending before the app is active, so that no newer webhook is processed before them. A request that
//! read the app's state just before may still store one that waits for an activation in the past. Such webhooks are
//! released a moment later, and periodically; so are those that wait for an organization which has an app by now.

use std::{sync::Arc, time::Duration};

use cti_actors::{Engine, error::StoreError, id::AppId};
use tokio::time::sleep;
use tracing::{info, warn};

use super::periodic::{every, periodic_once};
use crate::{store::Store, tasks::Tasks};

/// Longer than any process uses what it knew of an app before the activation.
const LATE_WEBHOOKS_DELAY: Duration = Duration::from_secs(2);

/// Activates an app and releases the webhooks that waited for that.
///
/// # Errors
/// The database can't be reached; a second call continues.
pub async fn activate_app(
    store: &Store,
    engine: &Arc<Engine>,
    tasks: &Tasks,
    app: AppId,
) -> Result<(), StoreError> {
    store.apps().activate(app).await?;
    info!(app.id = %app, "an app was activated");
    engine.notify(app);
    let (store, engine) = (store.clone(), Arc::clone(engine));
    tasks.spawn(async move {
        sleep(LATE_WEBHOOKS_DELAY).await;
        release_unrouted(&store, &engine, app).await;
    });
    Ok(())
}

/// Releases the webhooks that wait for an app, if the app is active.
pub async fn release_unrouted(store: &Store, engine: &Engine, app: AppId) {
    match store.apps().release_unrouted(app).await {
        Ok(true) => engine.notify(app),
        Ok(false) => {}
        Err(error) => {
            warn!(app.id = %app, %error, "webhooks that wait for their app could not be released yet")
        }
    }
}

/// Releases the webhooks of an app that was activated while they were written: the activation did not see them.
pub(crate) async fn release_if_active(store: &Store, engine: &Engine, app: AppId) {
    if let Ok(Some(route)) = store.routes().of_app(app).await
        && route.is_active
    {
        release_unrouted(store, engine, app).await;
    }
}

pub(super) async fn run(store: Store, engine: Arc<Engine>, interval: Duration) {
    let state = (store.clone(), engine);
    let ticks = every(interval);
    periodic_once(store, "route unrouted webhooks", ticks, state, |(store, engine)| {
        Box::pin(route_all(store, engine))
    })
    .await;
}

async fn route_all(store: &Store, engine: &Engine) -> Result<(), StoreError> {
    for app in store.apps().active_with_unrouted().await? {
        release_unrouted(store, engine, app).await;
    }
    for organization in store.journal().organizations_with_unrouted().await? {
        route_organization(store, engine, organization).await?;
    }
    Ok(())
}

/// Routes the webhooks that wait for an organization, and notifies the apps that get them.
pub(super) async fn route_organization(
    store: &Store,
    engine: &Engine,
    organization: i64,
) -> Result<(), StoreError> {
    for app in store.journal().route_unrouted(organization).await? {
        engine.notify(app);
    }
    Ok(())
}
