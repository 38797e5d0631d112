//! Calls that never end: they had no news for too long, by our clock. Each is requested from Dialpad. A call that has
//! ended is reported as repaired, one that Dialpad does not know is presumed ended.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use cti_actors::{
    error::StoreError,
    id::{AppId, DialpadCallId},
    ports::Ledger,
};
use futures_util::{StreamExt, stream};
use metrics::counter;
use tracing::{debug, info, warn};

use super::{
    Recovery,
    check_schedule::{CallCheck, CheckSchedule},
    time_delta,
};
use crate::{
    config::RecoveryConfig,
    dialpad::client::request::Urgency,
    store::{journal::append::Appended, views::overdue::OverdueCall},
    webhook::payload::Finding,
};

/// How many calls of an app are requested in one round: Dialpad allows 10 such requests a minute, and half of them are
/// reserved for requests that somebody waits for.
const MAX_CALLS_PER_APP: usize = 5;
const MAX_CONCURRENT_APPS: usize = 8;

/// Returns how often to look for overdue calls.
pub(crate) fn interval(settings: &RecoveryConfig) -> Duration {
    let shortest_limit = settings.calls_ringing_at_most.min(settings.calls_live_at_most);
    (shortest_limit / 5).clamp(Duration::from_secs(1), Duration::from_secs(30))
}

/// Looks for overdue calls.
pub(crate) struct OverdueCalls {
    recovery: Recovery,
    schedule: CheckSchedule,
}

impl OverdueCalls {
    pub(crate) fn new(recovery: Recovery) -> Self {
        Self { recovery, schedule: CheckSchedule::default() }
    }

    /// Requests the calls that are due, and reports those that have ended.
    pub(crate) async fn check(&mut self) -> Result<(), StoreError> {
        let due = self.due().await?;
        let answers = stream::iter(due)
            .map(|(app, calls)| request_calls(&self.recovery, app, calls))
            .buffer_unordered(MAX_CONCURRENT_APPS)
            .collect::<Vec<_>>()
            .await;
        for (call, check) in answers.into_iter().flatten() {
            if let Err(error) = self.apply(&call, check).await {
                warn!(app.id = %call.app, call.id = %call.call, %error, "the end of a call could not be reported yet");
            }
        }
        Ok(())
    }

    /// Returns the calls to request now, by app, those without news for the longest time first.
    async fn due(&mut self) -> Result<BTreeMap<AppId, Vec<OverdueCall>>, StoreError> {
        let now = self.recovery.clock.now();
        let settings = self.recovery.settings;
        let ringing_since = now - time_delta(settings.calls_ringing_at_most);
        let live_since = now - time_delta(settings.calls_live_at_most);
        let mut overdue: HashSet<(AppId, DialpadCallId)> = HashSet::new();
        let mut due: BTreeMap<AppId, Vec<OverdueCall>> = BTreeMap::new();
        let mut last = None;
        loop {
            let page = self.recovery.store.calls().overdue(ringing_since, live_since, last.as_ref()).await?;
            last = page.last().copied();
            if last.is_none() {
                break;
            }
            overdue.extend(page.iter().map(|call| (call.app, call.call)));
            for call in page.into_iter().filter(|call| self.schedule.is_due(call.app, call.call, now)) {
                due.entry(call.app).or_default().push(call);
            }
        }
        self.schedule.retain(&overdue);
        for calls in due.values_mut() {
            calls.sort_by_key(|call| call.changed_at);
            calls.truncate(MAX_CALLS_PER_APP);
        }
        Ok(due)
    }

    async fn apply(&mut self, call: &OverdueCall, check: CallCheck) -> Result<(), StoreError> {
        let now = self.recovery.clock.now();
        let settings = self.recovery.settings;
        let limit =
            if call.is_ringing { settings.calls_ringing_at_most } else { settings.calls_live_at_most };
        match check {
            CallCheck::Ended(shown) => {
                if self.report(call, Finding::Concluded(shown)).await? {
                    counter!("cti_calls_repaired_total").increment(1);
                    info!(app.id = %call.app, call.id = %call.call, "a call has ended that no webhook reported as ended");
                }
            }
            CallCheck::InProgress => self.schedule.note_in_progress(call.app, call.call, limit, now),
            CallCheck::Unanswered if !self.schedule.note_unanswered(call.app, call.call, limit, now) => {}
            CallCheck::NotFound | CallCheck::Unanswered => {
                let Some(last_news) = self.last_news(call).await? else { return Ok(()) };
                // When its limit was reached: a process that finds the same reports the same.
                let at = call.changed_at.min(now) + time_delta(limit);
                if self.report(call, Finding::PresumedOver { call: call.call, at, last_news }).await? {
                    counter!("cti_calls_inferred_total").increment(1);
                    info!(app.id = %call.app, call.id = %call.call, "a call is presumed ended");
                }
            }
            CallCheck::Postponed => {}
        }
        Ok(())
    }

    /// Returns the newest live news of a call, by the payloads' own times. `None`: there was news since it was found.
    async fn last_news(&self, call: &OverdueCall) -> Result<Option<DateTime<Utc>>, StoreError> {
        let found = self.recovery.store.relatives(call.app, &[call.call]).await?;
        let call = found
            .into_iter()
            .find(|found| found.dialpad_call_id == call.call && found.updated_at == call.changed_at);
        Ok(call.and_then(|call| call.facts.last_news()))
    }

    /// Writes a finding into the journal. Returns whether it is new.
    async fn report(&mut self, call: &OverdueCall, finding: Finding) -> Result<bool, StoreError> {
        let appended = self.recovery.store.journal().append_finding(call.app, &finding).await?;
        self.schedule.note_reported(call.app, call.call, self.recovery.clock.now());
        Ok(matches!(appended, Appended::New(_)))
    }
}

/// Requests the calls of one app one after the other, until Dialpad takes no more requests.
async fn request_calls(
    recovery: &Recovery,
    app: AppId,
    calls: Vec<OverdueCall>,
) -> Vec<(OverdueCall, CallCheck)> {
    let mut checks = Vec::new();
    for call in calls {
        let answer = recovery.dialpad.call(app, call.call, Urgency::Background).await;
        if let Err(error) = &answer {
            debug!(app.id = %app, call.id = %call.call, %error, "Dialpad did not say whether a call has ended");
        }
        match CallCheck::of(answer) {
            CallCheck::Postponed => break,
            check => checks.push((call, check)),
        }
    }
    checks
}
