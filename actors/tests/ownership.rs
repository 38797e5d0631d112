//! An engine that shares its apps with other processes: it works on those that it owns.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    NotTaken, Owned, Stored,
    clock::Clock,
    id::{AppId, DialpadCallId, Fence},
    model::call::{CallEvent, EndKind, Knowledge, Origin, Signal},
    ports::Inbound,
    state::SupervisorState,
    testing::{TestEngine, eventually},
};

/// How long a webhook waits for its supervisor.
const TAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HANGUP: Signal = Signal::Ended(EndKind::Hangup);

struct World {
    engine: TestEngine,
    app: AppId,
}

impl World {
    fn new() -> Self {
        Self { engine: TestEngine::start_with(Owned::LeasedApps), app: AppId::generate() }
    }

    /// Makes the app this engine's, in the store as well.
    fn own(&self, fence: i64) {
        self.engine.store.fence(self.app, Fence(fence));
        self.engine.own(self.app, Fence(fence));
    }

    /// Writes a webhook into the journal, as another process does.
    fn append(&self, call: i64, second: i64, signal: Signal) {
        self.engine.store.append(self.app, self.engine.clock.now(), Ok(content(call, second, signal)));
    }

    async fn submit(&self, call: i64, second: i64, signal: Signal) -> Result<Stored, NotTaken> {
        let key = u16::try_from(call * 100 + second).expect("a small number");
        let now = self.engine.clock.now();
        let (webhook, content) = self.engine.store.incoming(key, now, content(call, second, signal));
        self.engine.submit(self.app, webhook, content)?.stored(TAKE_TIMEOUT).await
    }

    fn emitted(&self) -> Vec<String> {
        self.engine.store.events(self.app).iter().map(|frame| frame.event_type.to_string()).collect()
    }

    fn state(&self) -> Option<SupervisorState> {
        self.engine.state().apps.into_iter().find(|app| app.app_id == self.app)
    }
}

fn content(call: i64, second: i64, signal: Signal) -> Inbound {
    Inbound::Call(CallEvent {
        dialpad_call_id: DialpadCallId(call),
        at: at(second),
        signal,
        knowledge: Knowledge::default(),
        origin: Origin::Webhook,
    })
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200 + second)
}

#[actix::test]
async fn an_app_that_is_not_owned_is_left_alone() {
    let world = World::new();
    world.append(1, 0, Signal::Ringing);
    assert_eq!(world.submit(2, 0, Signal::Ringing).await, Err(NotTaken));
    world.engine.notify(world.app);
    world.engine.take_up_pending().await.expect("the store answers");
    assert_eq!(world.state(), None, "there is no work on it");
    assert!(!world.engine.owns(world.app));
    assert_eq!(world.engine.store.pending_count(), 1);

    world.own(1);
    world.engine.clock.advance(TimeDelta::seconds(1));
    world.engine.take_up_pending().await.expect("the store answers");
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring"]);
    assert!(world.state().expect("there was work").owned);
    world.engine.finish().await;
}

#[actix::test]
async fn what_another_process_owns_is_forgotten_and_continued_when_it_comes_back() {
    let world = World::new();
    world.own(1);
    assert!(world.submit(1, 0, Signal::Ringing).await.is_ok());
    eventually("the call is in memory", || world.state().is_some_and(|state| state.live_calls == 1)).await;

    // Another process takes the app, and this one does not know it yet.
    world.engine.store.fence(world.app, Fence(2));
    assert_eq!(world.submit(1, 5, HANGUP).await, Err(NotTaken), "its request appends it");
    assert_eq!(world.engine.fenced(), [world.app]);
    eventually("its memory is dropped", || world.state().is_some_and(|state| state.live_calls == 0)).await;
    let state = world.state().expect("there was work");
    assert!(!state.owned && !state.batch_in_progress, "{state:?}");
    assert_eq!(world.submit(2, 0, Signal::Ringing).await, Err(NotTaken));
    world.append(1, 5, HANGUP);
    world.engine.notify(world.app);
    assert_eq!(world.emitted(), ["call.ring"]);

    world.own(3);
    assert!(world.submit(3, 6, Signal::Ringing).await.is_ok());
    world.engine.settled().await;
    assert_eq!(world.emitted(), ["call.ring", "call.ended", "call.ring"], "what was pending came first");
    assert!(world.engine.fenced().is_empty());
    world.engine.finish().await;
}

#[actix::test]
async fn an_app_that_is_given_up_completes_its_batch_and_takes_nothing_more() {
    let world = World::new();
    world.own(1);
    assert!(world.submit(1, 0, Signal::Ringing).await.is_ok());
    world.engine.give_up(world.app).await;
    let state = world.state().expect("there was work");
    assert!(!state.owned && !state.batch_in_progress, "{state:?}");
    eventually("its memory is dropped", || world.state().is_some_and(|state| state.live_calls == 0)).await;
    assert_eq!(world.submit(1, 5, HANGUP).await, Err(NotTaken));
    assert!(world.engine.owned().is_empty());

    world.own(2);
    assert!(world.submit(1, 5, HANGUP).await.is_ok());
    assert_eq!(world.emitted(), ["call.ring", "call.ended"]);
    assert_eq!(world.engine.owned(), [(world.app, Fence(2))]);
    world.engine.finish().await;
}
