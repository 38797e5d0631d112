//! One simulation: a store that lasts, and the lives of one process or two over it, each ended by a kill or by a stop.
//!
//! A life is one runtime on one thread. To kill the processes is to drop that runtime, with everything in it, at whatever
//! each task waits for; the store, the sender and the clients remain.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fmt::Display,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::System;
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    Engine, Owned, Stored, Tuning,
    clock::Clock,
    id::{AppId, DialpadCallId, Fence, KeyId},
    ports::{AuthenticatedKey, Inbound, Ledger},
    testing::{MemoryStore, NumberedIds},
};
use futures_util::future::join_all;
use tokio::{
    runtime::Builder,
    task::spawn_local,
    time::{sleep, timeout},
};

use crate::{
    clients::{Client, Kind, follow},
    clock::{VirtualClock, beginning},
    faults::{FaultyStore, Intensity, Plant},
    operator::operate,
    ports::ports,
    random::Random,
    sender::send_lane,
    stories::{Delivery, POISON, Script},
    trace::Trace,
};

/// In what time everything is done once nothing goes wrong any more.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(600);
/// How a life ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill(Duration),
    Stop(Duration),
    /// When everything is done.
    Done(Duration),
}

/// What outlives the processes.
pub(crate) struct World {
    pub(crate) app: AppId,
    /// Whether much happens at once.
    is_rush: bool,
    /// How many processes share the store.
    processes: usize,
    /// The ownership of the app that began last.
    fence: Cell<i64>,
    pub(crate) key: AuthenticatedKey,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) script: Script,
    pub(crate) clients: RefCell<Vec<Client>>,
    pub(crate) trace: Arc<Trace>,
    /// Webhooks that were acknowledged.
    pub(crate) acknowledged: RefCell<BTreeSet<u16>>,
    /// Calls one of whose webhooks was given up by the sender, or waited for the sweep.
    pub(crate) disturbed: RefCell<BTreeSet<DialpadCallId>>,
    lanes: RefCell<Vec<Progress>>,
    pub(crate) crashes: Cell<u32>,
    now: Cell<DateTime<Utc>>,
    clock: RefCell<Option<Arc<VirtualClock>>>,
    problem: RefCell<Option<String>>,
    ids: NumberedIds,
    plant: Plant,
}

/// The processes of one life. They share a runtime, and die together.
pub(crate) struct Processes {
    pub(crate) engines: Vec<Arc<Engine>>,
    pub(crate) store: Arc<FaultyStore>,
    /// Which of them owns the app.
    pub(crate) owner: Cell<usize>,
}

impl Processes {
    /// Returns one of them, as a load balancer does.
    pub(crate) fn any(&self, random: &mut Random) -> &Arc<Engine> {
        &self.engines[random.below(self.engines.len() as u64) as usize]
    }

    fn is_idle(&self) -> bool {
        self.engines.iter().all(|engine| engine.state().is_idle())
    }
}

/// How far the sender has come with a lane.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) next: usize,
    pub(crate) attempts: u32,
    pub(crate) random: Random,
}

impl World {
    pub(crate) fn new(seed: u64, plant: Plant, keeps_trace: bool) -> Rc<Self> {
        let is_rush = Random::of(seed, 4).chance(250);
        let script = Script::random(&mut Random::of(seed, 1), is_rush);
        let start = runtime();
        let clock = {
            let _guard = start.enter();
            Arc::new(VirtualClock::begin(beginning()))
        };
        let ids = NumberedIds::begin(clock);
        let processes = if Random::of(seed, 3).chance(400) { 2 } else { 1 };
        let app = AppId::generate();
        let key = AuthenticatedKey { app_id: app, key_id: KeyId::generate(), expires_at: None };
        let store = Arc::new(MemoryStore::default());
        store.refuse(POISON);
        store.add_key("a key", key);
        for (user, name) in [(71, "ada"), (73, "cyd")] {
            store.map_user(app, user, name);
        }
        let kinds = [Kind::All, Kind::Calls, Kind::Snapshot, Kind::Consumer];
        let client = |(kind, number): (Kind, u64)| Client::new(kind, Random::of(seed, 100 + number));
        let clients = RefCell::new(kinds.into_iter().zip(0..).map(client).collect());
        let lane = |number| Progress { next: 0, attempts: 0, random: Random::of(seed, 1000 + number) };
        let lanes = RefCell::new((0..script.lanes.len() as u64).map(lane).collect());
        Rc::new(Self {
            app,
            is_rush,
            processes,
            fence: Cell::new(0),
            key,
            store,
            script,
            clients,
            trace: Arc::new(Trace::new(keeps_trace)),
            acknowledged: RefCell::default(),
            disturbed: RefCell::default(),
            lanes,
            crashes: Cell::new(0),
            now: Cell::new(beginning()),
            clock: RefCell::default(),
            problem: RefCell::default(),
            ids,
            plant,
        })
    }

