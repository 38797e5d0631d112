use std::{collections::BTreeSet, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{id::Epoch, model::sharing::partition_of};

/// Several processes, the store, and what happened to each event.
struct World {
    now: Instant,
    /// The record in the store, and its version.
    version: i64,
    sharing: Sharing,
    feed: Vec<PartitionId>,
    processes: Vec<Process>,
    /// What was acknowledged and stored: nobody may get it again.
    durable: BTreeSet<Seq>,
    next_number: ProcessNumber,
}

struct Process {
    number: ProcessNumber,
    shared: Shared,
    /// A paused process does nothing. Afterwards it goes on as if no time had passed.
    is_paused: bool,
    /// Its connections, and what each has and has not acknowledged, in the order of delivery.
    members: Vec<(SessionId, Vec<Seq>)>,
    /// What its connections have acknowledged and is not stored yet.
    acked: BTreeSet<Seq>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: Instant::now(),
            version: 1,
            sharing: Sharing::new(Epoch::default(), true, Seq(0)),
            feed: Vec::new(),
            processes: Vec::new(),
            durable: BTreeSet::new(),
            next_number: 1,
        };
        (0..2).for_each(|_| world.start());
        world
    }

    fn start(&mut self) {
        let shared = Shared::new(self.now);
        let number = self.next_number;
        self.next_number += 1;
        let (members, acked) = (Vec::new(), BTreeSet::new());
        self.processes.push(Process { number, shared, is_paused: false, members, acked });
        self.join(self.processes.len() - 1);
    }

    fn join(&mut self, which: usize) {
        let position = self.sharing.high_water();
        let member = SessionId::generate();
        self.processes[which].shared.join(member, position);
        self.processes[which].members.push((member, Vec::new()));
        self.sync(which, false);
    }

    fn head(&self) -> Seq {
        Seq(i64::try_from(self.feed.len()).expect("few events"))
    }

    fn partition(&self, seq: Seq) -> PartitionId {
        self.feed[usize::try_from(seq.0 - 1).expect("an index")]
    }

    /// Brings a process and the store into agreement. `is_unknown`: the store is written, and the process does not hear of it.
    fn sync(&mut self, which: usize, is_unknown: bool) {
        let process = &mut self.processes[which];
        if process.is_paused {
            return;
        }
        let mut found = None;
        for _ in 0..2 {
            let Some(save) = process.shared.prepare(process.number, found.take(), self.now) else {
                found = Some((self.version, self.sharing.clone()));
                continue;
            };
            if save.known != self.version {
                found = Some((self.version, self.sharing.clone()));
                continue;
            }
            self.version += 1;
            self.sharing = save.sharing.clone();
            let is_out = !self.sharing.processes.contains_key(&process.number);
            let stored = process.acked.iter().copied().filter(|seq| {
                let place = self.sharing.partitions
                    [usize::from(self.feed[usize::try_from(seq.0 - 1).expect("an index")])];
                place.acked >= *seq
            });
            let stored: Vec<Seq> = stored.collect();
            for seq in stored {
                process.acked.remove(&seq);
                self.durable.insert(seq);
            }
            if is_unknown {
                process.shared.mark_failed();
            } else {
                process.shared.adopt(process.number, self.version, save, self.now);
            }
            assert!(!is_out || process.members.is_empty());
            return;
        }
        process.shared.mark_failed();
    }

    /// Forgets what was taken from a process: it is still with its connections, and no longer theirs.
    fn forget_taken(&mut self) {
        for Process { shared, members, .. } in &mut self.processes {
            for (member, unacked) in members {
                unacked.retain(|seq| shared.has_unacked(*member, *seq));
            }
        }
    }

    /// Lets a connection read a page.
    fn read(&mut self, which: usize, member: usize, most: usize) -> bool {
        self.forget_taken();
        let process = &mut self.processes[which];
        if process.is_paused || process.members.is_empty() {
            return false;
        }
        let member = member % process.members.len();
        let (id, _) = process.members[member];
        let ReadState::After(from) = process.shared.read_state(id, self.now) else { return false };
        let start = usize::try_from(from.0).expect("an index");
        let found: Vec<(Seq, PartitionId)> =
            (1..).map(Seq).zip(self.feed.iter().copied()).skip(start).take(most).collect();
        let Some(cursor) = found.last().map(|(seq, _)| *seq) else { return false };
        let delivered =
            process.shared.deliver(id, (from, cursor), &found, self.now).expect("valid a moment ago");
        for seq in &delivered {
            assert!(!self.durable.contains(seq), "{seq} was acknowledged and is delivered again");
            let partition = self.partition(*seq);
            for other in self.processes.iter().filter(|other| other.shared.is_valid(self.now)) {
                for (holder, unacked) in &other.members {
                    for earlier in unacked.iter().filter(|it| self.partition(**it) == partition) {
                        assert!(earlier != seq, "{seq} is delivered to two");
                        assert!(
                            *holder == id && earlier < seq,
                            "{seq} is delivered while {earlier} is unacknowledged"
                        );
                    }
                }
            }
        }
        self.processes[which].members[member].1.extend(&delivered);
        !delivered.is_empty()
    }

    /// Lets a connection acknowledge the first few events that it has.
    fn ack(&mut self, which: usize, member: usize, most: usize) {
        let process = &mut self.processes[which];
        if process.is_paused || process.members.is_empty() {
            return;
        }
        let member = member % process.members.len();
        let (id, unacked) = &mut process.members[member];
        let acked: Vec<Seq> = unacked.drain(..most.min(unacked.len())).collect();
        for seq in acked {
            if process.shared.has_unacked(*id, seq) {
                process.acked.insert(seq);
            }
            process.shared.ack(*id, seq);
        }
    }

    fn leave(&mut self, which: usize) {
        let process = &mut self.processes[which];
        if process.members.len() > 1 {
            let (id, _) = process.members.remove(0);
            process.shared.leave(id);
        }
    }

    fn kill(&mut self, which: usize) {
        if self.processes.len() > 1 {
            self.processes.remove(which);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn check(&self) {
        let low = self.sharing.low_water();
        let missing = (1..=low.0).map(Seq).find(|seq| !self.durable.contains(seq));
        assert_eq!(missing, None, "everything up to {low} is said to be processed");
    }

    /// Lets everybody go on until nothing is left.
    fn settle(&mut self) {
        self.processes.iter_mut().for_each(|process| process.is_paused = false);
        for _ in 0..60 {
            for which in 0..self.processes.len() {
                self.sync(which, false);
                for member in 0..self.processes[which].members.len() {
                    while self.read(which, member, 50) {}
                    self.read(which, member, usize::MAX);
                    self.ack(which, member, usize::MAX);
                }
                self.sync(which, false);
            }
            if self.sharing.low_water() == self.head() {
                return;
            }
            self.pass(BEAT_INTERVAL);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Start,
    Kill(usize),
    Pause(usize),
    Resume(usize),
    Join(usize),
    Leave(usize),
    Publish(u64),
    Read(usize, usize, usize),
    Ack(usize, usize, usize),
    Sync(usize, bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Start),
        1 => (0..4_usize).prop_map(Step::Kill),
        1 => (0..4_usize).prop_map(Step::Pause),
        2 => (0..4_usize).prop_map(Step::Resume),
        1 => (0..4_usize).prop_map(Step::Join),
        1 => (0..4_usize).prop_map(Step::Leave),
        8 => (0..12_u64).prop_map(Step::Publish),
        8 => (0..4_usize, 0..3_usize, 1..9_usize).prop_map(|(who, member, most)| Step::Read(who, member, most)),
        6 => (0..4_usize, 0..3_usize, 1..5_usize).prop_map(|(who, member, most)| Step::Ack(who, member, most)),
        8 => (0..4_usize, prop::bool::weighted(0.1)).prop_map(|(who, unknown)| Step::Sync(who, unknown)),
        4 => (100..1500_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_acknowledged_is_delivered_once_whichever_process_dies(steps in vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            let among = |which: usize| which % world.processes.len();
            match step {
                Step::Start if world.processes.len() < 4 => world.start(),
                Step::Start => {}
                Step::Kill(which) => world.kill(among(which)),
                Step::Pause(which) => { let which = among(which); world.processes[which].is_paused = true; }
                Step::Resume(which) => { let which = among(which); world.processes[which].is_paused = false; }
                Step::Join(which) => {
                    let which = among(which);
                    if !world.processes[which].is_paused && world.processes[which].members.len() < 3 {
                        world.join(which);
                    }
                }
                Step::Leave(which) => {
                    let which = among(which);
                    if !world.processes[which].is_paused {
                        world.leave(which);
                    }
                }
                Step::Publish(key) => world.feed.push(partition_of(key)),
                Step::Read(which, member, most) => { let which = among(which); world.read(which, member, most); }
                Step::Ack(which, member, most) => { let which = among(which); world.ack(which, member, most); }
                Step::Sync(which, unknown) => { let which = among(which); world.sync(which, unknown); }
                Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
            }
            world.check();
        }
        world.settle();
        prop_assert_eq!(world.durable.len(), world.feed.len());
        prop_assert_eq!(world.sharing.low_water(), world.head());
    }
}

#[test]
fn the_partitions_of_a_killed_process_go_on_within_five_seconds() {
    let mut world = World::new();
    (0..2000).for_each(|key| world.feed.push(partition_of(key)));
    for _ in 0..4 {
        (0..2).for_each(|which| world.sync(which, false));
    }
    while world.read(0, 0, 100) {}
    world.ack(0, 0, 300);
    world.sync(0, false);
    world.kill(0);
    let killed_at = world.now;
    while world.durable.len() < world.feed.len() {
        world.pass(Duration::from_millis(600));
        world.sync(0, false);
        while world.read(0, 0, 100) {}
        world.read(0, 0, usize::MAX);
        world.ack(0, 0, usize::MAX);
        assert!(world.now - killed_at < Duration::from_secs(5), "{:?}", world.now - killed_at);
    }
}

#[test]
fn connections_of_two_processes_share_the_partitions_and_a_new_one_gets_its_part() {
    let mut world = World::new();
    let held = |world: &World, which: usize| {
        let number = world.processes[which].number;
        world.sharing.partitions.iter().filter(|place| place.owner == Some(number)).count()
    };
    for _ in 0..3 {
        (0..world.processes.len()).for_each(|which| world.sync(which, false));
    }
    assert_eq!(held(&world, 0) + held(&world, 1), 256);
    assert!(held(&world, 0) > 64 && held(&world, 1) > 64, "{} {}", held(&world, 0), held(&world, 1));
    world.start();
    for _ in 0..3 {
        (0..world.processes.len()).for_each(|which| world.sync(which, false));
    }
    assert_eq!(held(&world, 0) + held(&world, 1) + held(&world, 2), 256);
    assert!(held(&world, 2) > 40, "{}", held(&world, 2));
}

#[test]
fn an_acknowledgement_that_another_process_received_reaches_the_connection() {
    let mut world = World::new();
    (0..300).for_each(|key| world.feed.push(partition_of(key)));
    for _ in 0..4 {
        (0..2).for_each(|which| world.sync(which, false));
    }
    while world.read(0, 0, 100) {}
    let (member, unacked) = world.processes[0].members[0].clone();
    world.processes[0].acked = unacked.iter().copied().collect();
    assert!(world.sharing.leave_ack(member, *unacked.last().expect("some")));
    world.version += 1;
    world.sync(0, false);
    assert!(world.sharing.acks.is_empty());
    assert_eq!(world.durable, unacked.into_iter().collect());
}
