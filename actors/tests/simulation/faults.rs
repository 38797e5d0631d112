//! The ports of the engine over a store in memory, with a fault possible at every call: the scheduler of the simulation.
//!
//! Every call to the store is where a task of the engine waits. It may answer at once, after other tasks have run, or
//! late; it may fail, with or without having written; it may make the task that asked panic.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use cti_actors::{
    Stored,
    clock::Clock,
    error::StoreError,
    id::AppId,
    ports::Inbound,
    testing::MemoryStore,
    unit::{IncomingWebhook, Receipt, Unit},
};
use parking_lot::Mutex;
use tokio::{task::yield_now, time::sleep};

use crate::{clock::VirtualClock, random::Random, trace::Trace};

/// A bug of the store, planted to see that it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Plant {
    /// None.
    #[default]
    Nothing,
    /// Some commits are confirmed that were not written.
    LostCommit,
    /// A pending webhook is marked as processed that was not.
    DroppedWebhook,
    /// A processed webhook is returned as pending again.
    RepeatedWebhook,
    /// A page of the feed lacks an event.
    HoleInAPage,
}

/// How much goes wrong, in permille of the calls, and how slow the disk is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Intensity {
    pub(crate) unavailable: u64,
    pub(crate) answer_lost: u64,
    pub(crate) conflict: u64,
    pub(crate) panic: u64,
    pub(crate) slow: u64,
    pub(crate) outage: u64,
    /// How many milliseconds a commit takes at most.
    pub(crate) commit_millis: i64,
}

impl Intensity {
    pub(crate) fn random(random: &mut Random) -> Self {
        let mut up_to = |most| if random.chance(600) { random.below(most) } else { 0 };
        Self {
            unavailable: up_to(40),
            answer_lost: up_to(60),
            conflict: up_to(120),
            panic: up_to(25),
            slow: up_to(200),
            outage: up_to(12),
            commit_millis: 0,
        }
    }
}

/// The store of one life of the process.
pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<MemoryStore>,
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) trace: Arc<Trace>,
    pub(crate) plant: Plant,
    state: Mutex<State>,
}

struct State {
    random: Random,
    intensity: Intensity,
    /// Until when every call fails.
    outage_until: Option<DateTime<Utc>>,
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answers,
    Fails,
    FailsAfterWriting,
    LosesARace,
    Panics,
    PanicsAfterWriting,
}

impl FaultyStore {
    pub(crate) fn new(
        inner: Arc<MemoryStore>,
        clock: Arc<VirtualClock>,
        trace: Arc<Trace>,
        plant: Plant,
        random: Random,
        intensity: Intensity,
    ) -> Arc<Self> {
        let state = Mutex::new(State { random, intensity, outage_until: None });
        Arc::new(Self { inner, clock, trace, plant, state })
    }

    /// Lets nothing go wrong from now on.
    pub(crate) fn calm_down(&self) {
        let mut state = self.state.lock();
        state.intensity = Intensity::default();
        state.outage_until = None;
    }

    fn draw(&self, writes: bool) -> Fate {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let State { random, intensity, outage_until } = &mut *state;
        if outage_until.is_some_and(|until| now < until) {
            return Fate::Fails;
        }
        let drawn = random.below(1000);
        let mut limit = 0;
        let mut falls = |permille: u64| {
            limit += permille;
            drawn < limit
        };
        if falls(intensity.outage) {
            *outage_until = Some(now + random.millis(50, 5000));
            return Fate::Fails;
        }
        if falls(intensity.unavailable) {
            return Fate::Fails;
        }
        if !writes {
            // Reads crash less often: there are many of them.
            return if falls(intensity.panic / 8) { Fate::Panics } else { Fate::Answers };
        }
        if falls(intensity.answer_lost) {
            return Fate::FailsAfterWriting;
        }
        if falls(intensity.conflict) {
            return Fate::LosesARace;
        }
        if falls(intensity.panic) {
            return if random.chance(500) { Fate::Panics } else { Fate::PanicsAfterWriting };
        }
        Fate::Answers
    }

    /// Lets other tasks run, and time pass.
    async fn pause(&self) {
        let (turns, rest) = {
            let mut state = self.state.lock();
            let slow = state.intensity.slow;
            let random = &mut state.random;
            match random.below(1000) {
                drawn if drawn < slow / 8 => (0, Some(random.millis(200, 2500))),
                drawn if drawn < slow => (0, Some(random.millis(1, 40))),
                drawn if drawn < 500 => (random.below(4), None),
                _ => (0, None),
            }
        };
        for _ in 0..turns {
            yield_now().await;
        }
        if let Some(rest) = rest {
            sleep(rest).await;
        }
    }

