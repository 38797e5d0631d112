//! What [`correlate`](super::correlate), [`calls`](super::calls) and [`interactions`](super::interactions) share of a
//! supervisor's state.

use std::collections::BTreeSet;

use actix::{Actor, Addr};
use chrono::{DateTime, Utc};

use super::{
    call_actor::{ApplyOutcome, CallActor},
    inbox::SharedInbox,
    missing_leg::MissingLegReporter,
    recent_legs::RecentLegs,
    roster::{InteractionRef, Roster},
    stats::SupervisorStats,
};
use crate::{
    id::{AppId, DialpadCallId},
    model::call::{Status, StoredCall},
    ports::Ledger,
};

/// The live calls of an app, and what their batches need.
pub(super) struct CallContext<'p> {
    pub(super) app_id: AppId,
    pub(super) ledger: &'p dyn Ledger,
    pub(super) inbox: &'p SharedInbox,
    pub(super) roster: &'p mut Roster<Addr<CallActor>>,
    /// Calls whose actor crashed: their webhooks are applied one at a time, to find the one that causes it.
    pub(super) quarantined: &'p mut BTreeSet<DialpadCallId>,
    pub(super) recent_legs: &'p mut RecentLegs,
    pub(super) missing_legs: &'p MissingLegReporter,
    /// Whether a call that begins to ring is taken for a new one, which the store confirms with the unit of work.
    pub(super) expects_new: bool,
    /// The calls of the batch that were taken for new ones.
    pub(super) unseen: &'p mut Vec<DialpadCallId>,
    pub(super) stats: &'p SupervisorStats,
}

impl CallContext<'_> {
    /// Starts the actor of a call.
    pub(super) fn start_actor(
        &mut self,
        call: StoredCall,
        interaction_ref: InteractionRef,
        now: DateTime<Utc>,
    ) -> Addr<CallActor> {
        let id = call.dialpad_call_id;
        // Of a call that is new nothing is known yet.
        let ended = call.version > 0 && call.facts.snapshot().status == Status::Ended;
        let actor = CallActor::new(self.app_id, call, self.stats.call_guard()).start();
        self.roster.insert(id, actor.clone(), interaction_ref, now, ended);
        actor
    }

    /// Records that a call has decided on webhooks.
    pub(super) fn touch(&mut self, call: DialpadCallId, outcome: &ApplyOutcome, now: DateTime<Utc>) {
        let ended = outcome.record.as_ref().map(|record| record.snapshot.status == Status::Ended);
        self.roster.touch(call, now, ended);
    }
}
