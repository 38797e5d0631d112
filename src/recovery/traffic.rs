//! Watches whether each app's webhooks come as they usually do at that hour of the week, so that "Dialpad is silent" can be
//! distinguished from "nothing happens". Webhooks are counted in memory and added to a small table once a minute.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{error::StoreError, id::AppId};
use dashmap::DashMap;
use metrics::gauge;
use tracing::{info, warn};

use super::{
    Recovery,
    usual_rate::{History, MAX_SILENCE, MAX_WEEKS, MIN_SILENCE, Traffic},
};
use crate::store::dialpad::webhook_hours::hour_of;

/// How often webhooks are added to the table, and the apps are judged.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

/// The webhooks of each app that are not in the table yet, and what was last thought of it.
#[derive(Debug, Default)]
pub(super) struct TrafficWatch {
    counted: DashMap<AppId, Counted>,
    verdicts: DashMap<AppId, Traffic>,
}

#[derive(Clone, Copy, Debug)]
struct Counted {
    webhooks: u64,
    last_at: DateTime<Utc>,
}

impl TrafficWatch {
    /// Counts a webhook.
    pub(super) fn count(&self, app: AppId, at: DateTime<Utc>) {
        self.add(app, Counted { webhooks: 1, last_at: at });
    }

    fn add(&self, app: AppId, more: Counted) {
        let mut counted = self.counted.entry(app).or_insert(Counted { webhooks: 0, last_at: more.last_at });
        counted.webhooks += more.webhooks;
        counted.last_at = counted.last_at.max(more.last_at);
    }

    fn take(&self) -> Vec<(AppId, Counted)> {
        let apps: Vec<AppId> = self.counted.iter().map(|counted| *counted.key()).collect();
        apps.into_iter().filter_map(|app| self.counted.remove(&app)).collect()
    }

    /// Returns what is thought of an app's webhooks.
    pub(super) fn verdict(&self, app: AppId) -> Traffic {
        self.verdicts.get(&app).map_or(Traffic::Unknown, |verdict| *verdict)
    }

    /// Returns the apps whose webhooks are missing, each with the instant of its last one.
    pub(super) fn silent(&self) -> Vec<(AppId, DateTime<Utc>)> {
        let silent = self.verdicts.iter().filter_map(|verdict| match *verdict.value() {
            Traffic::Silent { since, .. } => Some((*verdict.key(), since)),
            Traffic::Unknown | Traffic::Normal => None,
        });
        silent.collect()
    }

    /// Notes what is thought of an app's webhooks now, and logs a change.
    fn judge(&self, app: AppId, verdict: Traffic) {
        let before = self.verdicts.insert(app, verdict);
        let was_silent = matches!(before, Some(Traffic::Silent { .. }));
        match verdict {
            Traffic::Silent { since, missing } if !was_silent => warn!(
                app.id = %app, %since, missing = missing.round(),
                "an app receives no webhooks, although it usually does at this hour"
            ),
            Traffic::Normal if was_silent => info!(app.id = %app, "the app receives webhooks again"),
            _ => {}
        }
    }
}

/// Adds the counted webhooks to the table.
///
/// What could not be written is counted again.
///
/// # Errors
/// The store failed.
pub(crate) async fn flush(recovery: &Recovery) -> Result<(), StoreError> {
    let traffic = recovery.silence.traffic();
    let mut result = Ok(());
    for (app, counted) in traffic.take() {
        let hours = recovery.store.webhook_hours();
        if let Err(error) = hours.add(app, counted.webhooks, counted.last_at).await {
            traffic.add(app, counted);
            result = Err(error);
        }
    }
    result
}

/// Returns the first hour that is looked at, in hours since 1970.
pub(crate) fn oldest_hour(now: DateTime<Utc>) -> i64 {
    hour_of(now - TimeDelta::weeks(MAX_WEEKS)) - 24
}

/// Adds the counted webhooks to the table, and judges every app.
///
/// # Errors
/// The store failed. The next run does the same again.
pub(crate) async fn watch(recovery: &Recovery) -> Result<(), StoreError> {
    flush(recovery).await?;
    let (hours, now) = (recovery.store.webhook_hours(), recovery.clock.now());
    let oldest = oldest_hour(now);
    let ranges = hours.ranges().await?;
    let traffic = recovery.silence.traffic();
    let known: HashSet<AppId> = ranges.iter().map(|range| range.app).collect();
    traffic.verdicts.retain(|app, _| known.contains(app));
    for range in ranges {
        // Most apps have just received one, and need no history.
        let is_silent = (MIN_SILENCE..=MAX_SILENCE).contains(&(now - range.last_at));
        let of_app = if is_silent { hours.of_app(range.app, oldest).await? } else { Vec::new() };
        let first_hour = range.first_hour.max(oldest);
        let history = History { first_hour, last_at: range.last_at, hours: of_app.into_iter().collect() };
        traffic.judge(range.app, history.judge(now));
    }
    let silent =
        traffic.verdicts.iter().filter(|verdict| matches!(**verdict, Traffic::Silent { .. })).count();
    gauge!("cti_apps_silent").set(silent as f64);
    Ok(())
}
