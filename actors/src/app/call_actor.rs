//! One live call as an actor: it holds the facts, stages what a batch of webhooks changes, and adopts the change when the
//! supervisor says so.
//!
//! Between [`Apply`] and [`Adopt`] the actor holds two versions of the call. The actors of a batch that could not be
//! written are dropped, and started again from what the store has.

use actix::{Actor, Context, Handler, Message, MessageResult};
use chrono::{DateTime, Utc};
use metrics::gauge;

use super::stats::CallGuard;
use crate::{
    event::{OutEvent, call_event},
    id::{AppId, InteractionId, VoicemailId},
    model::call::{
        self, CallChange, CallCommand, CallRecord, Links, Origin, Snapshot, StoredCall, VoicemailRecord,
    },
};

/// The actor of one call leg. It stops when its last address is dropped; the app's supervisor holds that address.
pub(crate) struct CallActor {
    app_id: AppId,
    /// The call as it is in the store; version 0 for one that is not stored yet.
    settled: StoredCall,
    /// The call as it will be once the batch under way is durable.
    staged: Option<StoredCall>,
    /// Counts this actor.
    _live: CallGuard,
}

/// Decides on a batch of webhooks of this call, in order, and stages the result.
#[derive(Message)]
#[rtype(result = "ApplyOutcome")]
pub(crate) struct Apply {
    /// The webhooks, and what follows for this call from those of others.
    pub commands: Vec<CallCommand>,
    /// The time of the decision.
    pub now: DateTime<Utc>,
    /// The interaction that the call belongs to from now on.
    pub interaction_id: InteractionId,
    /// The links to legs that it does not name, where they are different from now on.
    pub links: Option<Links>,
    /// Whether this continues from what the same batch staged before.
    pub continues: bool,
}

/// What a call decides on a batch.
#[derive(Debug)]
pub(crate) struct ApplyOutcome {
    /// An event that precedes all others: the call belongs to another interaction than was emitted before.
    pub joined: Option<OutEvent>,
    /// For each webhook, in order, the events that it causes.
    pub events: Vec<Vec<OutEvent>>,
    /// The call from now on; `None` when nothing about it changed.
    pub record: Option<CallRecord>,
    /// Its voicemail from now on; `None` when nothing about it changed.
    pub voicemail: Option<VoicemailRecord>,
}

/// Takes what was staged for what the store has: it is durable, or will be before anything that follows from it.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Adopt;

/// Makes the actor panic, as a bug in it would.
#[cfg(feature = "testing")]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Crash;

impl CallActor {
    /// Returns the actor of a call as the store has it, or of a new call.
    #[must_use]
    pub(crate) fn new(app_id: AppId, call: StoredCall, live: CallGuard) -> Self {
        Self { app_id, settled: call, staged: None, _live: live }
    }

    fn apply(&mut self, batch: &Apply) -> ApplyOutcome {
        let now = batch.now;
        // What an earlier batch staged and never settled is dropped: a later one must not adopt it.
        let staged = self.staged.take().filter(|_| batch.continues);
        let mut call = staged.unwrap_or_else(|| self.settled.clone());
        let mut events = Vec::with_capacity(batch.commands.len());
        if let Some(links) = batch.links {
            call.facts.set_links(links);
        }
        let joined = self.join(&mut call, batch);
        for command in &batch.commands {
            let before = call.facts.snapshot();
            let transition = call::apply(&call.facts, command);
            call.facts = transition.facts;
            let snapshot = call.facts.snapshot();
            if snapshot != before {
                call.updated_at = now;
            }
            let mut caused = Vec::with_capacity(transition.changes.len());
            for change in &transition.changes {
                if matches!(change, CallChange::VoicemailReceived | CallChange::VoicemailUpdated) {
                    call.voicemail_id.get_or_insert_with(VoicemailId::generate);
                }
                let (at, origin) = (command.at(), command.origin());
                caused.push(call_event(self.app_id, &call, &snapshot, change, at, origin));
            }
            events.push(caused);
        }
        if call == self.settled {
            return ApplyOutcome { joined, events, record: None, voicemail: None };
        }
        if !call.facts.was_witnessed() {
            // A call of which only a state without an event type was seen is none yet, and is not stored.
            self.staged = Some(call);
            return ApplyOutcome { joined, events, record: None, voicemail: None };
        }

        call.version = self.settled.version + 1;
        let snapshot = call.facts.snapshot();
        let voicemail = self.changed_voicemail(&call, &snapshot, now);
        self.staged = Some(call.clone());
        ApplyOutcome { joined, events, record: Some(CallRecord { call, snapshot }), voicemail }
    }

