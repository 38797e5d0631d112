//! The work of an app's supervisor: a batch of webhooks, its call actors, one unit of work, the feed.
//!
//! ```text
//! inbox or journal ─► call actors (Apply) ─► one Unit ─► ledger.commit ─► call actors (Settle) ─► feed
//! ```
//!
//! This file is the frame: which batch is next, and what becomes of it when it can be written and when it can't.
//! `kinship` finds out which calls belong together, `legs` lets them decide, `texts` the messages, and `batch` holds what
//! they decided.
//!
//! Nothing is told before it is durable. Whatever goes wrong on the way, the webhooks are still pending in the
//! journal and come again; one that can't be applied is given up after [`super::batch::MAX_ATTEMPTS`] and never holds up the
//! others for longer.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::Addr;
use metrics::counter;
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    batch::{Batch, record_failed_attempt},
    calls::Group,
    inbox::{Inbox, Next},
    roster::Roster,
};
use crate::{
    app::call_actor::{CallActor, Settle},
    engine::MissingLeg,
    error::StoreError,
    event::{Frame, OutEvent},
    feed::Feed,
    id::{AppId, DialpadCallId},
    model::message::MessageEvent,
    ports::{Inbound, PendingEvent, Ports},
    unit::Unit,
};

/// How many webhooks share a unit of work.
const BATCH: usize = 256;
/// How long to wait for a database that is away.
pub(super) const STORE_RETRY: Duration = Duration::from_millis(500);

/// Everything an app's supervisor works with. It is handed from one batch to the next.
pub(crate) struct Pipeline {
    pub(super) app_id: AppId,
    pub(super) ports: Ports,
    inbox: Arc<Mutex<Inbox>>,
    feed: Arc<Feed>,
    pub(super) roster: Roster<Addr<CallActor>>,
    /// Where to say that a leg is named and was never heard from.
    pub(super) missing_legs: mpsc::Sender<MissingLeg>,
    /// Calls whose actor crashed on a batch: their webhooks go one at a time, to find the one that does it.
    pub(super) quarantined: BTreeSet<DialpadCallId>,
    /// So many webhooks go one at a time, because the store refused a batch that they were part of.
    singles_left: usize,
}

/// What to do after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// Look for more.
    Again,
    /// Everything is done.
    Idle,
    /// Something is wrong outside; try again after this time.
    After(Duration),
}

impl Pipeline {
    pub(crate) fn new(
        app_id: AppId,
        ports: Ports,
        inbox: Arc<Mutex<Inbox>>,
        feed: Arc<Feed>,
        missing_legs: mpsc::Sender<MissingLeg>,
    ) -> Self {
        let (roster, quarantined) = (Roster::default(), BTreeSet::new());
        Self { app_id, ports, inbox, feed, roster, missing_legs, quarantined, singles_left: 0 }
    }

    pub(crate) fn evict_idle(&mut self) {
        self.roster.evict_idle(self.ports.clock.now());
    }

    #[cfg(feature = "testing")]
    pub(crate) fn call_actor(&self, call: DialpadCallId) -> Option<Addr<CallActor>> {
        self.roster.get(call).cloned()
    }

