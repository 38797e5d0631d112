//! Webhooks that wait for their app to be switched on: released in their order when it is. And those that wait in vain,
//! for their app or for one of their organisation.
//!
//! What waits becomes pending before the app is on, so that nothing newer comes before it. Whoever looked the app up
//! just before may still leave a webhook that waits for what has happened already; such ones are looked for a moment
//! later, and then every now and then.

use std::{sync::Arc, time::Duration};

use cti_actors::{Engine, error::StoreError, id::AppId};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use crate::store::Store;

/// What was known of an app before it was switched on is not believed for so long, by any process.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// Switches an app on, and lets what waited for that go.
///
/// # Errors
/// The database could not be asked; asking again goes on.
pub async fn switch_on(store: &Store, engine: &Arc<Engine>, app: AppId) -> Result<(), StoreError> {
    store.apps().activate(app).await?;
    info!(app.id = %app, "an app was switched on");
    engine.notify(app);
    let (store, engine) = (store.clone(), Arc::clone(engine));
    tokio::spawn(async move {
        sleep(STRAGGLERS).await;
        release(&store, &engine, app).await;
    });
    Ok(())
}

/// Looks every now and then for what waits in vain, as long as the server runs.
pub async fn run(store: Store, engine: Arc<Engine>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match store.apps().active_with_unrouted().await {
            Ok(apps) => {
                for app in apps {
                    release(&store, &engine, app).await;
                }
            }
            Err(failure) => warn!(error = %failure, "webhooks that wait in vain can't be looked for"),
        }
        if let Err(failure) = take_up_forgotten(&store, &engine).await {
            warn!(error = %failure, "webhooks that wait in vain for an organization wait a little longer");
        }
    }
}

async fn take_up_forgotten(store: &Store, engine: &Engine) -> Result<(), StoreError> {
    for organization in store.journal().organizations_with_unrouted().await? {
        for app in store.journal().route_unrouted(organization).await? {
            engine.notify(app);
        }
    }
    Ok(())
}

/// Lets go what waits for an app that is switched on.
pub async fn release(store: &Store, engine: &Engine, app: AppId) {
    match store.apps().release_unrouted(app).await {
        Ok(true) => engine.notify(app),
        Ok(false) => {}
        Err(failure) => {
            warn!(app.id = %app, error = %failure, "webhooks that waited for their app wait a little longer")
        }
    }
}
