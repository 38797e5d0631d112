//! One simulation: a store that lasts, and the lives of a process over it, each ended by a kill or by a stop.
//!
//! A life is one runtime on one thread. To kill the process is to drop that runtime, with everything in it, at whatever
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
    Engine, Stored, Tuning,
    clock::Clock,
    id::{AppId, DialpadCallId, KeyId},
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
    ports::ports,
    random::Random,
    stories::{Delivery, POISON, Script},
    trace::Trace,
};

/// How long a webhook waits for the supervisor to begin with it: as in the server.
const TAKE_TIMEOUT: Duration = Duration::from_millis(300);
/// After how long the sender gives an attempt up.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a webhook is sent before its sender gives it up.
const MAX_ATTEMPTS: u32 = 8;
/// In what time everything is done once nothing goes wrong any more.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(600);
/// How many actors of calls crash at most.
const MAX_CRASHES: u32 = 3;

/// How a life ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill(Duration),
    Stop(Duration),
    /// When everything is done.
    Done(Duration),
}

/// What outlives the process.
pub(crate) struct World {
    pub(crate) app: AppId,
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
    crashes: Cell<u32>,
    now: Cell<DateTime<Utc>>,
    clock: RefCell<Option<Arc<VirtualClock>>>,
    problem: RefCell<Option<String>>,
    ids: NumberedIds,
    plant: Plant,
}

/// How far the sender has come with a lane.
#[derive(Clone, Debug)]
struct Progress {
    next: usize,
    attempts: u32,
    random: Random,
}

