//! The guarantee of the feed where it is hardest to keep: a reader that subscribes while events are emitted receives
//! exactly the events after its cursor, in order and once, however often it disconnects and resumes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    clock::Clock,
    event::{Filter, NumberFilter, call_event},
    id::{AppId, DialpadCallId, KeyId, Seq},
    model::{
        call::{CallChange, CallEvent, Direction, Knowledge, Origin, Signal, StoredCall},
        number::Region,
    },
    ports::{AuthenticatedKey, Inbound, Ledger},
    session::{Listener, MessageKind, Subscription, Transport},
    testing::TestEngine,
    unit::Unit,
};
use futures_util::future::join_all;
use strum::VariantArray;
use tokio::task::yield_now;

const ROUNDS: u64 = 1_000;
/// How many rounds share an engine at a time.
const CONCURRENT_ROUNDS: usize = 25;
const READERS: u64 = 5;
const ADA: i64 = 555;
const BEN: i64 = 777;
const CALLER: &str = "+14155551234";

/// Random numbers that are the same for the same seed (SplitMix64).
struct Random(u64);

impl Random {
    fn of(round: u64, who: u64) -> Self {
        Self(round.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ who.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// Returns a number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    /// Lets the other tasks run for a random number of turns.
    async fn pause(&mut self, turns: u64) {
        for _ in 0..self.below(turns) {
            yield_now().await;
        }
    }
}

struct World {
    engine: TestEngine,
}

/// Returns a ringing call; `last`: one that every filter admits.
fn ring(random: &mut Random, call: i64, last: bool) -> CallEvent {
    let knowledge = Knowledge {
        direction: Some(if last {
            Direction::Inbound
        } else {
            random.one_of(&[Direction::Inbound, Direction::Outbound])
        }),
        from_number: Some(if last { CALLER.into() } else { random.one_of(&[CALLER, "+1", "+2"]).into() }),
        dialpad_user_id: Some(if last { ADA } else { random.one_of(&[ADA, BEN]) }),
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

fn some_filter(random: &mut Random) -> Filter {
    random.one_of(&[
        Filter::default(),
        Filter::default(),
        Filter { types: BTreeSet::from(["call.*".into()]), ..Filter::default() },
        Filter { dialpad_user_id: Some(ADA), ..Filter::default() },
        Filter { direction: Some(Direction::Inbound), ..Filter::default() },
        Filter {
            number: Some(NumberFilter::new(CALLER, Region::US)),
            dialpad_user_id: Some(ADA),
            ..Filter::default()
        },
    ])
}

/// What a reader received, and the cursor that it began with.
struct Received {
    start: Seq,
    filter: Filter,
    seqs: Vec<Seq>,
}

impl World {
    fn new() -> Self {
        Self { engine: TestEngine::start() }
    }

    /// Writes events of an earlier process: the store has them, memory does not.
    async fn store_events(&self, app: AppId, events: u64) {
        let now = self.engine.clock.now();
        let mut unit = Unit::new(app, now);
        let mut call = StoredCall::unseen(DialpadCallId(1), now);
        let knowledge = Knowledge {
            direction: Some(Direction::Outbound),
            from_number: Some("+2".into()),
            dialpad_user_id: Some(BEN),
            ..Knowledge::default()
        };
        call.facts.absorb(&CallEvent {
            dialpad_call_id: call.dialpad_call_id,
            at: now,
            signal: Signal::Ringing,
            knowledge,
            origin: Origin::Webhook,
        });
        let snapshot = call.facts.snapshot();
        let ring = |_| call_event(app, &call, &snapshot, &CallChange::Ring, now, Origin::Webhook);
        unit.events = (0..events).map(ring).collect();
        self.engine.store.commit(Arc::new(unit)).await.expect("the store takes a unit");
    }

    async fn emit(&self, app: AppId, random: &mut Random, past: u64, events: u64) {
        let push = |rings: Vec<CallEvent>| {
            let rings = rings
                .into_iter()
                .map(|ring| self.engine.store.append(app, self.engine.clock.now(), Ok(Inbound::Call(ring))));
            self.engine.push(app, rings.collect());
        };
        let mut next = 1;
        while next < events {
            let some = random.below(8).min(events - next - 1) + 1;
            let rings = (next..next + some).map(|call| ring(random, call as i64, false)).collect();
            push(rings);
            next += some;
            random.pause(20).await;
        }
        let head = || async { self.engine.feed(app).await.expect("the store answers").1.head };
        while head().await < Seq((past + events - 1) as i64) {
            yield_now().await;
        }
        push(vec![ring(random, events as i64, true)]);
    }

    /// Reads from some moment on until the event at `last`; now and then it disconnects and resumes from its cursor.
    async fn read(&self, key: AuthenticatedKey, mut random: Random, last: Seq) -> Received {
        random.pause(120).await;
        let app = key.app_id;
        let head = self.engine.feed(app).await.expect("the store answers").1.head;
        let after = match random.below(3) {
            0 => None,
            1 => Some(Seq::START),
            _ => Some(Seq(random.below(head.0 as u64 + 1) as i64)),
        };
        let filter = some_filter(&mut random);
        let mut wanted =
            Subscription { after: after.map(Into::into), filter: filter.clone(), ..Subscription::default() };
        let mut received = Received { start: after.unwrap_or(head), filter, seqs: Vec::new() };
        let mut begun = false;
        loop {
            let transport = random.one_of(Transport::VARIANTS);
            let mut listener = Listener::open(&self.engine.tenant(app), key, wanted.clone(), transport)
                .await
                .expect("the cursor can be served");
            let stays = 1 + random.below(6);
            for _ in 0..stays {
                random.pause(6).await;
                let turn = listener.next().await.expect("the session goes on");
                assert_eq!(turn.end, None);
                for message in turn.messages {
                    match (message.kind, message.cursor) {
                        (MessageKind::Control(_), Some(start)) if !begun => {
                            assert!(
                                after.is_none_or(|after| after == start),
                                "asked for {after:?}, began at {start}"
                            );
                            assert!(
                                start >= received.start,
                                "it begins no earlier than the head before it subscribed"
                            );
                            received.start = start;
                            begun = true;
                        }
                        (MessageKind::Event(_), Some(seq)) => received.seqs.push(seq),
                        _ => {}
                    }
                }
                if listener.cursor() == last {
                    return received;
                }
            }
            wanted.after = Some(listener.cursor().into());
        }
    }

    async fn round(&self, number: u64) {
        let app = AppId::generate();
        let key = AuthenticatedKey { app_id: app, key_id: KeyId::generate(), expires_at: None };
        self.engine.store.add_key(&app.to_string(), key);
        let mut random = Random::of(number, READERS);
        let (past, events) = (random.below(3) * random.below(40), 10 + random.below(50));
        self.store_events(app, past).await;
        let last = Seq((past + events) as i64);
        let readers = (0..READERS).map(|who| self.read(key, Random::of(number, who), last));
        let (received, ()) = tokio::join!(join_all(readers), self.emit(app, &mut random, past, events));

        let emitted = self.engine.store.events(app);
        assert!(
            emitted.iter().map(|frame| frame.seq.0).eq(1..=last.0),
            "round {number}: the feed has a hole"
        );
        for (who, Received { start, filter, seqs }) in received.into_iter().enumerate() {
            let wanted = emitted.iter().filter(|frame| frame.seq > start && filter.admits(frame));
            let expected: Vec<Seq> = wanted.map(|frame| frame.seq).collect();
            assert_eq!(seqs, expected, "round {number}, reader {who}, after {start} with {filter:?}");
        }
    }
}

#[actix::test]
async fn a_reader_that_subscribes_while_events_are_emitted_misses_none_and_receives_none_twice() {
    for first in (0..ROUNDS).step_by(CONCURRENT_ROUNDS) {
        let world = World::new();
        let rounds = join_all((first..first + CONCURRENT_ROUNDS as u64).map(|number| world.round(number)));
        let result = tokio::time::timeout(Duration::from_secs(30), rounds).await;
        result.unwrap_or_else(|_| {
            panic!("a reader did not receive its last event in one of the rounds from {first} on")
        });
        world.engine.finish().await;
    }
}
