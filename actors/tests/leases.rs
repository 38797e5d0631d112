//! Leases of apps, held by processes that are killed, paused and started, over a table in memory with a clock of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    id::{AppId, Fence},
    model::lease::{FreeLease, LeaseMachine, ProcessId, TakeoverReason, View},
};
use proptest::prelude::*;

/// How long a process counts as alive after it has renewed.
const LEASE: TimeDelta = TimeDelta::milliseconds(3500);
/// How often a process has a round.
const ROUND: TimeDelta = TimeDelta::milliseconds(500);
/// The step of the clock.
const TICK: TimeDelta = TimeDelta::milliseconds(50);
/// After this time without a change, every app has an owner that is alive: the lease, the time that the preferred processes
/// have, and two rounds.
const TAKEOVER_TIMEOUT: TimeDelta = TimeDelta::milliseconds(3500 + 3000 + 1000);

/// The tables, as the database has them: statements are atomic, and the time is theirs.
#[derive(Default)]
struct Table {
    now: DateTime<Utc>,
    processes: BTreeMap<ProcessId, Row>,
    leases: BTreeMap<AppId, Lease>,
    /// The indexes of the leases.
    released: BTreeSet<AppId>,
    owned: BTreeMap<ProcessId, BTreeSet<AppId>>,
    /// Who held each app under each fence.
    history: BTreeMap<(AppId, Fence), ProcessId>,
    statements: u64,
}

struct Row {
    expires_at: DateTime<Utc>,
    is_stopping: bool,
}

#[derive(Default)]
struct Lease {
    owner: Option<ProcessId>,
    fence: Fence,
}

impl Table {
    fn is_alive(&self, process: &ProcessId) -> bool {
        self.processes.get(process).is_some_and(|row| row.expires_at > self.now)
    }

    fn renew(&mut self, process: &ProcessId, is_stopping: bool) {
        self.statements += 1;
        self.processes.insert(process.clone(), Row { expires_at: self.now + LEASE, is_stopping });
    }

    fn candidates(&mut self) -> Vec<ProcessId> {
        self.statements += 1;
        let alive = self.processes.iter().filter(|(_, row)| row.expires_at > self.now && !row.is_stopping);
        alive.map(|(process, _)| process.clone()).collect()
    }

    fn free(&mut self) -> Vec<FreeLease> {
        self.statements += 1;
        let of_dead = self.owned.iter().filter(|(owner, _)| !self.is_alive(owner)).flat_map(|(_, apps)| apps);
        let free = of_dead.chain(&self.released).map(|app| {
            let lease = &self.leases[app];
            let reason = match &lease.owner {
                None if lease.fence == Fence(0) => TakeoverReason::New,
                None => TakeoverReason::Released,
                Some(_) => TakeoverReason::Expired,
            };
            FreeLease { app: *app, fence: lease.fence, reason }
        });
        free.collect()
    }

    fn count(&self, process: &ProcessId) -> usize {
        self.owned.get(process).map_or(0, BTreeSet::len)
    }

    fn held(&mut self, process: &ProcessId) -> BTreeMap<AppId, Fence> {
        self.statements += 1;
        let held = self.owned.get(process).into_iter().flatten();
        held.map(|app| (*app, self.leases[app].fence)).collect()
    }

    fn take(&mut self, process: &ProcessId, lease: FreeLease) -> Option<Fence> {
        let row = &self.leases[&lease.app];
        if row.fence != lease.fence || row.owner.as_ref().is_some_and(|owner| self.is_alive(owner)) {
            return None;
        }
        let fence = Fence(row.fence.0 + 1);
        self.set_owner(lease.app, Some(process.clone()), fence);
        let second = self.history.insert((lease.app, fence), process.clone());
        assert_eq!(second, None, "two owners at one fence");
        Some(fence)
    }

