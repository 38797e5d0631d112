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
    event::{CallEvent, Direction, EndKind, Knowledge, Leg, Origin, RawMeaning, Signal},
    links::Links,
    millis::Millis,
    presumption::Presumption,
    recording::Recordings,
    status::DialpadState,
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
    /// What only a group's leg has: when it was connected before an operator's leg was named, which can be a menu; when it
    /// was connected according to the webhooks that name one; and when the first of these was sent.
    pub(crate) menu_at: Option<DateTime<Utc>>,
    pub(crate) operator_connect: Option<DateTime<Utc>>,
    pub(crate) operator_seen: Option<DateTime<Utc>>,
    pub(crate) holds: BTreeSet<DateTime<Utc>>,
    pub(crate) resumes: BTreeSet<DateTime<Utc>>,
    /// When the two sides talked, by a state that has no event type here. It ends a hold, and is no sign of the call by
    /// itself.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) talks: BTreeSet<DateTime<Utc>>,
    pub(crate) ends: BTreeMap<EndKind, DateTime<Utc>>,
    pub(super) presumption: Option<Presumption>,
    /// The newest webhook according to which the call was going on.
    pub(super) live_at: Option<DateTime<Utc>>,
    pub(crate) reported_end: Option<DateTime<Utc>>,
    pub(crate) voicemail_started: bool,
    pub(crate) voicemail_left: Option<DateTime<Utc>>,
    /// When there was a transcript: of a voicemail, unless a person answered.
    pub(crate) transcribed_at: Option<DateTime<Utc>>,
    /// The voicemail was deleted: nothing of it is kept, whatever is still reported.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) voicemail_deleted: bool,
    /// A person was erased from it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) was_erased: bool,

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
    /// A webhook said that the call was sent on from this leg.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) was_sent_on: bool,
    pub(crate) merged_at: Option<DateTime<Utc>>,
    /// The legs that it named once, and names no longer.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) named_before: BTreeSet<i64>,
    /// What it was found to belong to: replaced, not merged.
    pub(crate) links: Option<Links>,
    /// What the other legs prove now: replaced, not merged.
    pub(crate) proof: Option<Proof>,
    pub(crate) dialpad_state: Option<Latest<DialpadState>>,
    pub(crate) duration_ms: Option<Latest<Millis>>,
    pub(crate) talk_ms: Option<Latest<Millis>>,
    /// A webhook about the end had a place for the length of talk, and left it empty.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) lacks_talk: bool,
    pub(crate) hold_ms: Option<Latest<Millis>>,
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
    pub(crate) voicemail_duration_ms: Option<Latest<Millis>>,
}

impl CallFacts {
    /// Merges in what one webhook says. Absorbing it again, or in another order, changes nothing. The one exception is
    /// [`EndKind::Unseen`]: a recording that arrives before anything else ends the call, one that arrives while the call
    /// is live does not. The order is forgotten once the end is known.
    pub fn absorb(&mut self, event: &CallEvent) {
        let at = event.at;
        if event.knowledge.is_merged {
            earliest(&mut self.merged_at, Some(at));
        }
        match &event.signal {
            Signal::Raw { meaning: RawMeaning::Nothing, .. } => {
                // It is no ground for a call, but the legs that it names belong together.
                self.name_legs(&event.knowledge);
                return;
            }
            Signal::Ringing => earliest(&mut self.rang_at, Some(at)),
            Signal::Connected => {
                self.connects.insert(at);
                self.absorb_connect(event);
            }
            Signal::Held => {
                self.holds.insert(at);
                self.absorb_connect(event);
            }
            Signal::Resumed => {
                self.resumes.insert(at);
                self.absorb_connect(event);
            }
            Signal::Raw { meaning: RawMeaning::Talking, .. } => {
                self.talks.insert(at);
                self.absorb_connect(event);
            }
            Signal::Ended(kind) => self.absorb_end(*kind, event),
            Signal::PresumedOver { last_news } => {
                self.presume(Presumption { last_news: *last_news, at });
                return;
            }
            Signal::VoicemailStarted => self.voicemail_started = true,
            Signal::VoicemailLeft => {
                earliest(&mut self.voicemail_left, Some(at));
                self.absorb_end(EndKind::Voicemail, event);
            }
            Signal::Raw { meaning: RawMeaning::Transcribed, .. } => {
                earliest(&mut self.transcribed_at, Some(left_at(event)));
            }
            Signal::Learned | Signal::Raw { meaning: RawMeaning::Over, .. } => {}
        }
        if event.signal.is_live() {
            self.live_at = self.live_at.max(Some(at));
        }
        if !event.signal.comes_after_the_call() {
            earliest(&mut self.first_seen, Some(at));
        }
        earliest(&mut self.first_seen, event.knowledge.started_at);
        earliest(&mut self.rang_at, event.knowledge.rang_at);
        if event.knowledge.is_of_a_voicemail() {
            earliest(&mut self.voicemail_left, Some(left_at(event)));
        } else if event.knowledge.voicemail_transcript.is_some() {
            earliest(&mut self.transcribed_at, Some(left_at(event)));
        }
        self.absorb_knowledge(at, &event.knowledge);
        if event.signal.comes_after_the_call() {
            self.absorb_afterword(event);
        }
    }

