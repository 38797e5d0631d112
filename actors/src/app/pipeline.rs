//! The work of an app's supervisor: a batch of webhooks, its call actors, one unit of work, the feed.
//!
//! ```text
//! inbox or journal ─► call actors (Apply) ─► one Unit ─► ledger.commit ─► call actors (Settle) ─► feed
//! ```
//!
//! Nothing is told before it is durable. Whatever goes wrong on the way, the webhooks are still pending in the
//! journal and come again; one that can't be applied is given up after [`MOST_ATTEMPTS`] and never holds up the
//! others for longer.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Actor, Addr};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use metrics::counter;
use tracing::{error, warn};

use super::{
    inbox::{Inbox, Next},
    roster::{Restart, Roster},
};
use crate::{
    call::{Apply, ApplyOutcome, CallActor, CallEvent, Settle, Status},
    engine::Ports,
    error::StoreError,
    feed::{Feed, Frame, OutEvent},
    id::{AppId, DialpadCallId},
    message::{self, MessageEvent, StoredMessage},
    ports::{Inbound, PendingEvent},
    unit::Unit,
};

/// How often a webhook is tried.
pub(crate) const MOST_ATTEMPTS: u16 = 3;
/// How many webhooks share a unit of work.
const BATCH: usize = 256;
/// How long to wait for a database that is away.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// Everything an app's supervisor works with. It is handed from one batch to the next.
pub(crate) struct Pipeline {
    app_id: AppId,
    ports: Ports,
    inbox: Arc<Mutex<Inbox>>,
    feed: Arc<Feed>,
    roster: Roster<Addr<CallActor>>,
    /// Calls whose actor crashed on a batch: their webhooks go one at a time, to find the one that does it.
    cautious: BTreeSet<DialpadCallId>,
    /// So many webhooks go one at a time, because the store refused a batch that they were part of.
    one_by_one: usize,
}

/// What to do after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Look for more.
    Again,
    /// Everything is done.
    Idle,
    /// Something is wrong outside; try again after this time.
    After(Duration),
}

/// The webhooks of one call within a batch.
struct Group {
    call: DialpadCallId,
    /// Their places in the batch.
    places: Vec<usize>,
    events: Vec<CallEvent>,
    /// Whether some were left for the next batch.
    deferred: bool,
}

impl Pipeline {
    pub(crate) fn new(app_id: AppId, ports: Ports, inbox: Arc<Mutex<Inbox>>, feed: Arc<Feed>) -> Self {
        let (roster, cautious) = (Roster::default(), BTreeSet::new());
        Self { app_id, ports, inbox, feed, roster, cautious, one_by_one: 0 }
    }

    pub(crate) fn evict_idle(&mut self) {
        self.roster.evict_idle(self.ports.clock.now());
    }

    #[cfg(feature = "testing")]
    pub(crate) fn call_actor(&self, call: DialpadCallId) -> Option<Addr<CallActor>> {
        self.roster.get(call).cloned()
    }

