//! Works gaps off: page by page of Dialpad's list, in the background of its limits, so that a restart goes on where it
//! was and many apps take turns.

use std::time::Duration;

use chrono::TimeDelta;
use cti_actors::{error::StoreError, id::DialpadCallId};
use metrics::counter;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::{
    Repairs,
    gap::{self, Next, Window},
    length,
};
use crate::{
    dialpad::client::DialpadError,
    store::{
        dialpad::gaps::{GapReason, Repair},
        journal::append::Appended,
    },
    webhook::payload::{Conclusion, Finding},
};

/// How often to look for a gap that can be worked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A turn that takes longer has died with its process: no question to Dialpad is waited for that long.
const TURN: TimeDelta = TimeDelta::minutes(5);
/// Who has not been told of a call for so long will not miss it.
const TOO_OLD: TimeDelta = TimeDelta::days(7);
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Why a turn did not come to its end.
#[derive(Debug, Error)]
enum Interrupted {
    #[error(transparent)]
    Dialpad(#[from] DialpadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(crate) async fn run(repairs: Repairs) {
    let mut forget_at = Instant::now();
    loop {
        if Instant::now() >= forget_at {
            forget_at += FORGET_EVERY;
            if let Err(failure) = forget_old(&repairs).await {
                debug!(error = %failure, "old gaps can't be forgotten");
            }
        }
        match take_turn(&repairs).await {
            Ok(true) => {}
            Ok(false) => sleep(LOOK_EVERY).await,
            Err(failure) => {
                debug!(error = %failure, "gaps can't be worked off");
                sleep(LOOK_EVERY).await;
            }
        }
    }
}

async fn forget_old(repairs: &Repairs) -> Result<(), StoreError> {
    for lost in repairs.store.gaps().drop_older_than(repairs.clock.now() - TOO_OLD).await? {
        if lost.given_up.is_none() {
            warn!(app.id = %lost.app, since = %lost.since, until = %lost.until, "a gap is too old to be repaired");
        }
    }
    Ok(())
}

/// Works at one gap, if there is one. Says whether there was.
async fn take_turn(repairs: &Repairs) -> Result<bool, StoreError> {
    let (store, now) = (&repairs.store, repairs.clock.now());
    let Some(repair) = store.gaps().claim(now - repairs.retries(), now + TURN).await? else {
        return Ok(false);
    };
    match work_at(repairs, &repair).await {
        Ok(()) => {}
        Err(Interrupted::Store(failure)) => return Err(failure),
        Err(Interrupted::Dialpad(error)) => put_off(repairs, &repair, &error).await?,
    }
    Ok(true)
}

/// One page: what had been missed is reported before the page counts as done.
async fn work_at(repairs: &Repairs, repair: &Repair) -> Result<(), Interrupted> {
    let (store, app) = (&repairs.store, repair.app);
    let since = repair.since - repairs.retries();
    let list_from = match repair.list_from {
        Some(list_from) => list_from,
        None => {
            let longest = length(repairs.settings.calls_live_at_most);
            gap::list_from(since, store.calls().oldest_live(app).await?, longest)
        }
    };
    let until = repair.until + repairs.retries();
    let page = repairs.dialpad.concluded_calls(app, list_from, until, repair.cursor.as_deref()).await?;
    let now = repairs.clock.now();
    let calls: Vec<(Conclusion, Map<String, Value>)> =
        page.calls.into_iter().filter_map(|call| Some((Conclusion::of(&call)?, call))).collect();
    let ids: Vec<DialpadCallId> = calls.iter().map(|(end, _)| end.call).collect();
    let known = store.calls().known(app, &ids).await?;
    let mut repaired = 0;
    let window = Window::new(since, repair.connected_at, now, repairs.retries());
    let news = gap::news(&calls, window, &known);
    for missed in news.missed {
        let reported = store.journal().append_finding(app, &Finding::Concluded(missed.call.clone())).await?;
        if missed.end_was_missed && matches!(reported, Appended::New(_)) {
            repaired += 1;
        }
    }
    if repaired > 0 {
        counter!("cti_calls_repaired_total").increment(repaired);
        info!(app.id = %app, reason = repair.reason.as_str(), calls = repaired, "calls that had been missed are told");
        if repair.reason == GapReason::Silence {
            warn!(app.id = %app, "Dialpad has calls and sends no webhooks of them");
            repairs.silence.note_missed(app, now);
        }
    }
    if news.more_to_come {
        // A gap of its own: one that touches this one would make it begin anew.
        store.gaps().record(app, repair.until + TimeDelta::milliseconds(1), now, repair.reason).await?;
    }
    match page.cursor {
        Some(cursor) => store.gaps().advance(repair, &cursor, list_from).await?,
        None => store.gaps().finish(repair).await?,
    }
    Ok(())
}

async fn put_off(repairs: &Repairs, repair: &Repair, error: &DialpadError) -> Result<(), StoreError> {
    let (store, app) = (&repairs.store, repair.app);
    match gap::after_failure(error, repair.failures, repair.cursor.is_some()) {
        Next::Later { pause, is_failure, from_the_beginning } => {
            info!(app.id = %app, %error, pause_s = pause.as_secs(), "a gap can't be repaired yet");
            if from_the_beginning {
                store.gaps().restart(repair).await?;
            }
            store.gaps().postpone(repair, repairs.clock.now() + length(pause), is_failure).await
        }
        Next::Drop => store.gaps().finish(repair).await,
        Next::GiveUp(reason) => {
            counter!("cti_gaps_given_up_total").increment(1);
            warn!(
                app.id = %app, since = %repair.since, until = %repair.until, reason,
                "calls of this time that had been missed can't be had"
            );
            store.gaps().give_up(repair, &reason).await
        }
    }
}
