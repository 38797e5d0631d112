//! Listens to what other processes announce, on a connection of its own that is opened again whenever it is lost.

use std::time::Duration;

use cti_actors::error::StoreError;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{Bus, message::Message, metrics};
use crate::{
    backoff::Backoff,
    database_url::DatabaseUrl,
    store::notifications::{Heard, Listener},
};

/// How often it is asked whether other processes listen. The question also shows whether the connection is still alive.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
const RECONNECT_BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(5), jitter: 0.5 };

/// Listens until the task is cancelled.
pub(super) async fn run(bus: &Bus, url: &DatabaseUrl) {
    let mut failures = 0_u32;
    loop {
        let ended = match Listener::open(url, &bus.process.to_string()).await {
            Ok(listener) => {
                failures = 0;
                info!("this process hears what others on the database announce");
                metrics::set_connected(true);
                let ended = listen(bus, listener).await;
                metrics::set_connected(false);
                ended
            }
            Err(error) => error,
        };
        failures = failures.saturating_add(1);
        if failures == 1 {
            warn!(error = %ended, "other processes are not heard: until they are, each second is a poll");
        }
        sleep(RECONNECT_BACKOFF.pause(failures, rand::random())).await;
    }
}

/// Listens until the connection is lost, and returns why.
async fn listen(bus: &Bus, mut listener: Listener) -> StoreError {
    // What was sent while nobody listened here is lost.
    look_for_all(bus).await;
    let mut check_at = Instant::now();
    loop {
        if Instant::now() >= check_at {
            match listener.has_others().await {
                Ok(has_others) => bus.set_others(has_others),
                Err(error) => return error,
            }
            check_at = Instant::now() + CHECK_INTERVAL;
        }
        match listener.next(check_at.saturating_duration_since(Instant::now())).await {
            Heard::Payload(payload) => take(bus, &Message::parse(&payload)).await,
            Heard::Nothing => {}
            Heard::Lost => return StoreError::Unavailable("the connection was lost".into()),
        }
    }
}

async fn take(bus: &Bus, message: &Message) {
    if message.from == bus.process {
        return;
    }
    metrics::count_received();
    if message.poll {
        look_for_all(bus).await;
        return;
    }
    // Clocks of hosts differ a little.
    metrics::record_lag((bus.clock.now() - message.at).as_seconds_f64().max(0.0));
    if !message.access.is_empty() {
        bus.store.forget_access();
        bus.engine.check_sessions();
    }
    for app in &message.rewritten {
        bus.engine.on_rewritten(*app).await;
    }
    message.pending.iter().for_each(|app| bus.engine.on_pending(*app));
    message.consumers.iter().for_each(|app| bus.engine.on_consumers(*app));
    message.heads.iter().for_each(|(app, newest)| bus.engine.on_head(*app, *newest));
}

/// Does what every announcement together would cause.
async fn look_for_all(bus: &Bus) {
    bus.store.forget_access();
    if let Err(error) = bus.engine.poll_now().await {
        warn!(%error, "what other processes may have announced is found by the next poll");
    }
}

/// Asks again and again whether other processes listen, for a process that can't listen itself.
pub(super) async fn poll_others(bus: &Bus) {
    loop {
        if let Ok(has_others) = bus.store.notifications().has_listeners().await {
            bus.set_others(has_others);
        }
        sleep(CHECK_INTERVAL).await;
    }
}