    pub(crate) fn happens(&self, permille: u64) -> bool {
        self.state.lock().random.chance(permille)
    }

    /// Decides on a call that writes nothing.
    ///
    /// # Errors
    /// The call fails.
    pub(crate) async fn read(&self, what: &'static str) -> Result<(), StoreError> {
        self.pause().await;
        self.end(what, self.draw(false))
    }

    /// Decides on a call that writes one row, `write`.
    ///
    /// # Errors
    /// The call fails; the row may be written.
    pub(crate) async fn write<T>(
        &self,
        what: &'static str,
        write: impl FnOnce() -> T,
    ) -> Result<T, StoreError> {
        self.pause().await;
        let fate = self.draw(true);
        match fate {
            Fate::Answers | Fate::LosesARace => {
                self.end(what, Fate::Answers)?;
                let written = write();
                self.pause().await;
                Ok(written)
            }
            Fate::FailsAfterWriting => {
                let _ = write();
                Err(self.end(what, fate).err().unwrap_or_else(unavailable))
            }
            // What writes single rows does not panic: it is a request, and its sender repeats it.
            Fate::Fails | Fate::Panics | Fate::PanicsAfterWriting => {
                Err(self.end(what, Fate::Fails).err().unwrap_or_else(unavailable))
            }
        }
    }

    fn end(&self, what: &'static str, fate: Fate) -> Result<(), StoreError> {
        self.trace.step(&self.clock, format_args!("{what}: {fate:?}"));
        match fate {
            Fate::Answers => Ok(()),
            Fate::Panics | Fate::PanicsAfterWriting => panic!("{}", crate::PLANNED_PANIC),
            Fate::Fails | Fate::FailsAfterWriting | Fate::LosesARace => Err(unavailable()),
        }
    }

    /// Appends a webhook to the journal, as a request does.
    ///
    /// # Errors
    /// The store failed; the webhook may be in the journal.
    pub(crate) async fn append(
        &self,
        app: AppId,
        webhook: &IncomingWebhook,
        content: Inbound,
    ) -> Result<Stored, StoreError> {
        self.write("append", || self.inner.append_incoming(app, webhook, content)).await
    }

    pub(crate) async fn commit_unit(&self, unit: Arc<Unit>) -> Result<Receipt, StoreError> {
        use cti_actors::ports::Ledger;
        self.pause().await;
        self.wait_for_disk().await;
        let fate = self.draw(true);
        if matches!(fate, Fate::Fails | Fate::Panics) {
            self.end("commit", fate)?;
        }
        if fate == Fate::LosesARace {
            // Another process has written one of the calls meanwhile: the version guard refuses the unit.
            if let Some(record) = unit.calls.first() {
                self.inner.rewrite_call(unit.app_id, record.call.dialpad_call_id);
            }
        }
        let lost = self.plant == Plant::LostCommit && !unit.calls.is_empty() && self.happens(100);
        let written =
            if lost { self.confirm_only(&unit).await } else { self.inner.commit(Arc::clone(&unit)).await };
        let (events, calls) = (unit.events.len(), unit.calls.len());
        match &written {
            Ok(receipt) => self.trace.step(
                &self.clock,
                format_args!("commit: {calls} calls, {events} events after {}", receipt.last_seq_before),
            ),
            Err(failure) => self.trace.step(&self.clock, format_args!("commit: {failure:.24}")),
        }
        if matches!(fate, Fate::FailsAfterWriting | Fate::PanicsAfterWriting) && written.is_ok() {
            self.end("commit", fate)?;
        }
        self.pause().await;
        written
    }

    async fn wait_for_disk(&self) {
        let wait = {
            let State { random, intensity, .. } = &mut *self.state.lock();
            (intensity.commit_millis > 0).then(|| random.millis(1, intensity.commit_millis))
        };
        if let Some(wait) = wait {
            sleep(wait).await;
        }
    }

    /// Writes the webhooks of a unit and nothing that follows from them.
    async fn confirm_only(&self, unit: &Unit) -> Result<Receipt, StoreError> {
        use cti_actors::ports::Ledger;
        let (calls, interactions, events) = (Vec::new(), Vec::new(), Vec::new());
        self.inner.commit(Arc::new(Unit { calls, interactions, events, ..unit.clone() })).await
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("a simulated fault".into())
}
