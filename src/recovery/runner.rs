//! Recovers gaps, one page of Dialpad's list at a time, as background requests. A restart continues with the page that
//! was in progress, and the gaps of many apps take turns.

use std::time::Duration;

use chrono::TimeDelta;
use cti_actors::{error::StoreError, id::DialpadCallId};
use metrics::counter;
use serde_json::{Map, Value};
use thiserror::Error;
use tracing::{info, warn};

use super::{
    Recovery,
    gap::{self, NextStep, Window},
    time_delta,
};
use crate::{
    dialpad::client::DialpadError,
    store::{
        dialpad::gaps::{ClaimedGap, GapReason},
        journal::append::Appended,
    },
    webhook::payload::{Conclusion, Finding},
};

pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
pub(crate) const DROP_INTERVAL: Duration = Duration::from_secs(600);
/// How long a page is claimed. Longer than any request to Dialpad is waited for, so that an older claim belongs to a
/// process that has ended.
const PAGE_LEASE: TimeDelta = TimeDelta::minutes(5);
/// How long a gap is worth recovering.
const MAX_AGE: TimeDelta = TimeDelta::days(7);

/// Why a page was not recovered.
#[derive(Debug, Error)]
enum PageError {
    #[error(transparent)]
    Dialpad(#[from] DialpadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Drops the gaps that are too old.
pub(crate) async fn drop_old_gaps(recovery: &Recovery) -> Result<(), StoreError> {
    if !recovery.clock.is_steady() {
        return Ok(());
    }
    for lost in recovery.store.gaps().drop_older_than(recovery.clock.now() - MAX_AGE).await? {
        if lost.given_up.is_none() {
            warn!(app.id = %lost.app, since = %lost.since, until = %lost.until, "a gap is too old to be recovered");
        }
    }
    Ok(())
}

/// Recovers page after page until no gap is due.
pub(crate) async fn recover_gaps(recovery: &Recovery) -> Result<(), StoreError> {
    while recover_next_page(recovery).await? {}
    Ok(())
}

/// Recovers a page of the gap that waited the longest. Returns whether a gap was due.
async fn recover_next_page(recovery: &Recovery) -> Result<bool, StoreError> {
    let now = recovery.clock.now();
    let due = recovery.store.gaps().claim(now - recovery.retry_period(), now + PAGE_LEASE).await?;
    let Some(gap) = due else { return Ok(false) };
    match recover_page(recovery, &gap).await {
        Ok(()) => {}
        Err(PageError::Store(error)) => return Err(error),
        Err(PageError::Dialpad(error)) => handle_failure(recovery, &gap, &error).await?,
    }
    Ok(true)
}

/// Reports the missed calls of one page, and then stores that the page is done.
async fn recover_page(recovery: &Recovery, gap: &ClaimedGap) -> Result<(), PageError> {
    let store = &recovery.store;
    let since = gap.since - recovery.retry_period();
    let list_from = match gap.list_from {
        Some(list_from) => list_from,
        None => {
            let max_call_length = time_delta(recovery.settings.calls_live_at_most);
            gap::list_from(since, store.calls().oldest_live(gap.app).await?, max_call_length)
        }
    };
    let until = gap.until + recovery.retry_period() + gap::CLOCK_TOLERANCE;
    let page = recovery.dialpad.concluded_calls(gap.app, list_from, until, gap.cursor.as_deref()).await?;
    let now = recovery.clock.now();
    let calls: Vec<(Conclusion, Map<String, Value>)> =
        page.calls.into_iter().filter_map(|call| Some((Conclusion::of(&call)?, call))).collect();
    let ids: Vec<DialpadCallId> = calls.iter().map(|(end, _)| end.call).collect();
    let known = store.calls().known(gap.app, &ids).await?;
    let window = Window::new(since, gap.connected_at, now, recovery.retry_period());
    let missed = gap::missed_calls(&calls, window, &known);

    let mut recovered = 0;
    for missed in missed.calls {
        let finding = Finding::Concluded(missed.call.clone());
        let appended = store.journal().append_finding(gap.app, &finding).await?;
        if missed.end_was_missed && matches!(appended, Appended::New(_)) {
            recovered += 1;
        }
    }
    if recovered > 0 {
        counter!("cti_calls_repaired_total").increment(recovered);
        info!(app.id = %gap.app, reason = gap.reason.as_str(), calls = recovered, "missed calls were recovered");
        if gap.reason == GapReason::Silence {
            warn!(app.id = %gap.app, "Dialpad has calls but sends no webhooks for them");
            recovery.silence.note_missed(gap.app, now);
        }
    }
    if missed.has_recent {
        // A gap of its own: if it touched this one, this one would start again.
        store.gaps().record(gap.app, gap.until + TimeDelta::milliseconds(1), now, gap.reason).await?;
    }
    match page.cursor {
        Some(cursor) => store.gaps().advance(gap, &cursor, list_from).await?,
        None => store.gaps().finish(gap).await?,
    }
    Ok(())
}

async fn handle_failure(
    recovery: &Recovery,
    gap: &ClaimedGap,
    error: &DialpadError,
) -> Result<(), StoreError> {
    let gaps = recovery.store.gaps();
    match gap::after_failure(error, gap.failures, gap.cursor.is_some()) {
        NextStep::RetryLater { pause, is_failure, from_the_beginning } => {
            info!(app.id = %gap.app, %error, pause_s = pause.as_secs(), "a gap can't be recovered yet");
            if from_the_beginning {
                gaps.restart(gap).await?;
            }
            gaps.postpone(gap, recovery.clock.now() + time_delta(pause), is_failure).await
        }
        NextStep::Drop => gaps.finish(gap).await,
        NextStep::GiveUp(reason) => {
            counter!("cti_gaps_given_up_total").increment(1);
            warn!(
                app.id = %gap.app, since = %gap.since, until = %gap.until, reason,
                "a gap can't be recovered; its missed calls are lost"
            );
            gaps.give_up(gap, &reason).await
        }
    }
}
