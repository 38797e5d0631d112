use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::model::sharing::partition_of;

/// A group that owns all partitions, its feed, and what happened to each event.
struct World {
    group: Group,
    feed: Vec<PartitionId>,
    members: Vec<SessionId>,
    /// The events that each member has and has not acknowledged, in the order of delivery.
    unacked: BTreeMap<SessionId, Vec<Seq>>,
    acked: BTreeSet<Seq>,
}

impl World {
    fn new(members: usize) -> Self {
        let mut group = Group::new();
        group.want(&[true; PARTITIONS]);
        group.hold((0..PARTITIONS).map(|id| (id, Seq(0))));
        let mut world = Self {
            group,
            feed: Vec::new(),
            members: Vec::new(),
            unacked: BTreeMap::new(),
            acked: BTreeSet::new(),
        };
        (0..members).for_each(|_| world.join());
        world
    }

    fn join(&mut self) {
        let member = SessionId::generate();
        self.group.join(member, Seq(0));
        self.members.push(member);
    }

    fn leave(&mut self, which: usize) {
        if self.members.is_empty() {
            return;
        }
        let member = self.members.remove(which % self.members.len());
        self.group.leave(member);
        self.unacked.remove(&member);
    }

    fn publish(&mut self, key: u64) {
        self.feed.push(partition_of(key));
    }

    fn low_water(&self) -> Seq {
        self.group.acked().into_iter().min().expect("there are partitions")
    }

    fn head(&self) -> Seq {
        Seq(i64::try_from(self.feed.len()).expect("few events"))
    }

    /// Lets a member read a page. Returns whether events were delivered to it.
    fn read(&mut self, which: usize, most: usize) -> bool {
        let Some(&member) = self.members.get(which % self.members.len().max(1)) else { return false };
        let ReadState::After(from) = self.group.read_state(member) else { return false };
        let start = usize::try_from(from.0).expect("an index");
        let found: Vec<(Seq, PartitionId)> =
            (1..).map(Seq).zip(self.feed.iter().copied()).skip(start).take(most).collect();
        let Some(cursor) = found.last().map(|(seq, _)| *seq) else { return false };
        let delivered = self.group.deliver(member, from, cursor, &found).expect("its position is the same");
        for seq in &delivered {
            let partition = self.feed[usize::try_from(seq.0 - 1).expect("an index")];
            assert!(!self.acked.contains(seq), "{seq} was acknowledged and is delivered again");
            for (other, unacked) in &self.unacked {
                let partition_of = |seq: &Seq| self.feed[usize::try_from(seq.0 - 1).expect("an index")];
                for earlier in unacked.iter().filter(|seq| partition_of(seq) == partition) {
                    assert!(earlier != seq, "{seq} is delivered twice");
                    assert!(*other == member, "{seq} is delivered while another member has {earlier}");
                    assert!(earlier < seq, "{seq} is delivered after {earlier}");
                }
            }
            self.unacked.entry(member).or_default().push(*seq);
        }
        !delivered.is_empty()
    }

    /// Lets a member read up to the head.
    fn read_on(&mut self, which: usize) {
        let (member, head) = (self.members[which], self.head());
        while matches!(self.group.read_state(member), ReadState::After(position) if position < head) {
            self.read(which, 1);
        }
    }

    /// Lets a member acknowledge the first few events that it has.
    fn ack(&mut self, which: usize, most: usize) {
        let Some(&member) = self.members.get(which % self.members.len().max(1)) else { return };
        let unacked = self.unacked.entry(member).or_default();
        let acked: Vec<Seq> = unacked.drain(..most.min(unacked.len())).collect();
        if let Some(last) = acked.last() {
            self.group.ack(member, *last);
        }
        self.acked.extend(acked);
    }

    fn check(&self) {
        let low = self.low_water();
        let missing = (1..=low.0).map(Seq).find(|seq| !self.acked.contains(seq));
        assert_eq!(missing, None, "everything up to {low} is said to be processed");
    }

    /// Lets all members read and acknowledge, until nothing is left.
    fn settle(&mut self) {
        if self.members.is_empty() {
            self.join();
        }
        for _ in 0..10_000 {
            let before = (self.acked.len(), self.low_water());
            for which in 0..self.members.len() {
                while self.read(which, 7) {}
                // Reads past what is not its own.
                self.read(which, usize::MAX);
                self.ack(which, usize::MAX);
            }
            if before == (self.acked.len(), self.low_water()) {
                return;
            }
        }
        panic!("it does not end");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join,
    Leave(usize),
    Publish(u64),
    Read(usize, usize),
    Ack(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Join),
        1 => (0..4_usize).prop_map(Step::Leave),
        6 => (0..12_u64).prop_map(Step::Publish),
        5 => (0..4_usize, 1..9_usize).prop_map(|(who, most)| Step::Read(who, most)),
        4 => (0..4_usize, 1..5_usize).prop_map(|(who, most)| Step::Ack(who, most)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_event_is_processed_once_and_those_of_a_call_in_order(
        steps in vec(step(), 1..100),
    ) {
        let mut world = World::new(2);
        for step in steps {
            match step {
                Step::Join if world.members.len() < 4 => world.join(),
                Step::Join => {}
                Step::Leave(which) => world.leave(which),
                Step::Publish(key) => world.publish(key),
                Step::Read(which, most) => {
                    world.read(which, most);
                }
                Step::Ack(which, most) => world.ack(which, most),
            }
            world.check();
        }
        world.settle();
        prop_assert_eq!(world.acked.len(), world.feed.len());
        prop_assert_eq!(world.low_water(), world.head());
    }
}

#[test]
fn the_work_is_spread_over_all_members() {
    let mut world = World::new(3);
    (0..3000).for_each(|key| world.publish(key));
    for which in 0..3 {
        world.read(which, usize::MAX);
    }
    for unacked in world.unacked.values() {
        assert!((500..1500).contains(&unacked.len()), "one of three has {}", unacked.len());
    }
}

#[test]
fn a_member_that_acknowledges_nothing_gets_no_more_and_delays_no_other() {
    let mut world = World::new(2);
    world.group.max_unacked = 10;
    (0..200).for_each(|key| world.publish(key));
    world.read_on(0);
    let idle = world.members[0];
    assert_eq!(world.group.read_state(idle), ReadState::Waits);
    while world.group.read_state(world.members[1]) != ReadState::After(world.head()) {
        world.read_on(1);
        world.ack(1, usize::MAX);
    }
    assert!(world.acked.len() > 50);
    world.ack(0, 1);
    assert!(matches!(world.group.read_state(idle), ReadState::After(_)));
}

#[test]
fn an_acknowledgement_of_what_was_not_delivered_does_not_count() {
    let mut world = World::new(1);
    (0..10).for_each(|key| world.publish(key));
    world.read(0, 5);
    assert!(!world.group.ack(world.members[0], Seq(9)));
    assert_eq!(world.low_water(), Seq(0));
}

#[test]
fn a_partition_is_given_up_once_nothing_of_it_is_unacknowledged() {
    let mut world = World::new(1);
    (0..2000).for_each(|key| world.publish(key));
    world.read(0, usize::MAX);
    world.group.want(&[false; PARTITIONS]);
    assert!(!(0..PARTITIONS).any(|id| world.group.release(id)));
    world.publish(1);
    assert!(!world.read(0, usize::MAX), "what follows is for another process");
    world.ack(0, usize::MAX);
    assert!((0..PARTITIONS).all(|id| world.group.release(id) && !world.group.holds(id)));
    assert_eq!(world.low_water(), Seq(2000));
}
