//! Who took a call from a queue: the queue's leg names the operator's leg, and Dialpad does not always tell of that one.
//! It is asked for then, so that the interaction can say who answered.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::MissingLeg;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tracing::debug;

use crate::store::{Store, views::calls::CallName};
use crate::{
    dialpad::{
        api::Dialpad,
        client::{DialpadError, request::Urgency},
    },
    webhook::payload::Finding,
};

/// How long the leg's own webhooks have to come before it is asked for: Dialpad repeats them for about 14 s.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked for.
const TRIES: u32 = 3;
/// How long to wait before the next try, where Dialpad does not say.
const RETRY: Duration = Duration::from_secs(30);
/// How many legs are asked for at a time; the others wait.
const AT_A_TIME: usize = 32;
/// For how long a leg that was asked for is not asked for again.
const REMEMBERED: TimeDelta = TimeDelta::minutes(10);

/// Asks for missing_legs legs as they come up, for as long as the engine runs.
pub async fn ask_for_unheard(dialpad: Dialpad, store: Store, mut missing_legs: mpsc::Receiver<MissingLeg>) {
    let mut asked: HashMap<MissingLeg, DateTime<Utc>> = HashMap::new();
    let mut under_way = JoinSet::new();
    while let Some(leg) = missing_legs.recv().await {
        let now = store.now();
        asked.retain(|_, at| now - *at < REMEMBERED);
        if asked.insert(leg, now).is_some() {
            continue;
        }
        while under_way.len() >= AT_A_TIME {
            under_way.join_next().await;
        }
        let (dialpad, store) = (dialpad.clone(), store.clone());
        under_way.spawn(async move { ask_for(&dialpad, &store, leg).await });
        while under_way.try_join_next().is_some() {}
    }
}

async fn ask_for(dialpad: &Dialpad, store: &Store, leg: MissingLeg) {
    sleep(PATIENCE).await;
    for _ in 0..TRIES {
        let known = store.calls().find(leg.app_id, CallName::Dialpads(leg.call)).await;
        if !matches!(known, Ok(None)) {
            return;
        }
        let pause = match dialpad.call(leg.app_id, leg.call, Urgency::Background).await {
            Ok(Some(call)) => {
                match store.journal().append_finding(leg.app_id, &Finding::Observed(call)).await {
                    Ok(_) => return,
                    Err(_) => RETRY,
                }
            }
            Ok(None) => return,
            Err(DialpadError::RateLimited { retry_after } | DialpadError::CircuitOpen { retry_after }) => {
                retry_after.max(RETRY)
            }
            Err(DialpadError::Unreachable(_)) => RETRY,
            Err(error) => {
                debug!(app.id = %leg.app_id, call.id = %leg.call, %error, "an operator's leg could not be asked for");
                return;
            }
        };
        sleep(pause).await;
    }
}
