//! The leg of a queue names the leg of the operator who took the call, and Dialpad does not always send webhooks for
//! that one. It is then requested, so that the interaction can name who answered.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::MissingLeg;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tracing::debug;

use crate::{
    dialpad::{
        api::Dialpad,
        client::{DialpadError, request::Urgency},
    },
    store::{Store, views::calls::CallRef},
    webhook::payload::Finding,
};

/// How long the leg's own webhooks are waited for before the leg is requested.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ATTEMPTS: u32 = 3;
/// The pause between attempts, unless Dialpad names a longer one.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// How many legs are requested at a time; the others wait.
const MAX_CONCURRENT: usize = 32;
/// How long a leg is not requested again.
const REMEMBERED_FOR: TimeDelta = TimeDelta::minutes(10);

/// Requests the missing legs that the engine reports, until the engine ends.
pub(crate) async fn run(dialpad: &Dialpad, store: &Store, missing_legs: &mut mpsc::Receiver<MissingLeg>) {
    let mut requested: HashMap<MissingLeg, DateTime<Utc>> = HashMap::new();
    let mut in_progress = JoinSet::new();
    while let Some(leg) = missing_legs.recv().await {
        let now = store.now();
        requested.retain(|_, at| now - *at < REMEMBERED_FOR);
        if requested.insert(leg, now).is_some() {
            continue;
        }
        while in_progress.len() >= MAX_CONCURRENT {
            in_progress.join_next().await;
        }
        let dialpad = dialpad.clone();
        let store = store.clone();
        in_progress.spawn(async move { request_leg(&dialpad, &store, leg).await });
        while in_progress.try_join_next().is_some() {}
    }
}

async fn request_leg(dialpad: &Dialpad, store: &Store, leg: MissingLeg) {
    sleep(WEBHOOK_TIMEOUT).await;
    for _ in 0..MAX_ATTEMPTS {
        let known = store.calls().find(leg.app_id, CallRef::Dialpads(leg.call)).await;
        if !matches!(known, Ok(None)) {
            return;
        }
        let pause = match dialpad.call(leg.app_id, leg.call, Urgency::Background).await {
            Ok(Some(call)) => {
                match store.journal().append_finding(leg.app_id, &Finding::Observed(call)).await {
                    Ok(_) => return,
                    Err(_) => RETRY_INTERVAL,
                }
            }
            Ok(None) => return,
            Err(DialpadError::RateLimited { retry_after } | DialpadError::CircuitOpen { retry_after }) => {
                retry_after.max(RETRY_INTERVAL)
            }
            Err(DialpadError::Unreachable(_)) => RETRY_INTERVAL,
            Err(error) => {
                debug!(app.id = %leg.app_id, call.id = %leg.call, %error, "an operator's leg could not be requested");
                return;
            }
        };
        sleep(pause).await;
    }
}
