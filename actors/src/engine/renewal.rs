//! One renewal of one pair of tokens, from its begin to its outcome.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};

use crate::{
    error::StoreError,
    model::token::{Outcome, TokenPair, schedule::MIN_ATTEMPT_INTERVAL},
    ports::{Ports, Renewal},
    state::LiveGuard,
};

/// How often the outcome of a renewal by another process is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long a renewal that is due waits at least.
const MIN_DELAY: Duration = Duration::from_millis(10);

/// A renewal under way; all who want it wait for the same one.
pub(super) type Flight = Shared<BoxFuture<'static, Result<Renewal, StoreError>>>;

/// Returns a renewal that begins when it is first polled, and is counted until its outcome is known.
pub(super) fn start(ports: Ports, pair: TokenPair, counted: LiveGuard) -> Flight {
    let renewal = async move {
        let outcome = renew(ports, pair).await;
        drop(counted);
        outcome
    };
    renewal.boxed().shared()
}

/// Renews a pair, or waits until the process that renews it has finished.
async fn renew(ports: Ports, pair: TokenPair) -> Result<Renewal, StoreError> {
    loop {
        let renewal = ports.connections.renew(pair).await?;
        match renewal.outcome {
            // Its lease ends, and then it is taken over: this ends.
            Outcome::UnderWay => tokio::time::sleep(POLL_INTERVAL).await,
            Outcome::TooSoon { until, .. } if until - ports.clock.now() <= MIN_ATTEMPT_INTERVAL => {
                tokio::time::sleep(delay_until(until, ports.clock.now())).await;
            }
            _ => return Ok(renewal),
        }
    }
}

/// Returns how long to wait for a time that may have passed.
pub(super) fn delay_until(until: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (until - now).to_std().unwrap_or_default().max(MIN_DELAY)
}
