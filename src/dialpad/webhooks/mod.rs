//! The webhook_reconciler of webhooks: makes sure that Dialpad sends us each app's events, and goes on making sure.
//!
//! What is wanted is a row here (`store::own_webhooks`) whose secret is known before Dialpad signs anything with it.
//! A look at Dialpad lists what is there ([`found`]), decides ([`plan`]) and acts ([`work`]). It is done after an app
//! was connected, when an administrator asks for it, and every few minutes for each app; one process at a time, because
//! whoever looks has claimed the row. Webhooks of others are never touched.

pub(crate) mod apply;
pub(crate) mod diagnostics;
pub(crate) mod plan;
pub(crate) mod remote;
pub(crate) mod schedule;

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use cti_actors::{clock::Clock, error::StoreError, id::AppId};
use dashmap::DashMap;
use futures_util::{StreamExt, stream};
use metrics::counter;
use reqwest::Url;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use self::apply::{Report, Work};
use super::{
    api::Dialpad,
    client::{DialpadError, request::Urgency},
    oauth::{access::NoAccess, scopes},
};
use crate::store::{
    Store,
    dialpad::{
        gaps::GapReason,
        own_webhooks::{CheckNote, Claimed},
        webhook_views::WebhookView,
    },
};

/// How long a look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(50);
/// How long a claim lasts if whoever has it is gone; longer than a look.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// How long to wait for a webhook that somebody else has claimed.
const CLAIM_WITHIN: Duration = Duration::from_secs(10);
/// How long a farewell to Dialpad may hold up whoever disconnects.
const FAREWELL_WITHIN: Duration = Duration::from_secs(5);
/// How often it is seen whether a look is due.
const LONGEST_TICK: Duration = Duration::from_secs(5);
/// How many apps are looked after at a time.
const AT_A_TIME: usize = 8;

/// Why it could not be made sure.
#[derive(Debug, Error)]
pub enum KeepError {
    /// Our side.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Their side.
    #[error(transparent)]
    Dialpad(#[from] DialpadError),
    /// There is none.
    #[error("there is no such webhook")]
    NotThere,
    /// Somebody else is at it.
    #[error("the webhook is being looked after elsewhere")]
    Busy,
}

/// The webhook_reconciler. Cheap to clone.
#[derive(Clone)]
pub struct WebhookReconciler {
    inner: Arc<Inner>,
}

struct Inner {
    dialpad: Dialpad,
    store: Store,
    clock: Arc<dyn Clock>,
    /// What an app's hook URL begins with; its id follows.
    hook_url_of_none: String,
    /// What is wrong with our address, if anything.
    address_problem: Option<String>,
    by_itself: bool,
    interval: Duration,
    /// How often looking failed since it last did not.
    failures: DashMap<AppId, u32>,
}

impl WebhookReconciler {
    /// A webhook_reconciler for webhooks at this public address. `by_itself`: it also does what nobody asked it for.
    #[must_use]
    pub fn new(
        dialpad: Dialpad,
        store: Store,
        clock: Arc<dyn Clock>,
        public_url: &Url,
        by_itself: bool,
        interval: Duration,
    ) -> Self {
        let address_problem = diagnostics::of_address(public_url, &dialpad.client.base_url);
        let hook_url_of_none = format!("{}/webhooks/", public_url.as_str().trim_end_matches('/'));
        let failures = DashMap::new();
        let inner =
            Inner { dialpad, store, clock, hook_url_of_none, address_problem, by_itself, interval, failures };
        Self { inner: Arc::new(inner) }
    }

    /// Looks after the apps, each when its time has come; never ends, unless nothing is to be done by itself.
    pub async fn run(self) {
        if !self.inner.by_itself {
            return;
        }
        let mut ticks = tokio::time::interval(self.inner.interval.min(LONGEST_TICK));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (store, access) = (&self.inner.store, &self.inner.dialpad.access);
            let (environment, has_static_key) = (access.environment().as_str(), access.has_static_key());
            match store.webhooks().due(environment, has_static_key, &self.inner.hook_url_of_none).await {
                Ok(due) => {
                    let tend = |(app, organization)| self.tend(app, organization);
                    stream::iter(due).for_each_concurrent(AT_A_TIME, tend).await;
                }
                Err(failure) => {
                    warn!(error = %failure, "it can't be seen whose webhooks are to be looked after")
                }
            }
        }
    }

    /// An app was connected to this organisation: its webhook is made in the background.
    ///
    /// # Errors
    /// The database could not be asked; the app's time comes all the same.
    pub async fn welcome(&self, app: AppId, organization: Option<i64>) -> Result<(), StoreError> {
        if !self.inner.by_itself {
            return Ok(());
        }
        self.inner.store.webhooks().ensure(app, &self.hook_url(app), organization, true).await?;
        self.inner.store.webhooks().schedule_check(app).await?;
        self.inner.failures.remove(&app);
        let webhook_reconciler = self.clone();
        tokio::spawn(async move { webhook_reconciler.tend(app, organization).await });
        Ok(())
    }