    fn release(&mut self, process: &ProcessId, app: AppId, fence: Fence) {
        let row = &self.leases[&app];
        if row.owner.as_ref() == Some(process) && row.fence == fence {
            self.set_owner(app, None, fence);
        }
    }

    fn set_owner(&mut self, app: AppId, owner: Option<ProcessId>, fence: Fence) {
        let former = self.leases.insert(app, Lease { owner: owner.clone(), fence });
        if let Some(former) = former.and_then(|lease| lease.owner) {
            self.owned.entry(former).or_default().remove(&app);
        }
        match owner {
            Some(owner) => {
                self.released.remove(&app);
                self.owned.entry(owner).or_default().insert(app);
            }
            None => _ = self.released.insert(app),
        }
    }

    fn all_are_owned(&self) -> bool {
        let of_dead =
            |(owner, apps): (&ProcessId, &BTreeSet<AppId>)| !apps.is_empty() && !self.is_alive(owner);
        self.released.is_empty() && !self.owned.iter().any(of_dead)
    }
}

/// A process, with what it believes to hold.
struct Process {
    id: ProcessId,
    machine: LeaseMachine,
    held: BTreeMap<AppId, Fence>,
    next_round: DateTime<Utc>,
    paused_until: Option<DateTime<Utc>>,
    is_stopping: bool,
}

impl Process {
    fn start(name: String, at: DateTime<Utc>) -> Self {
        let id = ProcessId::from(name);
        Self {
            machine: LeaseMachine::new(id.clone()),
            id,
            held: BTreeMap::new(),
            next_round: at,
            paused_until: None,
            is_stopping: false,
        }
    }

    /// Returns how many apps it took and gave up.
    fn round(&mut self, table: &mut Table) -> (usize, usize) {
        table.renew(&self.id, self.is_stopping);
        if table.count(&self.id) != self.held.len() {
            self.held = table.held(&self.id);
        }
        let (processes, free) = (table.candidates(), table.free());
        let view = View { now: table.now, processes: &processes, held: &self.held, free: &free };
        let decision = self.machine.decide(view);
        table.statements += u64::from(!decision.take.is_empty()) + u64::from(!decision.give_up.is_empty());
        for lease in &decision.take {
            if let Some(fence) = table.take(&self.id, *lease) {
                self.held.insert(lease.app, fence);
            }
        }
        for app in &decision.give_up {
            if let Some(fence) = self.held.remove(app) {
                table.release(&self.id, *app, fence);
            }
        }
        self.next_round = table.now + ROUND;
        (decision.take.len(), decision.give_up.len())
    }
}

/// Processes over one table.
struct Cluster {
    table: Table,
    processes: Vec<Process>,
    /// Those that were killed or stopped.
    gone: Vec<ProcessId>,
    started: usize,
    taken: usize,
    given_up: usize,
}

impl Cluster {
    fn new(apps: usize) -> Self {
        let mut table = Table { now: DateTime::UNIX_EPOCH + TimeDelta::days(20_000), ..Table::default() };
        table.leases = (0..apps).map(|_| (AppId::generate(), Lease::default())).collect();
        table.released = table.leases.keys().copied().collect();
        Self { table, processes: Vec::new(), gone: Vec::new(), started: 0, taken: 0, given_up: 0 }
    }

    fn start(&mut self) {
        self.started += 1;
        let offset = TICK * i32::try_from(self.started % 10).expect("a small number");
        self.processes.push(Process::start(format!("process-{}", self.started), self.table.now + offset));
    }

    /// Lets this time pass. Every tick, each process that runs tries to write under the fences that it believes in.
    fn run(&mut self, time: TimeDelta) {
        let until = self.table.now + time;
        while self.table.now < until {
            self.table.now += TICK;
            let now = self.table.now;
            for process in &mut self.processes {
                if process.paused_until.is_some_and(|until| now < until) {
                    continue;
                }
                process.paused_until = None;
                if process.next_round <= now {
                    let (taken, given_up) = process.round(&mut self.table);
                    self.taken += taken;
                    self.given_up += given_up;
                }
            }
            self.processes.retain(|process| !process.is_stopping || !process.held.is_empty());
        }
    }

