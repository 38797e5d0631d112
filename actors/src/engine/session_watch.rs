//! Looks after the open sessions from outside, once in a while: whether their keys still open anything, whether they
//! take what they are given, and what other processes have told. Each is one question to the store, whatever the
//! number of sessions.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

use tracing::warn;

use crate::session::{CloseCode, Sessions};
use crate::{
    engine::Engine,
    error::StoreError,
    feed::Feed,
    id::{AppId, KeyId},
};

/// The apps that somebody listens to.
pub(crate) type Listened = HashMap<AppId, (Arc<Sessions>, Arc<Feed>)>;

/// Watches until the engine is gone.
pub(crate) async fn watch(engine: Weak<Engine>, every: Duration, stuck_session_timeout: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut away = false;
    loop {
        ticks.tick().await;
        let Some(engine) = engine.upgrade() else { return };
        let listened = engine.listened();
        for (sessions, _) in listened.values() {
            sessions.close_stuck(stuck_session_timeout);
        }
        let looked = look(&engine, &listened).await;
        if let (false, Err(failure)) = (away, &looked) {
            warn!(error = %failure, "whether sessions may go on can't be looked up");
        }
        away = looked.is_err();
    }
}

async fn look(engine: &Engine, listened: &Listened) -> Result<(), StoreError> {
    if listened.is_empty() {
        return Ok(());
    }
    let keys: BTreeSet<KeyId> = listened.values().flat_map(|(sessions, _)| sessions.keys()).collect();
    let keys: Vec<KeyId> = keys.into_iter().collect();
    let valid: HashSet<KeyId> = engine.ports().gate.still_valid(&keys).await?.into_iter().collect();
    for key in keys.into_iter().filter(|key| !valid.contains(key)) {
        for (sessions, _) in listened.values() {
            sessions.close_of_key(
                key,
                CloseCode::Forbidden,
                "the API key has ended, or the app is switched off",
            );
        }
    }
    let apps: Vec<AppId> = listened.keys().copied().collect();
    for (app, head) in engine.ports().log.heads(&apps).await? {
        if let Some((_, feed)) = listened.get(&app) {
            feed.advance(head);
        }
    }
    engine.evict_lost_consumers().await
}
