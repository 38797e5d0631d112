//! The reconciler of webhooks: makes sure that Dialpad sends each app's events here, and keeps checking.
//!
//! The desired state is a row of the store whose secret is stored before Dialpad signs anything with it. A check reads
//! what is at Dialpad ([`remote`]), decides what to change ([`plan`]) and changes it ([`apply`]). It happens after an app
//! was connected, on an administrator's request, and periodically ([`schedule`]). Only one process at a time does it,
//! because a check claims the row. Webhooks of others are never changed.

mod apply;
mod deregister;
mod diagnostics;
mod kind;
pub(crate) mod outcome;
mod plan;
mod remote;
mod schedule;

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use cti_actors::{clock::Clock, error::StoreError, id::AppId};
use dashmap::DashMap;
use futures_util::{StreamExt, stream};
use reqwest::Url;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use self::{
    apply::{RemoteWebhooks, Report},
    outcome::Outcome,
};
use super::{
    api::Dialpad,
    client::{DialpadError, request::Urgency},
    oauth::scopes,
};
use crate::{
    store::{
        Store,
        dialpad::{
            gaps::GapReason,
            own_webhooks::{CheckNote, Claimed},
            webhook_views::WebhookView,
        },
    },
    tasks::Tasks,
};

const CHECK_TIMEOUT: Duration = Duration::from_secs(50);
/// How long a claim lasts; longer than a check.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// How long to wait for a webhook that another check has claimed, and how often to try.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(10);
const CLAIM_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The longest interval at which due checks are looked for.
const MAX_DUE_INTERVAL: Duration = Duration::from_secs(5);
const MAX_CONCURRENT_CHECKS: usize = 8;

/// Why a webhook could not be reconciled or removed.
#[derive(Debug, Error)]
pub enum ReconcileError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Dialpad failed or refused.
    #[error(transparent)]
    Dialpad(#[from] DialpadError),
    /// The app has no webhook.
    #[error("there is no such webhook")]
    NotFound,
    /// Another check has claimed the webhook for too long.
    #[error("another process is checking the webhook")]
    Busy,
}

/// Registers, checks, repairs and removes the apps' webhooks at Dialpad. Cheap to clone.
#[derive(Clone)]
pub struct WebhookReconciler {
    inner: Arc<Inner>,
}

struct Inner {
    dialpad: Dialpad,
    store: Store,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    /// The beginning of every app's hook URL; the app's id follows.
    hook_url_prefix: String,
    /// Why Dialpad can't reach `PUBLIC_URL`, if that is certain.
    address_problem: Option<String>,
    /// `AUTO_SUBSCRIBE`: whether anything is done that nobody requested.
    is_automatic: bool,
    interval: Duration,
    /// The failed checks of each app since its last completed one.
    failures: DashMap<AppId, u32>,
}

