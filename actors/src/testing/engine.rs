//! An engine over ports in memory that fails its test when the test leaves something behind.

use std::{ops::Deref, sync::Arc, thread, time::Duration};

use tokio::time::{sleep, timeout};

use super::{ManualClock, MemoryConnections, MemoryStore};
use crate::{Engine, Owned, Tuning, state::SupervisorState};

/// How long anything that should happen may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The interval of what a test never waits for.
const NEVER: Duration = Duration::from_secs(3600);

/// A running engine. Its sweep and its check of due tokens run only when a test calls them. Every test ends it with
/// [`finish`](Self::finish); dropping it without fails the test.
pub struct TestEngine {
    /// The store that the engine works on.
    pub store: Arc<MemoryStore>,
    /// The engine's clock.
    pub clock: Arc<ManualClock>,
    /// The connections whose tokens the engine renews.
    pub connections: Arc<MemoryConnections>,
    engine: Arc<Engine>,
    is_finished: bool,
}

impl TestEngine {
    /// Starts an engine on an empty store. Must be called within an actix system.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Owned::AllApps)
    }

    /// Starts an engine that works on these apps. Must be called within an actix system.
    #[must_use]
    pub fn start_with(owned: Owned) -> Self {
        let (store, clock, mut ports) = MemoryStore::ports();
        let connections = MemoryConnections::new(Arc::clone(&store), Arc::clone(&clock));
        ports.connections = connections.clone();
        let tuning = Tuning {
            owned,
            sweep_interval: NEVER,
            token_check_interval: NEVER,
            settle_check_interval: NEVER,
            ..Tuning::default()
        };
        let engine = Engine::start(ports, tuning);
        Self { store, clock, connections, engine, is_finished: false }
    }

    /// Returns the engine, for tasks of the test.
    #[must_use]
    pub fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }

    /// Waits until nothing is pending and nothing is in progress.
    ///
    /// # Panics
    /// That takes too long.
    pub async fn settled(&self) {
        eventually("nothing is pending", || self.store.pending_count() == 0 && self.engine.state().is_idle())
            .await;
    }

    /// Ends the engine and its test.
    ///
    /// # Panics
    /// A session or a consumer is left, a webhook stays pending, or the engine does not stop.
    pub async fn finish(self) {
        self.settled().await;
        eventually("no session and no consumer is left", || {
            let state = self.engine.state();
            state.sessions == 0 && state.consumers == 0
        })
        .await;
        self.finish_with_pending_webhooks().await;
    }

    /// Does the same for a test that leaves webhooks pending in the journal on purpose.
    ///
    /// # Panics
    /// An actor is left, or the engine does not stop.
    pub async fn finish_with_pending_webhooks(mut self) {
        self.is_finished = true;
        timeout(TIMEOUT, self.engine.drain()).await.expect("the engine completes its work in time");
        timeout(TIMEOUT, self.engine.stop()).await.expect("the engine stops in time");
        let state = self.engine.state();
        let has_actors = |app: &SupervisorState| app.batch_in_progress || app.live_calls > 0;
        let has_renewals = state.token_refresher.renewals_in_progress > 0;
        assert!(!state.apps.iter().any(has_actors) && !has_renewals, "something still runs: {state:#?}");
    }
}

impl Deref for TestEngine {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        assert!(self.is_finished || thread::panicking(), "a test ends its engine with `finish`");
    }
}

/// Waits until a condition holds.
///
/// # Panics
/// That takes too long.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(TIMEOUT, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}
