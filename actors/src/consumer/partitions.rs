//! How several connections share the work of one consumer. Pure.
//!
//! Calls are spread over slots, and each slot belongs to one connection: so each event goes to exactly one of them, and
//! those of one call go to the same one, in their order. Every connection reads the whole feed and takes what lies in its
//! slots; nothing is queued for anybody. A slot moves when its owner has left or somebody has come, but never while its
//! owner has something of it that it has not dealt with: what follows waits for that. Whoever gets a slot reads again
//! from where the slot stands, and what it had of its other slots is not given to it twice.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::id::{Seq, SessionId};

/// How many slots there are.
const SLOTS: usize = 256;
/// How many events a connection may have that it has not dealt with, give or take a page.
const WINDOW: usize = 10_000;

/// A slot's number.
pub(super) type Slot = u8;

/// A consumer whose connections share the work.
#[derive(Clone, Debug)]
pub(super) struct Group {
    slots: Vec<Partition>,
    members: BTreeMap<SessionId, Member>,
    /// How many events each may have that it has not dealt with.
    window: usize,
}

/// One slot.
#[derive(Clone, Copy, Debug)]
struct Partition {
    /// Everything of it up to here was given away, or is for nobody.
    given: Seq,
    /// Who gets what comes in it.
    owner: Option<SessionId>,
    /// Who is to have it. While that is somebody else than its owner, nobody gets anything of it.
    next_owner: Option<SessionId>,
}

#[derive(Clone, Debug)]
struct Member {
    /// Everything up to here was read by it.
    position: Seq,
    /// What was given to it that it has not dealt with, in the order in which it was given.
    unacked: VecDeque<(Seq, Slot)>,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It reads on behind this place.
    At(Seq),
    /// It has too much already that it has not dealt with.
    Full,
    /// It does not belong to the group.
    Out,
}