    /// Replaces what the other legs of the interaction prove.
    pub fn set_proof(&mut self, proof: Proof) {
        self.proof = Some(proof).filter(|proof| *proof != Proof::default());
    }

    /// A payload can have an end long before the call is over, because it is serialised late; only a signal that ends the
    /// call, or comes after it, makes its times facts.
    fn absorb_end(&mut self, kind: EndKind, event: &CallEvent) {
        let end = self.ends.entry(kind).or_insert(event.at);
        *end = event.at.min(*end);
        if kind == EndKind::Unseen {
            return;
        }
        self.ends.remove(&EndKind::Unseen);
        earliest(&mut self.reported_end, event.knowledge.ended_at);
        // The details that the server asks for do not say whether a person answered or the greeting.
        if kind != EndKind::Stated || event.origin == Origin::Webhook {
            self.absorb_connect(event);
        }
    }

    /// What comes after a call says when it ended; or it is all that is known of the call, which has ended then.
    fn absorb_afterword(&mut self, event: &CallEvent) {
        if event.knowledge.ended_at.is_some() {
            self.absorb_end(EndKind::Stated, event);
            return;
        }
        let is_transcript = matches!(event.signal, Signal::Raw { meaning: RawMeaning::Transcribed, .. });
        let is_all_that_is_known =
            !(self.has_ended() || self.was_live()) || self.ends.contains_key(&EndKind::Unseen);
        if is_all_that_is_known || (is_transcript && !self.has_ended() && self.answered_at().is_none()) {
            self.absorb_end(EndKind::Unseen, event);
        }
    }

    fn absorb_connect(&mut self, event: &CallEvent) {
        let CallEvent { at, signal, knowledge, .. } = event;
        earliest(&mut self.reported_connect, knowledge.connected_at);
        let is_live = signal.is_live();
        if knowledge.operator_call_id.is_some() {
            earliest(&mut self.operator_connect, knowledge.connected_at);
            earliest(&mut self.operator_seen, Some(*at).filter(|_| is_live));
        } else if is_live {
            earliest(&mut self.menu_at, knowledge.connected_at.or(Some(*at)));
        }
    }

    fn absorb_knowledge(&mut self, at: DateTime<Utc>, knowledge: &Knowledge) {
        let named = self.leg_ids();
        self.named_before.extend(named.into_iter().flatten().chain(knowledge.leg_ids()));
        self.was_sent_on |= knowledge.is_transferred == Some(true);
        latest(&mut self.direction, at, &knowledge.direction);
        latest(&mut self.from_number, at, &knowledge.from_number);
        latest(&mut self.to_number, at, &knowledge.to_number);
        latest(&mut self.dialpad_user_id, at, &knowledge.dialpad_user_id);
        latest(&mut self.leg, at, &knowledge.leg);
        latest(&mut self.master_call_id, at, &knowledge.master_call_id);
        latest(&mut self.entry_point_call_id, at, &knowledge.entry_point_call_id);
        latest(&mut self.operator_call_id, at, &knowledge.operator_call_id);
        self.forget_names_known();
        latest(&mut self.target_id, at, &knowledge.target_id);
        latest(&mut self.transferred_from, at, &knowledge.transferred_from);
        latest(&mut self.dialpad_state, at, &knowledge.dialpad_state);
        self.lacks_talk |= knowledge.lacks_talk;
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

    /// Returns all ids that it names, or has named, of others.
    pub(crate) fn names(&self) -> impl Iterator<Item = i64> {
        self.leg_ids().into_iter().flatten().chain(self.named_before.iter().copied())
    }

    /// Keeps the legs that a webhook names, whatever else it says.
    fn name_legs(&mut self, knowledge: &Knowledge) {
        self.named_before.extend(knowledge.leg_ids());
        self.forget_names_known();
    }

    fn forget_names_known(&mut self) {
        let current = self.leg_ids();
        self.named_before.retain(|name| !current.contains(&Some(*name)));
    }

    /// Returns the legs that it was found to belong to, although no webhook names them.
    #[must_use]
    pub fn links(&self) -> Links {
        self.links.unwrap_or_default()
    }

    /// Replaces what it was found to belong to.
    pub fn set_links(&mut self, links: Links) {
        self.links = Some(links).filter(|links| *links != Links::default());
    }

    /// Whether a webhook said that the call was sent on from this leg.
    pub(crate) fn was_sent_on(&self) -> bool {
        self.was_sent_on
    }

    /// Returns when it was merged with another leg.
    pub(crate) fn merged_at(&self) -> Option<DateTime<Utc>> {
        self.merged_at
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

/// Returns when the voicemail was left that a webhook knows of. The webhook that says so explicitly may be late or lost;
/// the voicemail existed when the call ended.
fn left_at(event: &CallEvent) -> DateTime<Utc> {
    event.knowledge.ended_at.map_or(event.at, |ended_at| ended_at.min(event.at))
}
