//! What is known of one call leg, as a set of facts.
//!
//! Webhooks arrive twice, late and out of order. So a call has no stored status. It has facts that merge like a
//! semilattice ([`CallFacts::absorb`] is commutative, associative and idempotent), and everything that is shown is
//! derived from them (see [`super::snapshot`]). Whatever the order of arrival, the same webhooks make the same call.
//!
//! To add a fact: give it a field whose merge does not depend on the order (a minimum, a set, a [`Latest`]), absorb it
//! here, and let the property tests in `tests/call_model` send it in every order.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    command::Proof,
    event::{CallEvent, Direction, EndKind, Knowledge, Leg, Signal},
    recording::Recordings,
};
use crate::model::latest::{Latest, earliest, latest, value};

/// What is known of one call leg.
#[serde_with::skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallFacts {
    pub(crate) first_seen: Option<DateTime<Utc>>,
    pub(crate) rang_at: Option<DateTime<Utc>>,
    pub(crate) connects: BTreeSet<DateTime<Utc>>,
    pub(crate) reported_connect: Option<DateTime<Utc>>,
    pub(crate) holds: BTreeSet<DateTime<Utc>>,
    pub(crate) resumes: BTreeSet<DateTime<Utc>>,
    pub(crate) ends: BTreeMap<EndKind, DateTime<Utc>>,
    pub(crate) reported_end: Option<DateTime<Utc>>,
    pub(crate) voicemail_started: bool,
    pub(crate) voicemail_left: Option<DateTime<Utc>>,
    /// The voicemail was deleted: nothing of it is kept, whatever is still reported.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) voicemail_deleted: bool,

    pub(crate) direction: Option<Latest<Direction>>,
    pub(crate) from_number: Option<Latest<String>>,
    pub(crate) to_number: Option<Latest<String>>,
    pub(crate) dialpad_user_id: Option<Latest<i64>>,
    pub(crate) leg: Option<Latest<Leg>>,
    pub(crate) master_call_id: Option<Latest<i64>>,
    pub(crate) entry_point_call_id: Option<Latest<i64>>,
    pub(crate) operator_call_id: Option<Latest<i64>>,
    pub(crate) target_id: Option<Latest<i64>>,
    pub(crate) transferred_from: Option<Latest<i64>>,
    /// What the other legs prove now: replaced, not merged.
    pub(crate) proof: Option<Proof>,
    pub(crate) duration_ms: Option<Latest<i64>>,
    pub(crate) talk_ms: Option<Latest<i64>>,
    pub(crate) hold_ms: Option<Latest<i64>>,
    pub(crate) contact_name: Option<Latest<String>>,
    pub(crate) target_name: Option<Latest<String>>,
    pub(crate) is_internal: Option<Latest<bool>>,
    pub(crate) callback_requested: Option<Latest<bool>>,
    /// JSON.
    pub(crate) custom_data: Option<Latest<String>>,
    #[serde(skip_serializing_if = "Recordings::is_empty")]
    pub(super) recordings: Recordings,
    pub(crate) recording_url: Option<Latest<String>>,
    pub(crate) recording_spare_url: Option<Latest<String>>,
    pub(crate) voicemail_id: Option<Latest<String>>,
    pub(crate) voicemail_url: Option<Latest<String>>,
    pub(crate) voicemail_spare_url: Option<Latest<String>>,
    pub(crate) voicemail_transcript: Option<Latest<String>>,
    pub(crate) voicemail_duration_ms: Option<Latest<i64>>,
}

impl CallFacts {
    /// Merges in what one webhook says. Absorbing it again, or in another order, changes nothing.
    pub fn absorb(&mut self, event: &CallEvent) {
        let at = event.at;
        match &event.signal {
            Signal::Raw { .. } => return,
            Signal::Ringing => earliest(&mut self.rang_at, Some(at)),
            Signal::Connected => {
                self.connects.insert(at);
                earliest(&mut self.reported_connect, event.knowledge.connected_at);
            }
            Signal::Held => {
                self.holds.insert(at);
                earliest(&mut self.reported_connect, event.knowledge.connected_at);
            }
            Signal::Resumed => {
                self.resumes.insert(at);
                earliest(&mut self.reported_connect, event.knowledge.connected_at);
            }
            Signal::Ended(kind) => self.absorb_end(*kind, event),
            Signal::VoicemailStarted => self.voicemail_started = true,
            Signal::VoicemailLeft => {
                earliest(&mut self.voicemail_left, Some(at));
                self.absorb_end(EndKind::Voicemail, event);
            }
            Signal::Learned => {}
        }
        if event.signal != Signal::Learned {
            earliest(&mut self.first_seen, Some(at));
        }
        earliest(&mut self.first_seen, event.knowledge.started_at);
        earliest(&mut self.rang_at, event.knowledge.rang_at);
        if event.knowledge.is_of_a_voicemail() {
            // The webhook that says so explicitly may be late or lost. The voicemail existed when the call ended.
            let left_at = event.knowledge.ended_at.map_or(at, |ended_at| ended_at.min(at));
            earliest(&mut self.voicemail_left, Some(left_at));
        }
        self.absorb_knowledge(at, &event.knowledge);
    }