impl WebhookReconciler {
    /// Creates the reconciler for webhooks at this public URL. Without `is_automatic`, it does only what an
    /// administrator requests.
    #[must_use]
    pub fn new(
        dialpad: Dialpad,
        store: Store,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        public_url: &Url,
        is_automatic: bool,
        interval: Duration,
    ) -> Self {
        let address_problem = diagnostics::of_address(public_url, &dialpad.client.base_url);
        let hook_url_prefix = format!("{}/webhooks/", public_url.as_str().trim_end_matches('/'));
        let inner = Inner {
            dialpad,
            store,
            clock,
            tasks,
            hook_url_prefix,
            address_problem,
            is_automatic,
            interval,
            failures: DashMap::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns whether checks are done without a request.
    pub(crate) fn is_automatic(&self) -> bool {
        self.inner.is_automatic
    }

    /// Returns how often [`Self::reconcile_due`] has to be called.
    pub(crate) fn due_interval(&self) -> Duration {
        self.inner.interval.min(MAX_DUE_INTERVAL)
    }

    /// Checks the webhooks whose time has come.
    ///
    /// # Errors
    /// The database can't be read. A check that fails is logged, and repeated later.
    pub(crate) async fn reconcile_due(&self) -> Result<(), StoreError> {
        let access = &self.inner.dialpad.access;
        let environment = access.environment().as_str();
        let prefix = &self.inner.hook_url_prefix;
        let due = self.inner.store.webhooks().due(environment, access.has_static_key(), prefix).await?;
        let check = |(app, organization)| self.check(app, organization);
        stream::iter(due).for_each_concurrent(MAX_CONCURRENT_CHECKS, check).await;
        Ok(())
    }

    /// Registers the webhook of an app that was connected to this organization, in the background.
    ///
    /// # Errors
    /// The database can't be reached; a later check registers the webhook.
    pub async fn on_connected(&self, app: AppId, organization: Option<i64>) -> Result<(), StoreError> {
        if !self.inner.is_automatic {
            return Ok(());
        }
        self.inner.store.webhooks().ensure(app, &self.hook_url(app), organization, true).await?;
        self.inner.store.webhooks().schedule_check(app).await?;
        self.inner.failures.remove(&app);
        let reconciler = self.clone();
        self.inner.tasks.spawn(async move { reconciler.check(app, organization).await });
        Ok(())
    }

    /// Makes sure now that an app's events are delivered, also if its webhook was removed before. Returns the webhook,
    /// and whether anything was created.
    ///
    /// # Errors
    /// See [`ReconcileError`]. What was reached remains, and a later check continues.
    pub async fn ensure(&self, app: AppId) -> Result<(WebhookView, bool), ReconcileError> {
        let organization = self.organization(app).await?;
        self.inner.store.webhooks().ensure(app, &self.hook_url(app), organization, true).await?;
        let claimed = self.claim(app).await?;
        let report = self.reconcile(claimed, organization, Urgency::Foreground).await?;
        Ok((self.view(app).await?, report.created))
    }

    /// Replaces the secret of an app's webhook. The new one is accepted here before Dialpad gets it, and the old one for
    /// another day, so no webhook is refused in between.
    ///
    /// # Errors
    /// See [`ReconcileError`]. If Dialpad did not get the new secret, both are accepted until it has.
    pub async fn rotate(&self, app: AppId) -> Result<WebhookView, ReconcileError> {
        let organization = self.organization(app).await?;
        let mut claimed = self.claim(app).await?;
        self.inner.store.webhooks().begin_rotation(&mut claimed).await?;
        self.reconcile(claimed, organization, Urgency::Foreground).await?;
        info!(app.id = %app, "the secret of the app's webhook was rotated");
        self.view(app).await
    }

    async fn organization(&self, app: AppId) -> Result<Option<i64>, DialpadError> {
        Ok(self.inner.dialpad.access.of(app).await?.organization)
    }

    /// Checks the webhook of an app, unless another process does.
    async fn check(&self, app: AppId, organization: Option<i64>) {
        let organization = organization.or_else(|| self.inner.store.routes().static_organization());
        if let Err(error) = self.try_check(app, organization).await {
            warn!(app.id = %app, %error, "the check of the app's webhook failed and will be repeated");
        }
    }

    async fn try_check(&self, app: AppId, organization: Option<i64>) -> Result<(), ReconcileError> {
        let webhooks = self.inner.store.webhooks();
        webhooks.ensure(app, &self.hook_url(app), organization, false).await?;
        if let Some(claimed) = webhooks.claim(app, LEASE).await? {
            self.reconcile(claimed, organization, Urgency::Background).await?;
        }
        Ok(())
    }

    /// Claims an app's webhook, and waits if another check has.
    async fn claim(&self, app: AppId) -> Result<Claimed, ReconcileError> {
        let started_at = Instant::now();
        loop {
            if let Some(claimed) = self.inner.store.webhooks().claim(app, LEASE).await? {
                return Ok(claimed);
            }
            self.view(app).await?;
            if started_at.elapsed() > CLAIM_TIMEOUT {
                return Err(ReconcileError::Busy);
            }
            sleep(CLAIM_POLL_INTERVAL).await;
        }
    }

    /// Reconciles a claimed webhook and stores the result.
    async fn reconcile(
        &self,
        mut claimed: Claimed,
        organization: Option<i64>,
        urgency: Urgency,
    ) -> Result<Report, ReconcileError> {
        let app = claimed.app;
        let verified_at = claimed.webhook.verified_at;
        let hook_url = self.hook_url(app);
        let granted = self.inner.store.webhooks().granted_scopes(app).await?;
        let can_read_texts = granted.as_deref().is_some_and(scopes::can_read_texts);
        let remote = RemoteWebhooks { can_read_texts, ..self.remote(app, &hook_url, urgency) };
        let mut report = Report::default();
        let reconciled = timeout(CHECK_TIMEOUT, remote.reconcile(&mut claimed.webhook, &mut report)).await;
        let reconciled = reconciled.unwrap_or_else(|_| Err(timed_out()));

        let now = self.inner.clock.now();
        if report.webhook_active {
            claimed.webhook.finish_rotation(now);
        }
        if report.calls_active {
            if let (Some(since), Some(reason)) = (verified_at, report.calls_missing) {
                warn!(app.id = %app, %since, reason, "calls may have been missed and will be recovered");
                self.inner.store.gaps().record(app, since, now, GapReason::SubscriptionMissing).await?;
            }
            claimed.webhook.verified_at = Some(now);
        }
        report.problems.extend(reconciled.as_ref().err().map(ToString::to_string));
        report.problems.extend(self.inner.address_problem.clone());
        report.problems.extend(diagnostics::of_scopes(granted.as_deref()));
        let note = CheckNote {
            hook_url: hook_url.clone(),
            organization,
            problems: report.problems.clone(),
            checked_at: now,
            next_check_at: now + self.pause_after(app, &reconciled),
        };
        self.inner.store.webhooks().record_check(claimed, &note).await?;
        Outcome::of(&report, &reconciled).count();
        if report.repaired && report.calls_active {
            info!(app.id = %app, "the app's webhook and subscriptions are active");
        }
        reconciled?;
        Ok(report)
    }

    /// Returns the pause before the next check.
    fn pause_after(&self, app: AppId, reconciled: &Result<(), DialpadError>) -> TimeDelta {
        let pause = match reconciled {
            Ok(()) => {
                self.inner.failures.remove(&app);
                schedule::after_success(self.inner.interval, rand::random())
            }
            Err(error) => {
                let mut failures = self.inner.failures.entry(app).or_default();
                *failures += 1;
                schedule::after_failure(*failures, error, self.inner.interval, rand::random())
            }
        };
        TimeDelta::from_std(pause).unwrap_or(LEASE)
    }

    fn remote<'a>(&'a self, app: AppId, hook_url: &'a str, urgency: Urgency) -> RemoteWebhooks<'a> {
        RemoteWebhooks { dialpad: &self.inner.dialpad, app, hook_url, urgency, can_read_texts: false }
    }

    fn hook_url(&self, app: AppId) -> String {
        format!("{}{app}", self.inner.hook_url_prefix)
    }

    async fn view(&self, app: AppId) -> Result<WebhookView, ReconcileError> {
        self.inner.store.webhooks().of_app(app).await?.ok_or(ReconcileError::NotFound)
    }
}

fn timed_out() -> DialpadError {
    DialpadError::Unreachable("it takes too long".into())
}