    /// Works off one batch.
    pub(crate) async fn step(&mut self) -> NextStep {
        let batch = match self.next_batch().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return NextStep::Idle,
            Err(failure) => return self.retry_later(&failure),
        };
        match self.process(&batch).await {
            Ok(pace) => {
                self.singles_left = self.singles_left.saturating_sub(batch.len());
                pace
            }
            Err(failure @ (StoreError::Rejected(_) | StoreError::Corrupt { .. })) => {
                self.isolate(&batch, &failure).await
            }
            Err(failure) => self.retry_later(&failure),
        }
    }

    async fn next_batch(&mut self) -> Result<Option<Vec<PendingEvent>>, StoreError> {
        let limit = if self.singles_left > 0 { 1 } else { BATCH };
        let next = self.inbox().next(limit);
        match next {
            Next::Nothing => Ok(None),
            Next::Events(events) => Ok(Some(events)),
            Next::ReadJournal => {
                let events = self.ports.journal.pending(self.app_id, limit).await?;
                self.inbox().on_journal_read(&events, limit);
                Ok(Some(events).filter(|events| !events.is_empty()))
            }
        }
    }

    async fn process(&mut self, pending: &[PendingEvent]) -> Result<NextStep, StoreError> {
        let mut batch = Batch::new(self.app_id, pending, self.ports.clock.now());
        let (groups, messages) = self.group_by_call(&mut batch);
        let pace = self.apply_calls(groups, &mut batch).await?;
        self.apply_messages(&messages, &mut batch).await?;
        let drafted = batch.drafted();
        let mut unit = batch.into_unit();
        self.name_crm_users(&mut unit).await?;
        self.commit(unit, &drafted).await?;
        Ok(pace)
    }

    /// Says in each event what the CRM calls its user, as that is known now. What was told before stays as it was told.
    async fn name_crm_users(&self, unit: &mut Unit) -> Result<(), StoreError> {
        let users: BTreeSet<i64> = unit.events.iter().filter_map(OutEvent::dialpad_user_id).collect();
        if users.is_empty() {
            return Ok(());
        }
        let users: Vec<i64> = users.into_iter().collect();
        let names = self.ports.ledger.crm_users(self.app_id, &users).await?;
        for event in &mut unit.events {
            if let Some(name) = event.dialpad_user_id().and_then(|user| names.get(&user)) {
                event.set_crm_user_id(name);
            }
        }
        Ok(())
    }

    /// Sorts a batch by call, in order of first appearance, and by message. What can't be read fails here.
    fn group_by_call<'p>(&self, batch: &mut Batch<'p>) -> (Vec<Group>, Vec<(usize, &'p MessageEvent)>) {
        let mut groups: Vec<Group> = Vec::new();
        let mut by_call: HashMap<DialpadCallId, usize> = HashMap::new();
        let mut messages = Vec::new();
        for (place, pending) in batch.pending.iter().enumerate() {
            match &pending.content {
                Err(reason) => batch.fail(place, reason),
                Ok(Inbound::Message(event)) => messages.push((place, event)),
                Ok(Inbound::Call(event)) => {
                    let call = event.dialpad_call_id;
                    let index = *by_call.entry(call).or_insert_with(|| {
                        groups.push(Group { call, places: Vec::new(), events: Vec::new(), deferred: false });
                        groups.len() - 1
                    });
                    let group = &mut groups[index];
                    if self.quarantined.contains(&call) && !group.places.is_empty() {
                        group.deferred = true;
                        continue;
                    }
                    group.places.push(place);
                    group.events.push(event.clone());
                }
            }
        }
        (groups, messages)
    }

    /// Commits, then acts: memory and the feed follow what is durable.
    async fn commit(&mut self, unit: Unit, staged: &[DialpadCallId]) -> Result<(), StoreError> {
        if unit.is_empty() {
            return Ok(());
        }
        let unit = Arc::new(unit);
        let committed = self.ports.ledger.commit(Arc::clone(&unit)).await;
        let settle = if committed.is_ok() { Settle::Adopt } else { Settle::Discard };
        for call in staged {
            if let Some(actor) = self.roster.get(*call) {
                actor.do_send(settle);
            }
            if committed.is_err() {
                // What they hold may not be what the store holds, nor where they belong: let them be rebuilt.
                self.roster.remove(*call);
            }
        }
        let receipt = committed?;
        let mut seq = receipt.last_seq_before;
        let frames = unit.events.iter().map(|event| {
            seq = seq.next();
            counter!("cti_events_emitted_total", "type" => event.event_type.as_str()).increment(1);
            Frame::new(seq, event)
        });
        self.feed.publish(frames.collect());
        Ok(())
    }

    /// The store is away or somebody else wrote first: everything comes again from the journal.
    fn retry_later(&mut self, failure: &StoreError) -> NextStep {
        self.inbox().invalidate();
        warn!(app.id = %self.app_id, error = %failure, "a batch could not be written and will be tried again");
        match failure {
            StoreError::Conflict(_) => NextStep::Again,
            _ => NextStep::After(STORE_RETRY),
        }
    }

    /// The store refuses something in this batch. Several go one at a time from now on; a single one has used
    /// up an attempt.
    async fn isolate(&mut self, batch: &[PendingEvent], failure: &StoreError) -> NextStep {
        self.inbox().invalidate();
        if batch.len() > 1 {
            self.singles_left = batch.len();
            return NextStep::Again;
        }
        warn!(app.id = %self.app_id, error = %failure, "a webhook could not be applied");
        let mut unit = Unit::new(self.app_id, self.ports.clock.now());
        for pending in batch {
            record_failed_attempt(pending, &failure.to_string(), &mut unit);
        }
        match self.ports.ledger.commit(Arc::new(unit)).await {
            Ok(_) => NextStep::Again,
            Err(failure) => self.retry_later(&failure),
        }
    }

    pub(super) fn inbox(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