impl Group {
    /// A group without members that has dealt with everything up to here.
    pub(super) fn new(acked: Seq) -> Self {
        let slots = vec![Partition { given: acked, owner: None, next_owner: None }; SLOTS];
        Self { slots, members: BTreeMap::new(), window: WINDOW }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = SessionId> {
        self.members.keys().copied()
    }

    /// Everything up to here is dealt with, whoever did.
    pub(super) fn low_water(&self) -> Seq {
        let given = self.slots.iter().map(|share| share.given).min().unwrap_or_default();
        let unacked = self.members.values().flat_map(|member| &member.unacked);
        unacked.map(|(seq, _)| Seq(seq.0 - 1)).fold(given, Seq::min)
    }

    /// Whether more is dealt with than everything up to one place.
    pub(super) fn is_uneven(&self) -> bool {
        self.slots.iter().any(|share| share.given != self.slots[0].given)
    }

    /// Everything up to here is dealt with, says somebody who is none of its connections. `false` while it has any: they
    /// know better what they were given.
    pub(super) fn advance(&mut self, acked: Seq) -> bool {
        if !self.members.is_empty() {
            return false;
        }
        for share in &mut self.slots {
            share.given = share.given.max(acked);
        }
        true
    }

    /// A connection comes and gets its share. Elsewhere everything up to `acked` was dealt with.
    pub(super) fn enter(&mut self, member: SessionId, acked: Seq) {
        self.advance(acked);
        // Nothing that it reads is further than what it will own; `hand_over` brings it back to that.
        let position = self.slots.iter().map(|share| share.given).max().unwrap_or_default();
        self.members.insert(member, Member { position, unacked: VecDeque::new() });
        self.share_out();
    }

    /// A connection leaves. What it had not dealt with goes to the others.
    pub(super) fn leave(&mut self, member: SessionId) {
        let Some(Member { unacked, .. }) = self.members.remove(&member) else { return };
        for (seq, slot) in unacked {
            let share = &mut self.slots[usize::from(slot)];
            share.given = share.given.min(Seq(seq.0 - 1));
        }
        for share in self.slots.iter_mut().filter(|share| share.owner == Some(member)) {
            share.owner = None;
        }
        self.share_out();
    }

    pub(super) fn standing(&self, member: SessionId) -> Standing {
        match self.members.get(&member) {
            None => Standing::Out,
            Some(member) if member.unacked.len() >= self.window => Standing::Full,
            Some(member) => Standing::At(member.position),
        }
    }

    /// A connection has read from `from` up to `cursor`, and found these events. Gives those of them that are given to
    /// it; `None` where it stands elsewhere by now and has to read again.
    pub(super) fn take(
        &mut self,
        id: SessionId,
        from: Seq,
        cursor: Seq,
        found: &[(Seq, Slot)],
    ) -> Option<Vec<Seq>> {
        let member = self.members.get_mut(&id).filter(|member| member.position == from)?;
        let mut taken = Vec::new();
        for (seq, slot) in found {
            let share = &self.slots[usize::from(*slot)];
            if share.is_for(id) && *seq > share.given {
                member.unacked.push_back((*seq, *slot));
                taken.push(*seq);
            }
        }
        member.position = cursor;
        for share in self.slots.iter_mut().filter(|share| share.is_for(id)) {
            share.given = share.given.max(cursor);
        }
        Some(taken)
    }

    /// A connection has dealt with this event and with all that were given to it before. Says whether anybody may have
    /// something new to read.
    pub(super) fn ack(&mut self, member: SessionId, seq: Seq) -> bool {
        let Some(member) = self.members.get_mut(&member) else { return false };
        // By the order in which they were given, which is not always that of `seq`.
        let Some(place) = member.unacked.iter().position(|(given, _)| *given == seq) else { return false };
        let was_full = member.unacked.len() >= self.window;
        member.unacked.drain(..=place);
        self.hand_over() || was_full
    }

    /// Decides anew who is to have which slot.
    fn share_out(&mut self) {
        for (slot, share) in self.slots.iter_mut().enumerate() {
            share.next_owner = self.members.keys().copied().max_by_key(|member| weight(*member, slot));
            // One that was to lose it and keeps it after all has read on meanwhile, without what came in it.
            let cursor_store = share.owner.filter(|owner| share.next_owner == Some(*owner));
            if let Some(cursor_store) =
                cursor_store.and_then(|cursor_store| self.members.get_mut(&cursor_store))
            {
                cursor_store.position = cursor_store.position.min(share.given);
            }
        }
        self.hand_over();
    }

    /// Gives the slots that can move to whoever is to have them. Says whether any has moved.
    fn hand_over(&mut self) -> bool {
        if self.slots.iter().all(|share| share.owner == share.next_owner) {
            return false;
        }
        let mut held = [false; SLOTS];
        for (_, slot) in self.members.values().flat_map(|member| &member.unacked) {
            held[usize::from(*slot)] = true;
        }
        let mut moved = false;
        for (share, held) in self.slots.iter_mut().zip(held) {
            if share.owner == share.next_owner || held {
                continue;
            }
            share.owner = share.next_owner;
            if let Some(next_owner) =
                share.next_owner.and_then(|next_owner| self.members.get_mut(&next_owner))
            {
                next_owner.position = next_owner.position.min(share.given);
                moved = true;
            }
        }
        moved
    }
}

impl Partition {
    fn is_for(&self, member: SessionId) -> bool {
        self.owner == Some(member) && self.next_owner == Some(member)
    }
}

/// Of several members, the one with the greatest weight has the slot. When one comes or goes, only its slots move.
fn weight(member: SessionId, slot: usize) -> u64 {
    let (high, low) = member.0.as_u64_pair();
    mix(mix(high ^ slot as u64) ^ low)
}

/// Spreads numbers that lie close to each other (the last step of SplitMix64).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The slot of everything with this key.
pub(super) fn slot_of(key: u64) -> Slot {
    mix(key.wrapping_add(0x9e37_79b9_7f4a_7c15)).to_le_bytes()[7]
}