    /// Moves the call to the interaction that it turned out to belong to. Returns an event if the call was emitted
    /// before.
    fn join(&self, call: &mut StoredCall, batch: &Apply) -> Option<OutEvent> {
        if call.interaction_id == batch.interaction_id {
            return None;
        }
        call.interaction_id = batch.interaction_id;
        if !call.facts.was_witnessed() {
            return None;
        }
        call.updated_at = batch.now;
        let change = CallChange::Updated(vec!["interaction_id"]);
        let snapshot = call.facts.snapshot();
        Some(call_event(self.app_id, call, &snapshot, &change, batch.now, Origin::Webhook))
    }

    /// Returns the voicemail of the call, if anything that is stored with it changed.
    fn changed_voicemail(
        &self,
        call: &StoredCall,
        snapshot: &Snapshot,
        now: DateTime<Utc>,
    ) -> Option<VoicemailRecord> {
        let (id, voicemail) = call.voicemail_id.zip(snapshot.voicemail.clone())?;
        let record = |voicemail, snapshot: &Snapshot| VoicemailRecord {
            id,
            dialpad_call_id: call.dialpad_call_id,
            voicemail,
            direction: snapshot.direction,
            from_number: snapshot.from_number.clone(),
            to_number: snapshot.to_number.clone(),
            dialpad_user_id: snapshot.dialpad_user_id,
            updated_at: now,
        };
        let settled = self.settled.facts.snapshot();
        let was_stored = self.settled.facts.was_witnessed();
        let before =
            settled.voicemail.clone().filter(|_| was_stored).map(|voicemail| record(voicemail, &settled));
        Some(record(voicemail, snapshot)).filter(|after| before.as_ref() != Some(after))
    }
}

impl Actor for CallActor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        gauge!("cti_call_actors").increment(1);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        gauge!("cti_call_actors").decrement(1);
    }
}

impl Handler<Apply> for CallActor {
    type Result = MessageResult<Apply>;

    fn handle(&mut self, batch: Apply, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.apply(&batch))
    }
}

impl Handler<Adopt> for CallActor {
    type Result = ();

    fn handle(&mut self, _: Adopt, _: &mut Self::Context) {
        if let Some(call) = self.staged.take() {
            self.settled = call;
        }
    }
}

#[cfg(feature = "testing")]
impl Handler<Crash> for CallActor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("a call actor crashes on purpose");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::stats::{ProcessCalls, SupervisorStats},
        id::DialpadCallId,
        model::call::{CallEvent, Knowledge, Signal},
    };

    #[test]
    fn what_a_batch_left_unsettled_is_dropped_by_the_next() {
        let now = DateTime::UNIX_EPOCH;
        let id = DialpadCallId(1);
        let ring = CallEvent {
            dialpad_call_id: id,
            at: now,
            signal: Signal::Ringing,
            knowledge: Knowledge::default(),
            origin: Origin::Webhook,
        };
        let call = StoredCall::unseen(id, now);
        let interaction_id = call.interaction_id;
        let mut actor =
            CallActor::new(AppId::generate(), call, SupervisorStats::new(ProcessCalls::new(1)).call_guard());
        let apply = |commands, continues| Apply { commands, now, interaction_id, links: None, continues };
        assert!(actor.apply(&apply(vec![ring.into()], false)).record.is_some());
        assert!(actor.apply(&apply(vec![], true)).record.is_some(), "the same batch goes on from it");
        assert!(actor.apply(&apply(vec![], false)).record.is_none());
        assert_eq!(actor.staged, None, "nothing is left that could be adopted");
    }
}