    fn kill(&mut self, index: usize) {
        let killed = self.processes.remove(index);
        self.gone.push(killed.id);
    }

    fn stop(&mut self, index: usize) {
        self.processes[index].is_stopping = true;
        self.gone.push(self.processes[index].id.clone());
    }

    fn all_are_owned(&self) -> bool {
        self.table.all_are_owned() && self.gone.iter().all(|gone| self.table.count(gone) == 0)
    }

    /// Returns how long it takes until everything is owned by processes that run.
    fn until_all_are_owned(&mut self) -> TimeDelta {
        let began = self.table.now;
        while !self.all_are_owned() {
            assert!(self.table.now - began < TimeDelta::minutes(2), "apps stay without an owner");
            self.run(TICK);
        }
        self.table.now - began
    }
}

/// What happens to a process.
#[derive(Clone, Copy, Debug)]
enum Incident {
    Start,
    Kill(usize),
    Stop(usize),
    Pause(usize, i64),
    Nothing(i64),
}

fn incidents() -> impl Strategy<Value = Vec<Incident>> {
    let incident = prop_oneof![
        2 => Just(Incident::Start),
        1 => any::<usize>().prop_map(Incident::Kill),
        1 => any::<usize>().prop_map(Incident::Stop),
        2 => (any::<usize>(), 500..30_000i64).prop_map(|(which, time)| Incident::Pause(which, time)),
        2 => (100..8_000i64).prop_map(Incident::Nothing),
    ];
    prop::collection::vec(incident, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_fence_has_two_owners_and_every_app_is_owned_in_time(incidents in incidents()) {
        let mut cluster = Cluster::new(40);
        cluster.start();
        for incident in incidents {
            let running = cluster.processes.len();
            match incident {
                Incident::Start if running < 6 => cluster.start(),
                Incident::Kill(which) if running > 1 => cluster.kill(which % running),
                Incident::Stop(which) if running > 1 => cluster.stop(which % running),
                Incident::Pause(which, time) if running > 1 => {
                    let until = cluster.table.now + TimeDelta::milliseconds(time);
                    cluster.processes[which % running].paused_until = Some(until);
                }
                Incident::Nothing(time) => cluster.run(TimeDelta::milliseconds(time)),
                _ => {}
            }
            cluster.run(TimeDelta::milliseconds(300));
        }
        if cluster.processes.iter().all(|process| process.is_stopping) {
            cluster.start();
        }
        // Those that are paused come back first: the bound counts from the last change.
        cluster.run(TimeDelta::seconds(31));
        let time = cluster.until_all_are_owned();
        prop_assert!(time <= TAKEOVER_TIMEOUT, "{time}");

        // No app is owned under a fence by another process than the one that believes so.
        for process in &cluster.processes {
            for (app, fence) in &process.held {
                prop_assert_eq!(cluster.table.history.get(&(*app, *fence)), Some(&process.id));
            }
        }

        // With the same processes, everything comes to rest, and then nothing moves any more.
        cluster.run(TimeDelta::seconds(120));
        let (taken, given_up) = (cluster.taken, cluster.given_up);
        cluster.run(TimeDelta::seconds(120));
        prop_assert_eq!((taken, given_up), (cluster.taken, cluster.given_up), "apps move back and forth");
    }
}

#[test]
fn a_new_process_gets_its_apps_a_few_at_a_time_and_each_app_moves_once() {
    let mut cluster = Cluster::new(100);
    cluster.start();
    cluster.run(TimeDelta::seconds(10));
    assert_eq!((cluster.taken, cluster.given_up), (100, 0));
    cluster.start();
    cluster.run(TimeDelta::seconds(4));
    assert_eq!(cluster.given_up, 0, "a process that may only be about to fail gets nothing");
    cluster.run(TimeDelta::seconds(60));
    let moved = cluster.given_up;
    assert!((30..70).contains(&moved), "{moved}");
    assert_eq!(cluster.taken, 100 + moved, "each was taken once");
    assert!(cluster.table.all_are_owned());
}

#[test]
fn a_process_that_hangs_and_still_renews_does_not_get_the_same_app_again_and_again() {
    let mut cluster = Cluster::new(50);
    cluster.start();
    cluster.run(TimeDelta::seconds(10));
    // It renews, as a healthy process does, and never takes anything.
    let sick = ProcessId::from("a sick process".to_owned());
    for _ in 0..300 {
        cluster.table.renew(&sick, false);
        cluster.run(TimeDelta::milliseconds(400));
    }
    let apps = cluster.table.leases.len();
    assert!(cluster.given_up <= 2 * apps, "{} moves of {apps} apps in two minutes", cluster.given_up);
}

#[test]
fn a_hundred_processes_share_ten_thousand_apps() {
    const PROCESSES: usize = 100;
    const APPS: usize = 10_000;
    let began = Instant::now();
    let mut cluster = Cluster::new(APPS);
    for _ in 0..PROCESSES {
        cluster.start();
    }
    cluster.run(ROUND * 2);
    let first = cluster.until_all_are_owned() + ROUND * 2;
    let mut before = usize::MAX;
    while before != cluster.given_up {
        before = cluster.given_up;
        cluster.run(TimeDelta::seconds(8));
    }
    let statements = cluster.table.statements;
    cluster.run(TimeDelta::seconds(10));
    assert_eq!(cluster.given_up, before, "nothing moves without a change");
    let rate = (cluster.table.statements - statements) / 10;
    assert!(rate <= 6 * PROCESSES as u64, "{rate} statements a second");
    let shares: Vec<usize> = cluster.processes.iter().map(|process| process.held.len()).collect();
    let (least, most) = (shares.iter().min().expect("processes"), shares.iter().max().expect("processes"));

    // One is killed.
    let (taken, lost) = (cluster.taken, cluster.processes[40].held.len());
    cluster.kill(40);
    let killed = cluster.until_all_are_owned();
    assert!(killed < TimeDelta::seconds(5), "{killed}");
    assert_eq!(cluster.taken - taken, lost, "only its own apps move");

    // One is stopped.
    cluster.stop(10);
    let stopped = cluster.until_all_are_owned();
    assert!(stopped < TimeDelta::seconds(1), "{stopped}");

    // One joins.
    let (began_at, given_up) = (cluster.table.now, cluster.given_up);
    cluster.start();
    let mut last = cluster.given_up;
    let mut moved_at = began_at;
    for _ in 0..120 {
        cluster.run(ROUND);
        if cluster.given_up > last {
            last = cluster.given_up;
            moved_at = cluster.table.now;
        }
    }
    let moved = cluster.given_up - given_up;
    assert!(moved < 3 * APPS / PROCESSES, "{moved} apps moved for one new process");

    // A rack with a tenth of them loses its power.
    for _ in 0..PROCESSES / 10 {
        cluster.kill(0);
    }
    let rack = cluster.until_all_are_owned();
    assert!(rack < TimeDelta::seconds(5), "{rack}");
    let owners: BTreeSet<_> = cluster.table.leases.values().filter_map(|lease| lease.owner.clone()).collect();
    eprintln!(
        "{PROCESSES} processes, {APPS} apps: all owned after {first}; {rate} statements/s at rest; {least} to {most} apps \
         each; one killed: owned again after {killed}; one stopped: after {stopped}; one joins: {moved} apps moved \
         within {}; ten killed: after {rack}; {} owners at the end; {:?} of real time",
        moved_at - began_at,
        owners.len(),
        began.elapsed()
    );
}
