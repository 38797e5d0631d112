//! Which apps webhooks come for. When none come for a while although some had come before, Dialpad is asked: the office
//! may have closed, or a subscription, a certificate or a firewall be broken.
//!
//! The looks come at growing distances and end after a few, because offices do close. As long as they find calls that
//! nobody told us of, they go on at the shortest distance.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::id::AppId;
use dashmap::DashMap;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::{Repairs, length};
use crate::store::dialpad::gaps::GapReason;

/// How often to look at one silence.
const MOST_LOOKS: u32 = 5;

/// See the module.
#[derive(Debug, Default)]
pub struct SilenceDetector {
    apps: DashMap<AppId, LastWebhook>,
}

#[derive(Clone, Copy, Debug)]
struct LastWebhook {
    /// When the last webhook came, or the last look ended: what lies before has been told or looked for.
    known_until: DateTime<Utc>,
    /// Looks are counted from here.
    quiet_since: DateTime<Utc>,
    looks: u32,
}

impl SilenceDetector {
    /// A webhook came for an app.
    pub fn note(&self, app: AppId, at: DateTime<Utc>) {
        self.apps.insert(app, LastWebhook { known_until: at, quiet_since: at, looks: 0 });
    }

    /// Calls were found that nobody told of: the silence is none of an office that has closed.
    pub(crate) fn note_missed(&self, app: AppId, now: DateTime<Utc>) {
        if let Some(mut heard) = self.apps.get_mut(&app) {
            (heard.quiet_since, heard.looks) = (now, 0);
        }
    }

    /// It is written down that an app is looked at until now.
    fn note_looked(&self, app: AppId, now: DateTime<Utc>) {
        if let Some(mut heard) = self.apps.get_mut(&app) {
            heard.known_until = heard.known_until.max(now);
        }
    }

    /// The apps to look at now, each with the time since when. Saying so is taking note of it.
    fn due(&self, now: DateTime<Utc>, patience: TimeDelta) -> Vec<(AppId, DateTime<Utc>)> {
        self.apps.retain(|_, heard| heard.looks < MOST_LOOKS);
        let mut due = Vec::new();
        for mut app in self.apps.iter_mut() {
            let heard = app.value_mut();
            // Twice as long each time.
            let distance = patience.checked_mul(1 << heard.looks).unwrap_or(TimeDelta::MAX);
            if now - heard.quiet_since >= distance {
                heard.looks += 1;
                due.push((*app.key(), app.value().known_until));
            }
        }
        due
    }
}

pub(crate) async fn run(repairs: Repairs) {
    let patience = repairs.settings.webhook_silence;
    let every = (patience / 10).clamp(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        sleep(every).await;
        let now = repairs.clock.now();
        for (app, since) in repairs.silence.due(now, length(patience)) {
            debug!(app.id = %app, "no webhooks come");
            match repairs.store.gaps().record(app, since, now, GapReason::Silence).await {
                Ok(()) => repairs.silence.note_looked(app, now),
                // The next look reaches back as far.
                Err(failure) => {
                    warn!(app.id = %app, error = %failure, "a silence of webhooks can't be looked into")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    /// The minutes at which there is a look, out of so many.
    fn looks(silence: &SilenceDetector, minutes: std::ops::Range<i64>) -> Vec<i64> {
        let due = |minute: &i64| !silence.due(at(*minute), TimeDelta::minutes(10)).is_empty();
        minutes.filter(due).collect()
    }

    #[test]
    fn looks_come_at_growing_distances_and_end() {
        let (silence, app) = (SilenceDetector::default(), AppId::generate());
        silence.note(app, at(0));
        assert_eq!(looks(&silence, 0..10_000), [10, 20, 40, 80, 160]);
        assert!(silence.apps.is_empty(), "an app that is silent for good takes no room");
    }

    #[test]
    fn a_webhook_begins_anew_and_an_app_that_was_never_heard_of_is_not_looked_at() {
        let (silence, app) = (SilenceDetector::default(), AppId::generate());
        assert!(looks(&silence, 0..100).is_empty());
        silence.note(app, at(0));
        assert_eq!(looks(&silence, 0..15), [10]);
        silence.note(app, at(15));
        assert_eq!(looks(&silence, 15..40), [25, 35]);
    }

    #[test]
    fn while_calls_are_missed_the_looks_go_on() {
        let (silence, app) = (SilenceDetector::default(), AppId::generate());
        silence.note(app, at(0));
        for minute in 1..200 {
            let due = silence.due(at(minute), TimeDelta::minutes(10));
            assert_eq!(due.len(), usize::from(minute % 10 == 0), "{minute}");
            if let [(app, since)] = due[..] {
                assert_eq!(since, at(minute - 10), "each look begins where the one before ended");
                silence.note_looked(app, at(minute));
                silence.note_missed(app, at(minute));
            }
        }
    }
}