    /// An app is about to be connected to this organisation. If that is another one than before, what we have at the
    /// other one goes while there is still a token that can remove it.
    pub async fn before_welcome(&self, app: AppId, organization: Option<i64>) {
        let before = match self.inner.store.webhooks().of_app(app).await {
            Ok(webhook) => webhook.and_then(|webhook| webhook.organization),
            Err(failure) => {
                return warn!(app.id = %app, error = %failure, "it can't be seen where the app's webhook is");
            }
        };
        let Some(organization) = organization else { return };
        if before.is_some_and(|before| before != organization) {
            self.say_farewell(app, false).await;
        }
        // What was under way when it left may come no more, either: it would be taken for the new one's.
        if let Err(failure) = self.inner.store.webhooks().drop_foreign_secrets(app, organization).await {
            warn!(app.id = %app, error = %failure, "secrets of the organization before could not be forgotten");
        }
    }

    /// An app is about to be disconnected: Dialpad shall send nothing more. What is under way is still taken.
    pub async fn farewell(&self, app: AppId) {
        self.say_farewell(app, true).await;
    }

    async fn say_farewell(&self, app: AppId, takes_stragglers: bool) {
        let claimed = match timeout(FAREWELL_WITHIN, self.claim(app)).await {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(KeepError::NotThere)) => return,
            Ok(Err(error)) => return warn!(app.id = %app, %error, "the app's webhook could not be removed"),
            Err(_) => return warn!(app.id = %app, "the app's webhook could not be removed in time"),
        };
        let hook_url = self.hook_url(app);
        let work = self.work(app, &hook_url, Urgency::Foreground);
        match timeout(FAREWELL_WITHIN, work.undo_all(&claimed.webhook)).await {
            Ok(Ok(())) => info!(app.id = %app, "the app's webhook was removed"),
            Ok(Err(error)) => {
                warn!(app.id = %app, %error, "the app's webhook is forgotten here, and may still be at Dialpad");
            }
            Err(_) => {
                warn!(app.id = %app, "the app's webhook is forgotten here, and may still be at Dialpad")
            }
        }
        if let Err(failure) = self.inner.store.webhooks().remove(claimed, takes_stragglers).await {
            warn!(app.id = %app, error = %failure, "the app's webhook could not be forgotten");
        }
    }

    /// Makes sure now that an app's events come to us, also if its webhook was taken away. Says whether something was
    /// made that had not been there.
    ///
    /// # Errors
    /// See [`KeepError`]; what was reached stays, and the rest is tried again by itself.
    pub async fn ensure(&self, app: AppId) -> Result<(WebhookView, bool), KeepError> {
        let organization = self.inner.dialpad.access.of(app).await.map_err(DialpadError::from)?.organization;
        self.inner.store.webhooks().ensure(app, &self.hook_url(app), organization, true).await?;
        let claimed = self.claim(app).await?;
        let report = self.look_after(claimed, organization, Urgency::Foreground).await?;
        Ok((self.view(app).await?, report.made))
    }

    /// Gives an app's webhook a new secret: taken here first, then told to Dialpad. The old one is taken for another
    /// day, so no webhook is refused on the way.
    ///
    /// # Errors
    /// See [`KeepError`]. If Dialpad could not be told, both secrets are taken until it could.
    pub async fn rotate(&self, app: AppId) -> Result<WebhookView, KeepError> {
        let organization = self.inner.dialpad.access.of(app).await.map_err(DialpadError::from)?.organization;
        let mut claimed = self.claim(app).await?;
        self.inner.store.webhooks().begin_rotation(&mut claimed).await?;
        self.look_after(claimed, organization, Urgency::Foreground).await?;
        info!(app.id = %app, "the secret of the app's webhook was rotated");
        self.view(app).await
    }

    /// Removes an app's webhook, at Dialpad and here. It does not come back by itself.
    ///
    /// # Errors
    /// See [`KeepError`]; it is still there then. Where nobody can speak for the app, it is forgotten here.
    pub async fn remove(&self, app: AppId) -> Result<(), KeepError> {
        let claimed = self.claim(app).await?;
        let hook_url = self.hook_url(app);
        let work = self.work(app, &hook_url, Urgency::Foreground);
        let undone = timeout(LOOK_WITHIN, work.undo_all(&claimed.webhook)).await;
        match undone.unwrap_or_else(|_| Err(too_long())) {
            Ok(()) => info!(app.id = %app, "the app's webhook was removed"),
            Err(DialpadError::NoAccess(reason @ (NoAccess::NotConnected | NoAccess::Expired))) => {
                warn!(app.id = %app, %reason, "the app's webhook is forgotten here, and may still be at Dialpad");
            }
            Err(error) => {
                self.inner.store.webhooks().release(claimed).await?;
                return Err(error.into());
            }
        }
        Ok(self.inner.store.webhooks().remove(claimed, true).await?)
    }

    /// Looks after an app whose time has come.
    async fn tend(&self, app: AppId, organization: Option<i64>) {
        let organization = organization.or_else(|| self.inner.store.routes().static_organization());
        let hook_url = self.hook_url(app);
        let tended = async {
            self.inner.store.webhooks().ensure(app, &hook_url, organization, false).await?;
            match self.inner.store.webhooks().claim(app, LEASE).await? {
                Some(claimed) => {
                    self.look_after(claimed, organization, Urgency::Background).await.map(|_| ())
                }
                // Somebody was quicker.
                None => Ok(()),
            }
        };
        if let Err(error) = tended.await {
            warn!(app.id = %app, %error, "looking after the app's webhook failed");
        }
    }

    /// Takes an app's webhook into one's hands, waiting for whoever has it.
    async fn claim(&self, app: AppId) -> Result<Claimed, KeepError> {
        let began = Instant::now();
        loop {
            if let Some(claimed) = self.inner.store.webhooks().claim(app, LEASE).await? {
                return Ok(claimed);
            }
            self.view(app).await?;
            if began.elapsed() > CLAIM_WITHIN {
                return Err(KeepError::Busy);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// One look at Dialpad, with what follows from it, and a note of how it went.
    async fn look_after(
        &self,
        mut claimed: Claimed,
        organization: Option<i64>,
        urgency: Urgency,
    ) -> Result<Report, KeepError> {
        let (app, verified_at) = (claimed.app, claimed.webhook.verified_at);
        let hook_url = self.hook_url(app);
        let mut report = Report::default();
        let granted = self.inner.store.webhooks().granted_scopes(app).await?;
        let may_read = granted.as_deref().is_some_and(scopes::may_read);
        let work = Work { may_read, ..self.work(app, &hook_url, urgency) };
        let looked = timeout(LOOK_WITHIN, work.do_all(&mut claimed.webhook, &mut report)).await;
        let looked = looked.unwrap_or_else(|_| Err(too_long()));

        let now = self.inner.clock.now();
        if report.webhook_stands {
            claimed.webhook.finish_rotation(now);
        }
        if report.calls_stand {
            if let (Some(since), Some(why)) = (verified_at, report.calls_missing) {
                warn!(app.id = %app, %since, why, "calls may not have been told, and will be looked for");
                self.inner.store.gaps().record(app, since, now, GapReason::SubscriptionMissing).await?;
            }
            claimed.webhook.verified_at = Some(now);
        }
        report.problems.extend(looked.as_ref().err().map(ToString::to_string));
        report.problems.extend(self.inner.address_problem.clone());
        report.problems.extend(diagnostics::of_scopes(granted.as_deref()));
        let next_check_at = now + self.pause_after(app, &looked);
        let problems = report.problems.clone();
        let note =
            CheckNote { hook_url: hook_url.clone(), organization, problems, checked_at: now, next_check_at };
        self.inner.store.webhooks().record_check(claimed, &note).await?;
        tell(app, &report, &looked);
        looked?;
        Ok(report)
    }

    /// How long to wait before the next look.
    fn pause_after(&self, app: AppId, looked: &Result<(), DialpadError>) -> TimeDelta {
        let pause = match looked {
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

    fn work<'a>(&'a self, app: AppId, hook_url: &'a str, urgency: Urgency) -> Work<'a> {
        Work { dialpad: &self.inner.dialpad, app, hook_url, urgency, may_read: false }
    }

    fn hook_url(&self, app: AppId) -> String {
        format!("{}{app}", self.inner.hook_url_of_none)
    }

    async fn view(&self, app: AppId) -> Result<WebhookView, KeepError> {
        self.inner.store.webhooks().of_app(app).await?.ok_or(KeepError::NotThere)
    }
}

fn too_long() -> DialpadError {
    DialpadError::Unreachable("it takes too long".into())
}

/// What the log and the metrics hear of a look.
fn tell(app: AppId, report: &Report, looked: &Result<(), DialpadError>) {
    let outcome = match looked {
        Ok(()) if !report.calls_stand => "troubled",
        Ok(()) if report.mended => "mended",
        Ok(()) => "standing",
        Err(_) => "failed",
    };
    counter!("cti_webhook_checks_total", "outcome" => outcome).increment(1);
    if report.mended && report.calls_stand {
        info!(app.id = %app, "the app's webhook and subscriptions stand");
    }
}

/// The outcomes of looks.
pub(crate) const OUTCOMES: [&str; 4] = ["standing", "mended", "troubled", "failed"];
