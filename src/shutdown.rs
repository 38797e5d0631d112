//! The planned stop, in numbered steps under one time limit. Whatever the limit cuts off is still in the journal
//! and is taken up by the next start.

use std::time::Duration;

use cti_actors::session::CloseCode;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, timeout_at},
};
use tracing::{info, warn};

use crate::startup::Application;

/// How long all steps together may take. Kubernetes gives 30 s.
const LIMIT: Duration = Duration::from_secs(20);
/// How long sessions have to take their last words.
const FAREWELL: Duration = Duration::from_secs(3);

impl Application {
    /// Runs until SIGTERM or SIGINT comes or the server ends by itself, and then stops.
    ///
    /// # Errors
    /// The signals can't be listened for, or the server failed.
    pub async fn run_until_stopped(mut self) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let why = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            ended = &mut self.running => {
                self.stop().await;
                return ended.map_err(std::io::Error::other)?;
            }
        };
        info!(why, "stopping");
        self.stop().await;
        Ok(())
    }

    /// Stops in order.
    pub async fn stop(self) {
        let deadline = Instant::now() + LIMIT;

        // 1. Accept no more connections.
        self.server.pause().await;

        // 2. Tell the sessions to come back elsewhere, and let them take it.
        self.engine.close_sessions(CloseCode::GoingAway, "the server is going away");
        let farewell = Instant::now() + FAREWELL;
        while self.engine.session_count() > 0 && Instant::now() < farewell {
            sleep(Duration::from_millis(10)).await;
        }

        // 3. Write the cursors of named consumers, and release the consumers for other processes.
        self.flush_cursors(deadline).await;

        // 4. Let the batches under way become durable, begin no others, and end the engine's background tasks.
        if timeout_at(deadline, self.engine.drain()).await.is_err() {
            warn!("some apps did not finish their batch in time; the journal has it");
        }

        // 5. Let the requests under way be answered: webhooks among them still become durable.
        if timeout_at(deadline, self.server.stop(true)).await.is_err() {
            warn!("some requests were not answered in time");
        }

        // 6. Close the database, which waits for its writes. Connections that only ended now may have moved cursors.
        self.flush_cursors(deadline).await;
        self.upkeep.iter().for_each(tokio::task::JoinHandle::abort);
        if timeout_at(deadline, self.store.close()).await.is_err() {
            warn!("the database was not closed in time");
        }

        // 7. Stop the actors' threads.
        if timeout_at(deadline, self.engine.stop()).await.is_err() {
            warn!("some actors did not stop in time");
        }
        info!("stopped");
    }

    async fn flush_cursors(&self, deadline: Instant) {
        if !matches!(timeout_at(deadline, self.engine.flush_cursors()).await, Ok(Ok(()))) {
            warn!(
                "the cursors of named consumers were not written; acknowledged events may be delivered again"
            );
        }
    }
}