    /// Replaces what the other legs of the interaction prove.
    pub fn set_proof(&mut self, proof: Proof) {
        self.proof = Some(proof).filter(|proof| *proof != Proof::default());
    }

    /// A payload can have an end long before the call is over, because it is serialised late; only a signal that ends the
    /// call makes its times facts.
    fn absorb_end(&mut self, kind: EndKind, event: &CallEvent) {
        let end = self.ends.entry(kind).or_insert(event.at);
        *end = event.at.min(*end);
        earliest(&mut self.reported_end, event.knowledge.ended_at);
        earliest(&mut self.reported_connect, event.knowledge.connected_at);
    }

    fn absorb_knowledge(&mut self, at: DateTime<Utc>, knowledge: &Knowledge) {
        latest(&mut self.direction, at, &knowledge.direction);
        latest(&mut self.from_number, at, &knowledge.from_number);
        latest(&mut self.to_number, at, &knowledge.to_number);
        latest(&mut self.dialpad_user_id, at, &knowledge.dialpad_user_id);
        latest(&mut self.leg, at, &knowledge.leg);
        latest(&mut self.master_call_id, at, &knowledge.master_call_id);
        latest(&mut self.entry_point_call_id, at, &knowledge.entry_point_call_id);
        latest(&mut self.operator_call_id, at, &knowledge.operator_call_id);
        latest(&mut self.target_id, at, &knowledge.target_id);
        latest(&mut self.transferred_from, at, &knowledge.transferred_from);
        latest(&mut self.duration_ms, at, &knowledge.duration_ms);
        latest(&mut self.talk_ms, at, &knowledge.talk_ms);
        latest(&mut self.hold_ms, at, &knowledge.hold_ms);
        latest(&mut self.contact_name, at, &knowledge.contact_name);
        latest(&mut self.target_name, at, &knowledge.target_name);
        latest(&mut self.is_internal, at, &knowledge.is_internal);
        latest(&mut self.callback_requested, at, &knowledge.callback_requested);
        latest(&mut self.custom_data, at, &knowledge.custom_data);
        self.recordings.absorb(at, &knowledge.recordings);
        latest(&mut self.recording_url, at, &knowledge.recording_url);
        latest(&mut self.recording_spare_url, at, &knowledge.recording_spare_url);
        if !self.voicemail_deleted {
            latest(&mut self.voicemail_id, at, &knowledge.voicemail_id);
            latest(&mut self.voicemail_url, at, &knowledge.voicemail_url);
            latest(&mut self.voicemail_spare_url, at, &knowledge.voicemail_spare_url);
            latest(&mut self.voicemail_transcript, at, &knowledge.voicemail_transcript);
            latest(&mut self.voicemail_duration_ms, at, &knowledge.voicemail_duration_ms);
        }
    }

    /// Deletes the content of the voicemail for good; that the call ended there stays. Returns whether that changed
    /// anything.
    pub fn forget_voicemail(&mut self) -> bool {
        let without_voicemail = Self {
            voicemail_deleted: true,
            voicemail_id: None,
            voicemail_url: None,
            voicemail_spare_url: None,
            voicemail_transcript: None,
            voicemail_duration_ms: None,
            ..self.clone()
        };
        let has_changed = *self != without_voicemail;
        *self = without_voicemail;
        has_changed
    }

    /// Returns the ids that link the leg to others of the same human call: master, entry point, operator.
    #[must_use]
    pub fn leg_ids(&self) -> [Option<i64>; 3] {
        [value(&self.master_call_id), value(&self.entry_point_call_id), value(&self.operator_call_id)]
    }

    /// Returns the user or group of the leg.
    #[must_use]
    pub fn target_id(&self) -> Option<i64> {
        value(&self.target_id)
    }

    /// Returns the user or group who sent the call on to this leg.
    #[must_use]
    pub fn transferred_from(&self) -> Option<i64> {
        value(&self.transferred_from)
    }

    /// Returns what the other legs of its interaction prove.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof.unwrap_or_default()
    }

    /// Returns the kind of leg, if a payload said so.
    #[must_use]
    pub fn leg(&self) -> Option<Leg> {
        value(&self.leg)
    }
}
