//! Detects that an app which received webhooks receives none any more. The office may have closed, or a subscription, a
//! certificate or a firewall is broken: only Dialpad's list of calls can tell.
//!
//! Checks come at doubling distances and end after a few, because offices do close. While they find calls that no
//! webhook reported, they continue at the shortest distance.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{error::StoreError, id::AppId};
use dashmap::DashMap;
use tracing::debug;

use super::{Recovery, time_delta, traffic::TrafficWatch, usual_rate::Traffic};
use crate::{backoff::Backoff, store::dialpad::gaps::GapReason};

/// How often one silence is checked.
const MAX_CHECKS: u32 = 5;

/// Remembers when each app last received a webhook.
#[derive(Debug, Default)]
pub struct SilenceDetector {
    apps: DashMap<AppId, LastWebhook>,
    traffic: TrafficWatch,
}

/// An app that receives no webhooks any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SilentApp {
    pub(crate) app: AppId,
    pub(crate) lasts: TimeDelta,
    /// Whether that is unusual at this hour of the week. Where it is not, or not known, the office may have closed.
    pub(crate) is_unusual: bool,
}

#[derive(Clone, Copy, Debug)]
struct LastWebhook {
    /// The last webhook, or the end of the last check: what lies before was reported or looked for.
    known_until: DateTime<Utc>,
    /// The distances of the checks count from here.
    silent_since: DateTime<Utc>,
    checks: u32,
}

impl SilenceDetector {
    /// Records that an app received a webhook.
    pub fn note(&self, app: AppId, at: DateTime<Utc>) {
        self.apps.insert(app, LastWebhook { known_until: at, silent_since: at, checks: 0 });
        self.traffic.count(app, at);
    }

    pub(super) fn traffic(&self) -> &TrafficWatch {
        &self.traffic
    }

    /// Returns what is thought of an app's webhooks.
    pub(crate) fn verdict(&self, app: AppId) -> Traffic {
        self.traffic.verdict(app)
    }

    /// Returns the apps that received webhooks and have received none for so long, or of which, at this hour of the week,
    /// many are missing. Those come first, then the ones that are silent for longer.
    pub(crate) fn silent(&self, now: DateTime<Utc>, limit: TimeDelta) -> Vec<SilentApp> {
        let unusual = self.traffic.silent().into_iter();
        let unusual = unusual.map(|(app, since)| SilentApp { app, lasts: now - since, is_unusual: true });
        let others =
            self.apps.iter().filter(|last| !matches!(self.verdict(*last.key()), Traffic::Silent { .. }));
        let others = others
            .map(|last| SilentApp { app: *last.key(), lasts: now - last.silent_since, is_unusual: false })
            .filter(|it| it.lasts >= limit);
        let mut silent: Vec<SilentApp> = unusual.chain(others).collect();
        silent.sort_by_key(|it| (!it.is_unusual, -it.lasts));
        silent
    }

    /// Records that calls were found which no webhook reported: the office has not closed.
    pub(crate) fn note_missed(&self, app: AppId, now: DateTime<Utc>) {
        if let Some(mut last) = self.apps.get_mut(&app) {
            last.silent_since = now;
            last.checks = 0;
        }
    }

    /// Records that the gap until now is stored.
    fn note_checked(&self, app: AppId, now: DateTime<Utc>) {
        if let Some(mut last) = self.apps.get_mut(&app) {
            last.known_until = last.known_until.max(now);
        }
    }

    /// Returns the apps to check now, each with the beginning of its gap, and counts the check.
    fn take_due(&self, now: DateTime<Utc>, max_silence: Duration) -> Vec<(AppId, DateTime<Utc>)> {
        let distances = Backoff { initial: max_silence, max: Duration::MAX, jitter: 0.0 };
        self.apps.retain(|_, last| last.checks < MAX_CHECKS);
        let mut due = Vec::new();
        for mut app in self.apps.iter_mut() {
            let last = app.value_mut();
            if now - last.silent_since >= time_delta(distances.ceiling(last.checks + 1)) {
                last.checks += 1;
                due.push((*app.key(), app.value().known_until));
            }
        }
        due
    }
}

/// Returns how often to look for silent apps.
pub(crate) fn interval(max_silence: Duration) -> Duration {
    (max_silence / 10).clamp(Duration::from_secs(1), Duration::from_secs(30))
}

/// Records a gap for each app whose silence is due for a check.
///
/// An app whose gap could not be stored is checked again at its next distance; that gap begins at the same instant.
pub(crate) async fn check(recovery: &Recovery) -> Result<(), StoreError> {
    let now = recovery.clock.now();
    let mut result = Ok(());
    for (app, since) in recovery.silence.take_due(now, recovery.settings.webhook_silence) {
        // Another process may have received what did not come to this one.
        if let Some(at) = recovery.store.journal().newest_webhook(app, since).await? {
            recovery.silence.note(app, at);
            continue;
        }
        debug!(app.id = %app, "no webhooks arrive");
        match recovery.store.gaps().record(app, since, now, GapReason::Silence).await {
            Ok(()) => recovery.silence.note_checked(app, now),
            Err(error) => result = Err(error),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const MAX_SILENCE: Duration = Duration::from_secs(600);

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    /// Returns those of the minutes at which there is a check.
    fn checks(silence: &SilenceDetector, minutes: std::ops::Range<i64>) -> Vec<i64> {
        let is_due = |minute: &i64| !silence.take_due(at(*minute), MAX_SILENCE).is_empty();
        minutes.filter(is_due).collect()
    }

    #[test]
    fn checks_come_at_doubling_distances_and_end() {
        let silence = SilenceDetector::default();
        silence.note(AppId::generate(), at(0));
        assert_eq!(checks(&silence, 0..10_000), [10, 20, 40, 80, 160]);
        assert!(silence.apps.is_empty(), "an app that stays silent takes no memory");
    }

    #[test]
    fn a_webhook_starts_again_and_an_app_without_webhooks_is_not_checked() {
        let silence = SilenceDetector::default();
        let app = AppId::generate();
        assert!(checks(&silence, 0..100).is_empty());
        silence.note(app, at(0));
        assert_eq!(checks(&silence, 0..15), [10]);
        silence.note(app, at(15));
        assert_eq!(checks(&silence, 15..40), [25, 35]);
    }

    #[test]
    fn while_calls_are_missed_the_checks_continue() {
        let silence = SilenceDetector::default();
        silence.note(AppId::generate(), at(0));
        for minute in 1..200 {
            let due = silence.take_due(at(minute), MAX_SILENCE);
            assert_eq!(due.len(), usize::from(minute % 10 == 0), "{minute}");
            if let [(app, since)] = due[..] {
                assert_eq!(since, at(minute - 10), "each gap begins where the one before ended");
                silence.note_checked(app, at(minute));
                silence.note_missed(app, at(minute));
            }
        }
    }
}