    /// Lives all lives.
    ///
    /// # Errors
    /// Says what a client or the sender saw that must not be.
    pub(crate) fn run(self: &Rc<Self>, seed: u64) -> Result<(), String> {
        let mut random = Random::of(seed, 2);
        for number in 0..random.below(5) {
            let length = random.millis(20, 12_000);
            let end = if random.chance(700) { End::Kill(length) } else { End::Stop(length) };
            self.live(seed, number, end, self.intensity(&mut random))?;
        }
        let faulty = random.millis(0, 20_000);
        self.live(seed, 99, End::Done(faulty), self.intensity(&mut random))
    }

    /// Draws how much goes wrong. In a rush the disk is slow, so that webhooks wait for a commit.
    fn intensity(&self, random: &mut Random) -> Intensity {
        Intensity { commit_millis: if self.is_rush { 60 } else { 0 }, ..Intensity::random(random) }
    }

    fn live(self: &Rc<Self>, seed: u64, number: u64, end: End, intensity: Intensity) -> Result<(), String> {
        let system = System::with_tokio_rt(runtime);
        system.block_on(async {
            let clock = Arc::new(VirtualClock::begin(self.now.get()));
            self.ids.follow(clock.clone());
            self.clock.replace(Some(clock.clone()));
            self.step(format_args!("life {number}: {end:?} {intensity:?}"));
            let store = FaultyStore::new(
                self.store.clone(),
                clock.clone(),
                self.trace.clone(),
                self.plant,
                Random::of(seed, 10 + number),
                intensity,
            );
            let start = |_| Engine::start(ports(&store), tuning(self.processes));
            let engines: Vec<_> = (0..self.processes).map(start).collect();
            let owner = Cell::new(Random::of(seed, 300 + number).below(engines.len() as u64) as usize);
            let processes = Rc::new(Processes { engines, store, owner });
            self.begin_ownership(&processes);
            for lane in 0..self.script.lanes.len() {
                spawn_local(send_lane(self.clone(), processes.clone(), lane));
            }
            let count = self.clients.borrow().len();
            let clients: Vec<_> =
                (0..count).map(|who| follow(self.clone(), processes.clone(), who)).collect();
            // In one task, which asks them in a fixed order: a watch channel wakes its receivers in a random one.
            spawn_local(join_all(clients));
            spawn_local(operate(self.clone(), processes.clone(), Random::of(seed, 200 + number)));
            self.end(end, &processes).await;
            self.now.set(clock.now());
            self.clock.replace(None);
        });
        // Everything that the process had in memory is gone with it.
        drop(system);
        self.problem.take().map_or(Ok(()), Err)
    }

    /// Makes the owner's ownership a new one, in the store first.
    pub(crate) fn begin_ownership(&self, processes: &Processes) {
        if self.processes == 1 {
            return;
        }
        self.fence.set(self.fence.get() + 1);
        let fence = Fence(self.fence.get());
        self.store.fence(self.app, fence);
        processes.engines[processes.owner.get()].own(self.app, fence);
        self.step(format_args!("process {} owns the app, {fence:?}", processes.owner.get()));
    }

