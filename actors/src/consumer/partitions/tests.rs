use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::*;

/// A group, its feed, and what became of each event.
struct World {
    group: Group,
    feed: Vec<Slot>,
    members: Vec<SessionId>,
    /// Who has which event and has not dealt with it, in the order in which it was given.
    held: BTreeMap<SessionId, Vec<Seq>>,
    done: BTreeSet<Seq>,
}

impl World {
    fn new(members: usize) -> Self {
        let mut world = Self {
            group: Group::new(Seq(0)),
            feed: Vec::new(),
            members: Vec::new(),
            held: BTreeMap::new(),
            done: BTreeSet::new(),
        };
        (0..members).for_each(|_| world.enter());
        world
    }

    fn enter(&mut self) {
        let member = SessionId::generate();
        self.group.enter(member, Seq(0));
        self.members.push(member);
    }

    fn leave(&mut self, which: usize) {
        if self.members.is_empty() {
            return;
        }
        let member = self.members.remove(which % self.members.len());
        self.group.leave(member);
        self.held.remove(&member);
    }

    fn tell(&mut self, thread: u64) {
        self.feed.push(slot_of(thread));
    }

    fn head(&self) -> Seq {
        Seq(i64::try_from(self.feed.len()).expect("few events"))
    }

    /// A member reads a page; says whether it was given something.
    fn read(&mut self, which: usize, most: usize) -> bool {
        let Some(&member) = self.members.get(which % self.members.len().max(1)) else { return false };
        let Standing::At(from) = self.group.standing(member) else { return false };
        let start = usize::try_from(from.0).expect("a place");
        let found: Vec<(Seq, Slot)> =
            (1..).map(Seq).zip(self.feed.iter().copied()).skip(start).take(most).collect();
        let Some(cursor) = found.last().map(|(seq, _)| *seq) else { return false };
        let taken = self.group.take(member, from, cursor, &found).expect("it stands where it said");
        for seq in &taken {
            let slot = self.feed[usize::try_from(seq.0 - 1).expect("a place")];
            assert!(!self.done.contains(seq), "{seq} was dealt with and is given again");
            for (other, held) in &self.held {
                let of_slot =
                    held.iter().filter(|it| self.feed[usize::try_from(it.0 - 1).expect("a place")] == slot);
                for earlier in of_slot {
                    assert!(earlier != seq, "{seq} is given twice");
                    assert!(*other == member, "{seq} is given while another one has {earlier}");
                    assert!(earlier < seq, "{seq} is given behind {earlier}");
                }
            }
            self.held.entry(member).or_default().push(*seq);
        }
        !taken.is_empty()
    }

    /// A member reads as long as there is something for it.
    fn read_on(&mut self, which: usize) {
        let (member, head) = (self.members[which], self.head());
        while matches!(self.group.standing(member), Standing::At(place) if place < head) {
            self.read(which, 1);
        }
    }

    /// A member deals with the first few that it has.
    fn ack(&mut self, which: usize, most: usize) {
        let Some(&member) = self.members.get(which % self.members.len().max(1)) else { return };
        let held = self.held.entry(member).or_default();
        let dealt: Vec<Seq> = held.drain(..most.min(held.len())).collect();
        if let Some(last) = dealt.last() {
            self.group.ack(member, *last);
        }
        self.done.extend(dealt);
    }

    fn check(&self) {
        let low = self.group.low_water();
        let missing = (1..=low.0).map(Seq).find(|seq| !self.done.contains(seq));
        assert_eq!(missing, None, "everything up to {low} is said to be dealt with");
    }

    /// Everybody reads and deals with everything, until nothing comes any more.
    fn settle(&mut self) {
        if self.members.is_empty() {
            self.enter();
        }
        for _ in 0..10_000 {
            let before = (self.done.len(), self.group.low_water());
            for which in 0..self.members.len() {
                while self.read(which, 7) {}
                // Reads on over what is not its own.
                self.read(which, usize::MAX);
                self.ack(which, usize::MAX);
            }
            if before == (self.done.len(), self.group.low_water()) {
                return;
            }
        }
        panic!("it never ends");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enter,
    Leave(usize),
    Tell(u64),
    Read(usize, usize),
    Ack(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Enter),
        1 => (0..4_usize).prop_map(Step::Leave),
        6 => (0..12_u64).prop_map(Step::Tell),
        5 => (0..4_usize, 1..9_usize).prop_map(|(who, most)| Step::Read(who, most)),
        4 => (0..4_usize, 1..5_usize).prop_map(|(who, most)| Step::Ack(who, most)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whoever_comes_and_goes_each_event_is_dealt_with_once_and_those_of_a_call_in_order(
        steps in vec(step(), 1..100),
    ) {
        let mut world = World::new(2);
        for step in steps {
            match step {
                Step::Enter if world.members.len() < 4 => world.enter(),
                Step::Enter => {}
                Step::Leave(which) => world.leave(which),
                Step::Tell(thread) => world.tell(thread),
                Step::Read(which, most) => {
                    world.read(which, most);
                }
                Step::Ack(which, most) => world.ack(which, most),
            }
            world.check();
        }
        world.settle();
        prop_assert_eq!(world.done.len(), world.feed.len());
        prop_assert_eq!(world.group.low_water(), world.head());
    }
}

#[test]
fn the_work_is_spread_over_all() {
    let mut world = World::new(3);
    (0..3000).for_each(|thread| world.tell(thread));
    for which in 0..3 {
        world.read(which, usize::MAX);
    }
    for held in world.held.values() {
        assert!((500..1500).contains(&held.len()), "one of three has {}", held.len());
    }
}

#[test]
fn one_that_deals_with_nothing_is_given_nothing_more_and_holds_up_nobody() {
    let mut world = World::new(2);
    world.group.window = 10;
    (0..200).for_each(|thread| world.tell(thread));
    world.read_on(0);
    let idle = world.members[0];
    assert_eq!(world.group.standing(idle), Standing::Full);
    while world.group.standing(world.members[1]) != Standing::At(world.head()) {
        world.read_on(1);
        world.ack(1, usize::MAX);
    }
    assert!(world.done.len() > 50);
    world.ack(0, 1);
    assert!(matches!(world.group.standing(idle), Standing::At(_)));
}

#[test]
fn an_acknowledgement_of_what_was_never_given_counts_for_nothing() {
    let mut world = World::new(1);
    (0..10).for_each(|thread| world.tell(thread));
    world.read(0, 5);
    assert!(!world.group.ack(world.members[0], Seq(9)));
    assert_eq!(world.group.low_water(), Seq(0));
}

#[test]
fn without_members_somebody_else_may_move_it_on_but_never_back() {
    let mut group = Group::new(Seq(5));
    assert!(group.advance(Seq(9)) && group.advance(Seq(3)));
    assert_eq!(group.low_water(), Seq(9));
    group.enter(SessionId::generate(), Seq(0));
    assert!(!group.advance(Seq(20)));
    assert_eq!(group.low_water(), Seq(9));
}
