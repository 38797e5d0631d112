//! The promise of the feed where it is hardest to keep: whoever begins to listen while events are being told hears
//! exactly what lies behind where it began, in order and once, however often it leaves and comes back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    Engine, Tuning,
    clock::Clock,
    event::{Filter, call_event},
    id::{AppId, DialpadCallId, KeyId, Seq},
    model::call::{CallChange, CallEvent, Direction, Knowledge, Origin, Signal, StoredCall},
    ports::{AuthenticatedKey, Inbound, Ledger},
    session::{Listener, MessageKind, Subscription, Transport},
    testing::{ManualClock, MemoryStore},
    unit::Unit,
};
use futures_util::future::join_all;
use strum::VariantArray;
use tokio::task::yield_now;

const ROUNDS: u64 = 1_000;
/// So many rounds share an engine at a time, and so get into each other's way.
const AT_ONCE: usize = 25;
const READERS: u64 = 5;
const ADA: i64 = 555;
const BEN: i64 = 777;
const CALLER: &str = "+14155551234";

/// What happens by chance, and again in the same way for the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn of(round: u64, who: u64) -> Self {
        Self(round.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ who.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    /// Lets the others run, for a moment nobody can foresee.
    async fn dawdle(&mut self, turns: u64) {
        for _ in 0..self.below(turns) {
            yield_now().await;
        }
    }
}

struct World {
    engine: Arc<Engine>,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
}

/// A ringing call; `last` is one that every reader wants to hear of.
fn ring(chance: &mut Chance, call: i64, last: bool) -> CallEvent {
    let knowledge = Knowledge {
        direction: Some(if last {
            Direction::Inbound
        } else {
            chance.one_of(&[Direction::Inbound, Direction::Outbound])
        }),
        from_number: Some(if last { CALLER.into() } else { chance.one_of(&[CALLER, "+1", "+2"]).into() }),
        dialpad_user_id: Some(if last { ADA } else { chance.one_of(&[ADA, BEN]) }),
        ..Knowledge::default()
    };
    let at = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200 + call);
    CallEvent {
        dialpad_call_id: DialpadCallId(call),
        at,
        signal: Signal::Ringing,
        knowledge,
        origin: Origin::Webhook,
    }
}

fn some_filter(chance: &mut Chance) -> Filter {
    chance.one_of(&[
        Filter::default(),
        Filter::default(),
        Filter { types: BTreeSet::from(["call.*".into()]), ..Filter::default() },
        Filter { dialpad_user_id: Some(ADA), ..Filter::default() },
        Filter { direction: Some(Direction::Inbound), ..Filter::default() },
        Filter { number: Some(CALLER.into()), dialpad_user_id: Some(ADA), ..Filter::default() },
    ])
}

/// What a reader heard, and behind which event it had begun.
struct Heard {
    start: Seq,
    filter: Filter,
    seqs: Vec<Seq>,
}

impl World {
    /// An engine that is left alone but for the looks after its sessions.
    fn new() -> Self {
        let (store, clock, ports) = MemoryStore::ports();
        let never = Duration::from_secs(3600);
        let tuning = Tuning { sweep_interval: never, token_check_interval: never, ..Tuning::default() };
        Self { engine: Engine::start(ports, tuning), store, clock }
    }

    /// What was told before this process began: the store has it, and nothing in memory.
    async fn remember(&self, app: AppId, events: u64) {
        let mut unit = Unit::new(app, self.clock.now());
        let mut call = StoredCall::unseen(DialpadCallId(1), self.clock.now());
        let knowledge = Knowledge {
            direction: Some(Direction::Outbound),
            from_number: Some("+2".into()),
            dialpad_user_id: Some(BEN),
            ..Knowledge::default()
        };
        call.facts.absorb(&CallEvent {
            dialpad_call_id: call.dialpad_call_id,
            at: self.clock.now(),
            signal: Signal::Ringing,
            knowledge,
            origin: Origin::Webhook,
        });
        let snapshot = call.facts.snapshot();
        let rang =
            |_| call_event(app, &call, &snapshot, &CallChange::Ring, self.clock.now(), Origin::Webhook);
        unit.events = (0..events).map(rang).collect();
        self.store.commit(Arc::new(unit)).await.expect("the store takes a unit");
    }

