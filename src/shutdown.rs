//! The planned stop, in numbered steps under one time limit. What the limit cuts off is still in the journal, and is
//! processed after the next start.

use std::{io, time::Duration};

use cti_actors::session::CloseCode;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tracing::{info, warn};

use crate::{recovery::traffic, startup::Application};

/// For all steps together. Kubernetes kills a process after 30 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection that was accepted last has to send its request. actix answers `pause` before its accept thread has
/// paused, and `stop` resets every connection whose request it has not read.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_millis(250);
/// How long the sessions have to take their close message.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the last spans may take. Nobody who waits for the stop needs them.
const TRACES_TIMEOUT: Duration = Duration::from_secs(2);
const CLOSE_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The signals that stop the server. Since this exists, they end the process only through it.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// # Errors
    /// The signals can't be received.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them, also one that came before, and returns its name.
    pub(crate) async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

impl Application {
    /// Runs until SIGTERM or SIGINT arrives or the HTTP server ends by itself, and then stops.
    ///
    /// # Errors
    /// The HTTP server failed.
    pub async fn run_until_stopped(mut self) -> io::Result<()> {
        let signal = tokio::select! {
            signal = self.stop_signals.recv() => signal,
            ended = &mut self.running => {
                self.stop().await;
                return ended.map_err(io::Error::other)?;
            }
        };
        info!(signal, "stopping");
        self.stop().await;
        Ok(())
    }

    /// Stops in order.
    pub async fn stop(self) {
        let deadline = Instant::now() + STOP_TIMEOUT;

        // 1. Accept no more connections.
        self.server.pause().await;
        let requests_read_at = Instant::now() + FIRST_REQUEST_TIMEOUT;

        // 2. Tell the sessions to reconnect, and let their clients take that.
        self.engine.close_sessions(CloseCode::GoingAway, "the server is going away");
        let close_deadline = Instant::now() + CLOSE_TIMEOUT;
        while self.engine.session_count() > 0 && Instant::now() < close_deadline {
            sleep(CLOSE_POLL_INTERVAL).await;
        }

        // 3. Write the cursors of named consumers, and release the consumers for other processes.
        self.flush_cursors(deadline).await;

        // 4. Hand the apps over: other processes work on them from now on.
        if timeout_at(deadline, self.cluster.leave()).await.is_err() {
            warn!("some apps were not handed over in time; their leases end by themselves");
        }

        // 5. Let the batches in progress become durable, begin no others, and end the engine's background tasks.
        if timeout_at(deadline, self.engine.drain()).await.is_err() {
            warn!("some apps did not finish their batch in time; the journal has it");
        }

        // 6. Let the requests in progress be answered. Webhooks among them become durable.
        sleep_until(requests_read_at).await;
        if timeout_at(deadline, self.server.stop(true)).await.is_err() {
            warn!("some requests were not answered in time");
        }

        // 7. Cancel the background jobs, and wait for them.
        if timeout_at(deadline, self.tasks.stop()).await.is_err() {
            warn!("some background jobs did not end in time");
        }

        // 8. Close the database when its writes are done. Connections that only ended now may have moved cursors.
        self.flush_cursors(deadline).await;
        if !matches!(timeout_at(deadline, traffic::flush(&self.recovery)).await, Ok(Ok(()))) {
            warn!("the webhooks of the last minute were not counted");
        }
        drop(timeout_at(deadline, self.cluster.remove()).await);
        if timeout_at(deadline, self.store.close()).await.is_err() {
            warn!("the database was not closed in time");
        }

        // 9. Stop the actors' threads.
        if timeout_at(deadline, self.engine.stop()).await.is_err() {
            warn!("some actors did not stop in time");
        }

        // 10. Send the last spans, which have ended with all that.
        if let Some(traces) = self.traces
            && traces.stop(deadline.min(Instant::now() + TRACES_TIMEOUT)).await.is_err()
        {
            warn!("the last spans of traces were not sent in time");
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