    /// Works off one batch.
    pub(crate) async fn step(&mut self) -> Pace {
        let batch = match self.next_batch().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return Pace::Idle,
            Err(failure) => return self.fall_back(&failure),
        };
        match self.process(&batch).await {
            Ok(pace) => {
                self.one_by_one = self.one_by_one.saturating_sub(batch.len());
                pace
            }
            Err(failure @ (StoreError::Rejected(_) | StoreError::Corrupt { .. })) => {
                self.isolate(&batch, &failure).await
            }
            Err(failure) => self.fall_back(&failure),
        }
    }

    async fn next_batch(&mut self) -> Result<Option<Vec<PendingEvent>>, StoreError> {
        let limit = if self.one_by_one > 0 { 1 } else { BATCH };
        let next = self.inbox().next(limit);
        match next {
            Next::Nothing => Ok(None),
            Next::Events(events) => Ok(Some(events)),
            Next::ReadJournal => {
                let events = self.ports.journal.pending(self.app_id, limit).await?;
                self.inbox().note_read(&events, limit);
                Ok(Some(events).filter(|events| !events.is_empty()))
            }
        }
    }

    async fn process(&mut self, batch: &[PendingEvent]) -> Result<Pace, StoreError> {
        let now = self.ports.clock.now();
        let mut unit = Unit::new(self.app_id, now);
        let mut told: Vec<Vec<OutEvent>> = vec![Vec::new(); batch.len()];
        let mut pace = Pace::Again;

        let (groups, messages) = self.sort_out(batch, &mut unit);
        self.wake_actors(&groups, now).await?;
        let mut staged = Vec::new();
        for (group, outcome) in self.apply(groups, now).await {
            match outcome {
                Some(outcome) => {
                    self.take_over(batch, &group, outcome, &mut unit, &mut told, now);
                    staged.push(group);
                }
                None => pace = self.note_crash(batch, &group, &mut unit, now),
            }
        }
        self.apply_messages(batch, &messages, &mut unit, &mut told).await?;
        unit.events = told.into_iter().flatten().collect();
        self.commit(unit, &staged).await?;
        if staged.iter().any(|group| group.deferred) {
            self.inbox().doubt();
        }
        Ok(pace)
    }

    /// Sorts a batch by call, in order of first appearance, and by message. What can't be read fails here.
    fn sort_out<'b>(
        &self,
        batch: &'b [PendingEvent],
        unit: &mut Unit,
    ) -> (Vec<Group>, Vec<(usize, &'b MessageEvent)>) {
        let mut groups: Vec<Group> = Vec::new();
        let mut by_call: HashMap<DialpadCallId, usize> = HashMap::new();
        let mut messages = Vec::new();
        for (place, pending) in batch.iter().enumerate() {
            match &pending.content {
                Err(reason) => unit.failed.push((pending.id, reason.clone())),
                Ok(Inbound::Message(event)) => messages.push((place, event)),
                Ok(Inbound::Call(event)) => {
                    let call = event.dialpad_call_id;
                    let index = *by_call.entry(call).or_insert_with(|| {
                        groups.push(Group { call, places: Vec::new(), events: Vec::new(), deferred: false });
                        groups.len() - 1
                    });
                    let group = &mut groups[index];
                    if self.cautious.contains(&call) && !group.places.is_empty() {
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

    /// Starts the actors that are not awake: from the store where it knows the call, else as new.
    async fn wake_actors(&mut self, groups: &[Group], now: DateTime<Utc>) -> Result<(), StoreError> {
        let asleep: Vec<DialpadCallId> =
            groups.iter().map(|group| group.call).filter(|call| self.roster.get(*call).is_none()).collect();
        if asleep.is_empty() {
            return Ok(());
        }
        let known = self.ports.ledger.calls(self.app_id, &asleep).await?;
        let mut known: HashMap<_, _> = known.into_iter().map(|call| (call.dialpad_call_id, call)).collect();
        for id in asleep {
            let actor = match known.remove(&id) {
                Some(call) => CallActor::restored(self.app_id, call),
                None => CallActor::unseen(self.app_id, id, now),
            };
            self.roster.insert(id, actor.start(), now);
        }
        Ok(())
    }

    /// Lets every call decide on its webhooks; `None` for one whose actor died over it.
    async fn apply(&self, groups: Vec<Group>, now: DateTime<Utc>) -> Vec<(Group, Option<ApplyOutcome>)> {
        let decisions = groups.into_iter().map(|mut group| async move {
            let events = std::mem::take(&mut group.events);
            let outcome = match self.roster.get(group.call) {
                Some(actor) => actor.send(Apply { events, now }).await.ok(),
                None => None,
            };
            (group, outcome)
        });
        join_all(decisions).await
    }

    fn take_over(
        &mut self,
        batch: &[PendingEvent],
        group: &Group,
        outcome: ApplyOutcome,
        unit: &mut Unit,
        told: &mut [Vec<OutEvent>],
        now: DateTime<Utc>,
    ) {
        let ended = outcome.record.as_ref().is_some_and(|record| record.snapshot.status == Status::Ended);
        self.roster.touch(group.call, now, ended);
        for (place, events) in group.places.iter().zip(outcome.told) {
            told[*place] = events;
            unit.processed.push(batch[*place].id);
        }
        unit.calls.extend(outcome.record);
        unit.voicemails.extend(outcome.voicemail);
        if !group.deferred {
            self.cautious.remove(&group.call);
        }
    }

    /// A call actor died over its webhooks. If it was one, that one has used up an attempt; if there were
    /// several, they come again one at a time.
    fn note_crash(
        &mut self,
        batch: &[PendingEvent],
        group: &Group,
        unit: &mut Unit,
        now: DateTime<Utc>,
    ) -> Pace {
        counter!("cti_call_actor_crashes_total").increment(1);
        warn!(app.id = %self.app_id, call.id = %group.call, "a call actor died and is rebuilt from the store");
        if let [place] = group.places[..] {
            penalise(&batch[place], "the call could not take this event", unit);
        }
        self.cautious.insert(group.call);
        self.inbox().doubt();
        match self.roster.crashed(group.call, now) {
            Restart::Allowed => Pace::Again,
            Restart::After(pause) => {
                error!(app.id = %self.app_id, pause_s = pause.num_seconds(), "too many call actors died; pausing");
                Pace::After(pause.to_std().unwrap_or(STORE_RETRY))
            }
        }
    }

    async fn apply_messages(
        &self,
        batch: &[PendingEvent],
        messages: &[(usize, &MessageEvent)],
        unit: &mut Unit,
        told: &mut [Vec<OutEvent>],
    ) -> Result<(), StoreError> {
        if messages.is_empty() {
            return Ok(());
        }
        let ids: BTreeSet<String> =
            messages.iter().map(|(_, event)| event.dialpad_message_id.clone()).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let known = self.ports.ledger.messages(self.app_id, &ids).await?;
        let mut known: HashMap<String, StoredMessage> =
            known.into_iter().map(|message| (message.dialpad_message_id.clone(), message)).collect();
        let mut changed: BTreeSet<String> = BTreeSet::new();
        for (place, event) in messages {
            let id = &event.dialpad_message_id;
            let (facts, news) = message::apply(known.get(id).map(|message| &message.facts), event);
            let message = known
                .entry(id.clone())
                .or_insert_with(|| StoredMessage::unseen(id.clone(), facts.clone(), unit.decided_at));
            if news.is_some() {
                message.updated_at = unit.decided_at;
            }
            if message.facts != facts || message.version == 0 {
                // One write per message and batch, whatever the number of its webhooks.
                message.version += i64::from(changed.insert(id.clone()));
                message.facts = facts;
            }
            told[*place].extend(news.map(|news| message::tell(self.app_id, message, news, event.at)));
            unit.processed.push(batch[*place].id);
        }
        unit.messages.extend(changed.iter().filter_map(|id| known.remove(id)));
        Ok(())
    }

    /// Commits, then acts: memory and the feed follow what is durable.
    async fn commit(&mut self, unit: Unit, staged: &[Group]) -> Result<(), StoreError> {
        if unit.is_empty() {
            return Ok(());
        }
        let unit = Arc::new(unit);
        let committed = self.ports.ledger.commit(Arc::clone(&unit)).await;
        let settle = if committed.is_ok() { Settle::Adopt } else { Settle::Discard };
        for group in staged {
            if let Some(actor) = self.roster.get(group.call) {
                actor.do_send(settle);
            }
        }
        if matches!(committed, Err(StoreError::Conflict(_))) {
            // What the actors hold is not what the store holds: let them be rebuilt.
            for group in staged {
                self.roster.remove(group.call);
            }
        }
        let receipt = committed?;
        let mut seq = receipt.told_before;
        let frames = unit.events.iter().map(|event| {
            seq = seq.next();
            counter!("cti_events_told_total", "type" => event.kind.clone()).increment(1);
            Frame::new(seq, event.kind.clone(), event.dialpad_user_id, &event.body)
        });
        self.feed.publish(frames.collect());
        Ok(())
    }

    /// The store is away or somebody else wrote first: everything comes again from the journal.
    fn fall_back(&mut self, failure: &StoreError) -> Pace {
        self.inbox().doubt();
        warn!(app.id = %self.app_id, error = %failure, "a batch could not be written and will be tried again");
        match failure {
            StoreError::Conflict(_) => Pace::Again,
            _ => Pace::After(STORE_RETRY),
        }
    }

    /// The store refuses something in this batch. Several go one at a time from now on; a single one has used
    /// up an attempt.
    async fn isolate(&mut self, batch: &[PendingEvent], failure: &StoreError) -> Pace {
        self.inbox().doubt();
        if batch.len() > 1 {
            self.one_by_one = batch.len();
            return Pace::Again;
        }
        warn!(app.id = %self.app_id, error = %failure, "a webhook could not be applied");
        let mut unit = Unit::new(self.app_id, self.ports.clock.now());
        for pending in batch {
            penalise(pending, &failure.to_string(), &mut unit);
        }
        match self.ports.ledger.commit(Arc::new(unit)).await {
            Ok(_) => Pace::Again,
            Err(failure) => self.fall_back(&failure),
        }
    }

    fn inbox(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn penalise(pending: &PendingEvent, reason: &str, unit: &mut Unit) {
    if pending.attempts + 1 < MOST_ATTEMPTS {
        unit.retried.push(pending.id);
    } else {
        counter!("cti_webhooks_given_up_total").increment(1);
        unit.failed.push((pending.id, reason.to_owned()));
    }
}