impl World {
    pub(crate) fn new(seed: u64, plant: Plant, keeps_trace: bool) -> Rc<Self> {
        let script = Script::random(&mut Random::of(seed, 1));
        let start = runtime();
        let clock = {
            let _guard = start.enter();
            Arc::new(VirtualClock::begin(beginning()))
        };
        let ids = NumberedIds::begin(clock);
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
            self.live(seed, number, end, Intensity::random(&mut random))?;
        }
        let faulty = random.millis(0, 20_000);
        self.live(seed, 99, End::Done(faulty), Intensity::random(&mut random))
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
            let engine = Engine::start(ports(&store), tuning());
            for lane in 0..self.script.lanes.len() {
                spawn_local(send_lane(self.clone(), engine.clone(), store.clone(), lane));
            }
            let count = self.clients.borrow().len();
            let clients: Vec<_> = (0..count).map(|who| follow(self.clone(), engine.clone(), who)).collect();
            // In one task, which asks them in a fixed order: a watch channel wakes its receivers in a random one.
            spawn_local(join_all(clients));
            spawn_local(operate(self.clone(), engine.clone(), Random::of(seed, 200 + number)));
            self.end(end, &engine, &store).await;
            self.now.set(clock.now());
            self.clock.replace(None);
        });
        // Everything that the process had in memory is gone with it.
        drop(system);
        self.problem.take().map_or(Ok(()), Err)
    }

    async fn end(&self, end: End, engine: &Arc<Engine>, store: &Arc<FaultyStore>) {
        match end {
            End::Kill(after) => self.live_for(after).await,
            End::Stop(after) => {
                self.live_for(after).await;
                if timeout(Duration::from_secs(60), engine.drain()).await.is_err() {
                    self.fail("the engine does not stop".into());
                }
            }
            End::Done(after) => {
                self.live_for(after).await;
                store.calm_down();
                self.step("nothing goes wrong any more");
                if timeout(SETTLE_TIMEOUT, self.done(engine, store)).await.is_err() {
                    let state = engine.state();
                    self.fail(format!("not done: {}, {state:?}", self.describe()));
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

    async fn done(&self, engine: &Arc<Engine>, store: &Arc<FaultyStore>) {
        loop {
            sleep(Duration::from_millis(100)).await;
            if self.problem.borrow().is_some() || self.is_done(engine, store).await {
                return;
            }
        }
    }

    async fn is_done(&self, engine: &Arc<Engine>, store: &Arc<FaultyStore>) -> bool {
        let lanes = self.lanes.borrow();
        let all_sent =
            lanes.iter().zip(&self.script.lanes).all(|(progress, lane)| progress.next >= lane.len());
        drop(lanes);
        if !all_sent || self.store.pending_count() > 0 || !engine.state().is_idle() {
            return false;
        }
        let later = store.clock.now() + TimeDelta::days(1);
        if self.store.unsettled(later, 1).await.is_ok_and(|unsettled| !unsettled.is_empty()) {
            return false;
        }
        let head = self.store.events(self.app).last().map(|frame| frame.seq);
        self.clients.borrow().iter().all(|client| client.cursor >= head)
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

    fn next_delivery(&self, lane: usize) -> Option<Delivery> {
        self.script.lanes[lane].get(self.lanes.borrow()[lane].next).cloned()
    }

    fn with_lane<T>(&self, lane: usize, with: impl FnOnce(&mut Progress) -> T) -> T {
        with(&mut self.lanes.borrow_mut()[lane])
    }

    fn disturb(&self, content: &Inbound) {
        if let Inbound::Call(event) = content {
            self.disturbed.borrow_mut().insert(event.dialpad_call_id);
        }
    }

    fn acknowledge(&self, delivery: &Delivery, stored: Stored) {
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

pub(crate) fn tuning() -> Tuning {
    Tuning {
        threads: 0,
        sweep_interval: Duration::from_secs(2),
        interaction_settle: Duration::from_secs(2),
        ..Tuning::default()
    }
}

/// Sends the webhooks of one lane, as Dialpad does: one after the other, each until it is acknowledged or given up.
async fn send_lane(world: Rc<World>, engine: Arc<Engine>, store: Arc<FaultyStore>, lane: usize) {
    while let Some(delivery) = world.next_delivery(lane) {
        let wait = (delivery.at - store.clock.millis()).max(0);
        sleep(Duration::from_millis(wait.unsigned_abs())).await;
        let attempts = world.with_lane(lane, |progress| {
            progress.attempts += 1;
            progress.attempts
        });
        let sent = timeout(SEND_TIMEOUT, send(&world, &engine, &store, lane, &delivery)).await;
        let is_over = match sent {
            Ok(Some(stored)) => {
                world.acknowledge(&delivery, stored);
                true
            }
            _ if attempts >= MAX_ATTEMPTS => {
                world.step(format_args!("webhook {}: given up", delivery.key));
                world.disturb(&delivery.content);
                true
            }
            _ => {
                let pause = world.with_lane(lane, |progress| progress.random.millis(200, 3000));
                sleep(pause).await;
                false
            }
        };
        if is_over {
            world.with_lane(lane, |progress| (progress.next, progress.attempts) = (progress.next + 1, 0));
        }
    }
}

/// Sends one webhook: the path of a request, without its HTTP. `None`: the answer is no acknowledgement.
async fn send(
    world: &Rc<World>,
    engine: &Arc<Engine>,
    store: &Arc<FaultyStore>,
    lane: usize,
    delivery: &Delivery,
) -> Option<Stored> {
    let content = delivery.content.clone();
    let (webhook, content) = world.store.incoming(delivery.key, store.clock.now(), content);
    if let Ok(submission) = engine.submit(world.app, webhook.clone(), content.clone())
        && let Ok(stored) = submission.stored(TAKE_TIMEOUT).await
    {
        return Some(stored);
    }
    let stored = store.append(world.app, &webhook, content).await.ok()?;
    if world.with_lane(lane, |progress| progress.random.chance(100)) {
        // The supervisor is not notified: the sweep finds it.
        world.disturb(&delivery.content);
    } else {
        engine.notify(world.app);
    }
    Some(stored)
}

/// Does now and then what others do to the engine.
async fn operate(world: Rc<World>, engine: Arc<Engine>, mut random: Random) {
    loop {
        sleep(random.millis(100, 4000)).await;
        let action = random.below(6);
        world.step(format_args!("action {action}"));
        match action {
            0 if world.crashes.get() < MAX_CRASHES => {
                let calls: Vec<_> = world.store.calls(world.app);
                if !calls.is_empty() {
                    let call = calls[random.below(calls.len() as u64) as usize].call.dialpad_call_id;
                    world.crashes.set(world.crashes.get() + 1);
                    let crashed = engine.crash_call(world.app, call).await;
                    world.step(format_args!("the actor of call {call} crashed: {crashed}"));
                }
            }
            1 => drop(engine.sweep().await),
            2 => engine.forget_calls(world.app).await,
            3 => engine.notify(world.app),
            4 => drop(engine.settle_interactions().await),
            _ => engine.forget_feed(world.app),
        }
    }
}