    async fn tell(&self, app: AppId, chance: &mut Chance, past: u64, events: u64) {
        let push = |rings: Vec<CallEvent>| {
            let rings = rings
                .into_iter()
                .map(|ring| self.store.append(app, self.clock.now(), Ok(Inbound::Call(ring))));
            self.engine.push(app, rings.collect());
        };
        let mut next = 1;
        while next < events {
            let some = chance.below(8).min(events - next - 1) + 1;
            let rings = (next..next + some).map(|call| ring(chance, call as i64, false)).collect();
            push(rings);
            next += some;
            chance.dawdle(20).await;
        }
        let head = || async { self.engine.feed(app).await.expect("the store answers").1.head };
        while head().await < Seq((past + events - 1) as i64) {
            yield_now().await;
        }
        push(vec![ring(chance, events as i64, true)]);
    }

    /// Listens from some moment on until the event at `last`; now and then it leaves and comes back behind its cursor.
    async fn listen(&self, admission: AuthenticatedKey, mut chance: Chance, last: Seq) -> Heard {
        chance.dawdle(120).await;
        let app = admission.app_id;
        let head = self.engine.feed(app).await.expect("the store answers").1.head;
        let after = match chance.below(3) {
            0 => None,
            1 => Some(Seq::START),
            _ => Some(Seq(chance.below(head.0 as u64 + 1) as i64)),
        };
        let filter = some_filter(&mut chance);
        let mut wanted = Subscription { after, filter: filter.clone(), ..Subscription::default() };
        let mut heard = Heard { start: after.unwrap_or(head), filter, seqs: Vec::new() };
        let mut begun = false;
        loop {
            let transport = chance.one_of(Transport::VARIANTS);
            let mut listener = Listener::open(&self.engine.tenant(app), admission, wanted.clone(), transport)
                .await
                .expect("the cursor can be served");
            let stays = 1 + chance.below(6);
            for _ in 0..stays {
                chance.dawdle(6).await;
                let turn = listener.next().await.expect("nobody ends the session");
                assert_eq!(turn.end, None);
                for message in turn.messages {
                    match (message.kind, message.cursor) {
                        (MessageKind::Control(_), Some(start)) if !begun => {
                            assert!(
                                after.is_none_or(|after| after == start),
                                "asked for {after:?}, began at {start}"
                            );
                            assert!(start >= heard.start, "it begins where the feed was before it came");
                            heard.start = start;
                            begun = true;
                        }
                        (MessageKind::Event(_), Some(seq)) => heard.seqs.push(seq),
                        _ => {}
                    }
                }
                if listener.cursor() == last {
                    return heard;
                }
            }
            wanted.after = Some(listener.cursor());
        }
    }

    async fn round(&self, number: u64) {
        let app = AppId::generate();
        let admission = AuthenticatedKey { app_id: app, key_id: KeyId::generate(), expires_at: None };
        self.store.let_in(&app.to_string(), admission);
        let mut chance = Chance::of(number, READERS);
        let (past, events) = (chance.below(3) * chance.below(40), 10 + chance.below(50));
        self.remember(app, past).await;
        let last = Seq((past + events) as i64);
        let reading = (0..READERS).map(|who| self.listen(admission, Chance::of(number, who), last));
        let (heard, ()) = tokio::join!(join_all(reading), self.tell(app, &mut chance, past, events));

        let told = self.store.told(app);
        assert!(told.iter().map(|frame| frame.seq.0).eq(1..=last.0), "round {number}: the feed has a hole");
        for (who, Heard { start, filter, seqs }) in heard.into_iter().enumerate() {
            let wanted = told.iter().filter(|frame| frame.seq > start && filter.admits(frame));
            let expected: Vec<Seq> = wanted.map(|frame| frame.seq).collect();
            assert_eq!(seqs, expected, "round {number}, reader {who}, behind {start} with {filter:?}");
        }
    }
}

#[actix::test]
async fn whoever_begins_to_listen_while_events_are_told_misses_none_and_hears_none_twice() {
    for first in (0..ROUNDS).step_by(AT_ONCE) {
        let world = World::new();
        let rounds = join_all((first..first + AT_ONCE as u64).map(|number| world.round(number)));
        let made = tokio::time::timeout(Duration::from_secs(30), rounds).await;
        made.unwrap_or_else(|_| panic!("a reader waits in vain in one of the rounds from {first} on"));
        world.engine.stop().await;
    }
}