    async fn end(&self, end: End, processes: &Processes) {
        match end {
            End::Kill(after) => self.live_for(after).await,
            End::Stop(after) => {
                self.live_for(after).await;
                for engine in &processes.engines {
                    if timeout(Duration::from_secs(60), engine.drain()).await.is_err() {
                        self.fail("the engine does not stop".into());
                    }
                }
            }
            End::Done(after) => {
                self.live_for(after).await;
                processes.store.calm_down();
                self.step("nothing goes wrong any more");
                if timeout(SETTLE_TIMEOUT, self.done(processes)).await.is_err() {
                    let states: Vec<_> = processes.engines.iter().map(|engine| engine.state()).collect();
                    self.fail(format!("not done: {}, {states:?}", self.describe()));
                }
            }
        }
    }

    /// Returns after that time, or as soon as something is wrong.
    async fn live_for(&self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while self.problem.borrow().is_none() && tokio::time::Instant::now() < until {
            sleep(Duration::from_millis(50).min(until - tokio::time::Instant::now())).await;
        }
    }

    async fn done(&self, processes: &Processes) {
        loop {
            sleep(Duration::from_millis(100)).await;
            if self.problem.borrow().is_some() || self.is_done(processes).await {
                return;
            }
        }
    }

    async fn is_done(&self, processes: &Processes) -> bool {
        if !self.all_is_sent() || self.store.pending_count() > 0 || !processes.is_idle() {
            return false;
        }
        let later = processes.store.clock.now() + TimeDelta::days(1);
        if self.store.unsettled(later, 1).await.is_ok_and(|unsettled| !unsettled.is_empty()) {
            return false;
        }
        let head = self.store.events(self.app).last().map(|frame| frame.seq);
        self.clients.borrow().iter().all(|client| client.cursor >= head)
    }

    fn all_is_sent(&self) -> bool {
        let lanes = self.lanes.borrow();
        lanes.iter().zip(&self.script.lanes).all(|(progress, lane)| progress.next >= lane.len())
    }

    fn describe(&self) -> String {
        let cursors: Vec<_> = self.clients.borrow().iter().map(|client| client.cursor).collect();
        let (pending, events) = (self.store.pending_count(), self.store.events(self.app).len());
        format!("{pending} pending, {events} events, clients at {cursors:?}")
    }

    pub(crate) fn with_client<T>(&self, who: usize, with: impl FnOnce(&mut Client) -> T) -> T {
        with(&mut self.clients.borrow_mut()[who])
    }

    pub(crate) fn step(&self, what: impl Display) {
        if let Some(clock) = &*self.clock.borrow() {
            self.trace.step(clock, what);
        }
    }

    /// Records that something is wrong. The first one counts.
    pub(crate) fn fail(&self, problem: String) {
        self.step(format_args!("wrong: {problem}"));
        self.problem.borrow_mut().get_or_insert(problem);
    }

    /// Returns the time at which the simulation is.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.now.get()
    }

    pub(crate) fn next_delivery(&self, lane: usize) -> Option<Delivery> {
        self.script.lanes[lane].get(self.lanes.borrow()[lane].next).cloned()
    }

    pub(crate) fn with_lane<T>(&self, lane: usize, with: impl FnOnce(&mut Progress) -> T) -> T {
        with(&mut self.lanes.borrow_mut()[lane])
    }

    pub(crate) fn disturb(&self, content: &Inbound) {
        if let Inbound::Call(event) = content {
            self.disturbed.borrow_mut().insert(event.dialpad_call_id);
        }
    }

    pub(crate) fn acknowledge(&self, delivery: &Delivery, stored: Stored) {
        let (Stored::New(id) | Stored::Duplicate(id)) = stored;
        self.step(format_args!("webhook {}: acknowledged", delivery.key));
        self.acknowledged.borrow_mut().insert(delivery.key);
        if self.store.status(id).is_none() {
            self.fail(format!("webhook {} is acknowledged and not in the journal", delivery.key));
        }
    }
}

/// Returns the runtime of one life. Its time stands still while a task runs, and jumps when all of them wait.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

pub(crate) fn tuning(processes: usize) -> Tuning {
    Tuning {
        threads: 0,
        owned: if processes > 1 { Owned::LeasedApps } else { Owned::AllApps },
        sweep_interval: Duration::from_secs(2),
        interaction_settle: Duration::from_secs(2),
        min_ahead: 1,
        ..Tuning::default()
    }
}
