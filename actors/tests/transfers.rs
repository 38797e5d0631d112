//! Transfers and merges: legs that name nothing of each other belong to the same human call, whatever the order in which
//! their webhooks arrive, wherever a batch ends, and however long people talked.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    clock::Clock,
    id::{AppId, DialpadCallId, InteractionId},
    model::call::{CallEvent, Direction, EndKind, Knowledge, Leg, Origin, RawMeaning, Signal},
    ports::Inbound,
    testing::TestEngine,
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

const ADA: i64 = 71;
const BOB: i64 = 72;
const CYD: i64 = 73;
const ERIN: &str = "+14155550129";
const FAY: &str = "+442079460018";

/// A leg of a user with somebody outside, by the clock of the payloads, in milliseconds.
#[derive(Clone)]
struct Story {
    call: i64,
    user: i64,
    number: Option<String>,
    called: Option<&'static str>,
    sent_on_by: Option<i64>,
    direction: Direction,
    webhooks: Vec<(i64, Signal, bool, bool)>,
}

const HANGUP: Signal = Signal::Ended(EndKind::Hangup);

impl Story {
    fn new(call: i64, user: i64, number: &str) -> Self {
        let number = Some(number.to_owned()).filter(|number| !number.is_empty());
        let direction = Direction::Inbound;
        Self { call, user, number, called: None, sent_on_by: None, direction, webhooks: Vec::new() }
    }

    fn sent_on_by(self, user: i64) -> Self {
        Self { sent_on_by: Some(user), ..self }
    }

    fn calls(self, called: &'static str) -> Self {
        Self { called: Some(called), ..self }
    }

    fn then(mut self, at: i64, signal: Signal) -> Self {
        self.webhooks.push((at, signal, false, false));
        self
    }

    /// Rings for three seconds, then talks.
    fn talks(self, from: i64) -> Self {
        self.then(from, Signal::Ringing).then(from + 3000, Signal::Connected)
    }

    fn until(self, at: i64) -> Self {
        self.then(at, HANGUP)
    }

    fn sends_on(mut self, at: i64) -> Self {
        self.webhooks.push((at, HANGUP, true, false));
        self
    }

    fn merges(mut self, at: i64) -> Self {
        let payload = Box::default();
        self.webhooks.push((
            at,
            Signal::Raw { state: "merged".into(), payload, meaning: RawMeaning::Talking },
            false,
            true,
        ));
        self
    }

    fn events(&self, epoch: DateTime<Utc>) -> Vec<CallEvent> {
        let event = |(at, signal, is_transferred, is_merged): &(i64, Signal, bool, bool)| CallEvent {
            dialpad_call_id: DialpadCallId(self.call),
            at: epoch + TimeDelta::milliseconds(*at),
            signal: signal.clone(),
            knowledge: Knowledge {
                direction: Some(self.direction),
                from_number: self.number.clone(),
                to_number: self.called.map(str::to_owned),
                leg: Some(Leg::Direct),
                target_id: Some(self.user),
                dialpad_user_id: Some(self.user),
                transferred_from: self.sent_on_by,
                is_transferred: Some(*is_transferred),
                is_merged: *is_merged,
                ..Knowledge::default()
            },
            origin: Origin::Webhook,
        };
        self.webhooks.iter().map(event).collect()
    }
}

type Partition = BTreeSet<BTreeSet<i64>>;

fn partition<const N: usize>(sets: [&[i64]; N]) -> Partition {
    sets.into_iter().map(|set| set.iter().copied().collect()).collect()
}

fn week_ago() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200)
}

fn events(stories: &[Story]) -> Vec<CallEvent> {
    let mut events: Vec<CallEvent> = stories.iter().flat_map(|story| story.events(week_ago())).collect();
    events.sort_by_key(|event| event.at);
    events
}

/// Plays webhooks in this order, in batches of these sizes, and returns which legs belong together.
async fn play(order: &[CallEvent], sizes: &[usize]) -> Partition {
    let engine = TestEngine::start();
    let app = AppId::generate();
    let mut sizes = sizes.iter().copied().cycle();
    let mut rest = order;
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
        let now = engine.clock.now();
        let append = |event: &CallEvent| engine.store.append(app, now, Ok(Inbound::Call(event.clone())));
        engine.push(app, batch.iter().map(append).collect());
        engine.settled().await;
        rest = others;
    }
    let calls: BTreeSet<i64> = order.iter().map(|event| event.dialpad_call_id.0).collect();
    let mut sets: BTreeMap<InteractionId, BTreeSet<i64>> = BTreeMap::new();
    for call in calls {
        let stored = engine.store.call(app, DialpadCallId(call)).expect("every leg is stored").call;
        sets.entry(stored.interaction_id).or_default().insert(call);
    }
    for (id, calls) in &sets {
        let shown = engine.store.interaction(app, *id).expect("every interaction is stored");
        let listed: BTreeSet<i64> = shown.summary.calls.iter().map(|call| call.0).collect();
        assert_eq!((&listed, shown.merged_into), (calls, None), "the interaction shows its legs");
    }
    engine.finish().await;
    sets.into_values().collect()
}

/// Plays stories in their own order, backwards, and in many others.
async fn always_makes(stories: &[Story], expected: &Partition, samples: usize) {
    let story = events(stories);
    assert_eq!(&play(&story, &[1]).await, expected, "in order");
    let backwards: Vec<CallEvent> = story.iter().rev().cloned().collect();
    assert_eq!(&play(&backwards, &[1]).await, expected, "backwards");
    let mut runner = TestRunner::deterministic();
    let orders = (Just(story).prop_shuffle(), prop::collection::vec(1..9_usize, 1..4));
    for _ in 0..samples {
        let (order, sizes) = orders.new_tree(&mut runner).expect("an order").current();
        assert_eq!(&play(&order, &sizes).await, expected, "{order:#?} in batches of {sizes:?}");
    }
}

#[actix::test]
async fn a_transfer_is_one_human_call_in_every_order() {
    let first = Story::new(1, ADA, ERIN).talks(0).sends_on(60_000);
    let second = Story::new(2, BOB, ERIN).sent_on_by(ADA).talks(60_300).until(90_000);
    always_makes(&[first, second], &partition([&[1, 2]]), 60).await;
}

#[actix::test]
async fn a_call_that_was_over_long_before_or_was_missed_is_no_source() {
    let over = Story::new(1, ADA, ERIN).talks(0).until(60_000);
    let missed =
        Story::new(2, ADA, ERIN).then(80_000, Signal::Ringing).then(200_000, Signal::Ended(EndKind::Missed));
    let second = Story::new(3, BOB, ERIN).sent_on_by(ADA).talks(200_000).until(290_000);
    always_makes(&[over, missed, second], &partition([&[1], &[2], &[3]]), 30).await;
}

#[actix::test]
async fn of_two_live_calls_of_one_number_it_is_the_one_that_says_so() {
    let kept = Story::new(1, ADA, ERIN).talks(10_000).until(400_000);
    let sent = Story::new(2, ADA, ERIN).talks(0).sends_on(100_200);
    let newest = Story::new(3, ADA, ERIN).talks(50_000).until(500_000);
    let second = Story::new(4, BOB, ERIN).sent_on_by(ADA).talks(100_000).until(290_000);
    always_makes(&[kept, sent, newest, second], &partition([&[1], &[2, 4], &[3]]), 60).await;
}

#[actix::test]
async fn while_two_are_equally_good_it_is_none_of_them() {
    let stories = [
        Story::new(1, ADA, ERIN).talks(0),
        Story::new(2, ADA, ERIN).talks(10_000),
        Story::new(3, BOB, ERIN).sent_on_by(ADA).talks(100_000),
    ];
    always_makes(&stories, &partition([&[1], &[2], &[3]]), 10).await;
}

#[actix::test]
async fn a_withheld_number_is_joined_by_what_the_hangup_says() {
    for withheld in ["", "anonymous", "+266696687", "Restricted"] {
        let stories = [
            Story::new(1, ADA, withheld).talks(0).sends_on(60_000),
            Story::new(2, ADA, withheld).talks(10_000).until(60_000),
            Story::new(3, BOB, withheld).sent_on_by(ADA).talks(60_200).until(90_000),
            Story::new(4, CYD, withheld).talks(60_200).until(80_000),
        ];
        always_makes(&stories, &partition([&[1, 3], &[2], &[4]]), 8).await;
    }
}

#[actix::test]
async fn two_callers_with_repeated_numbers_long_talks_and_chains_are_told_apart() {
    let hours = |hours: i64| hours * 3_600_000;
    let stories = [
        // Erin talks to Ada for five hours, who sends her on to Bob, who sends her on to Cyd.
        Story::new(1, ADA, ERIN).talks(0).sends_on(hours(5)),
        Story::new(2, BOB, ERIN).sent_on_by(ADA).talks(hours(5) + 400).sends_on(hours(7)),
        Story::new(3, CYD, "+1 (415) 555-0129").sent_on_by(BOB).talks(hours(7) - 300).until(hours(8)),
        // Fay is with Ada meanwhile, and is sent on to Bob, twice.
        Story::new(4, ADA, FAY).talks(hours(1)).sends_on(hours(2)),
        Story::new(5, BOB, FAY).sent_on_by(ADA).talks(hours(2) + 100).until(hours(3)),
        Story::new(6, ADA, FAY).talks(hours(4)).sends_on(hours(4) + 60_000),
        Story::new(7, BOB, FAY).sent_on_by(ADA).talks(hours(4) + 60_200).until(hours(6)),
        // Erin calls Ada again, and is missed.
        Story::new(8, ADA, ERIN).then(hours(5) + 8_000, Signal::Ringing).then(hours(5) + 30_000, HANGUP),
    ];
    always_makes(&stories, &partition([&[1, 2, 3], &[4, 5], &[6, 7], &[8]]), 60).await;
}

#[actix::test]
async fn merged_legs_are_one_human_call() {
    let stories = [
        Story::new(1, ADA, ERIN)
            .talks(0)
            .then(20_000, Signal::Held)
            .then(40_100, Signal::Connected)
            .until(100_000),
        Story::new(2, ADA, FAY).talks(25_000).merges(40_000).until(99_000),
        Story::new(3, BOB, FAY).talks(0).until(90_000),
        Story::new(4, ADA, FAY).talks(200_000).until(300_000),
    ];
    always_makes(&stories, &partition([&[1, 2], &[3], &[4]]), 40).await;
}

#[actix::test]
async fn legs_that_ring_several_people_for_one_caller_at_once_are_one_human_call() {
    const MISSED: Signal = Signal::Ended(EndKind::Missed);
    let lost = |call, user, number, at: i64| {
        Story::new(call, user, number).then(at, Signal::Ringing).then(at + 20_000, MISSED)
    };
    let stories = [
        lost(1, ADA, ERIN, 0),
        lost(2, BOB, ERIN, 900),
        lost(3, CYD, ERIN, 1900),
        // Another caller, the same caller again, and one who called another number.
        lost(4, ADA, FAY, 0),
        lost(5, BOB, ERIN, 60_000),
        lost(6, 74, ERIN, 0).calls("+14155550100"),
        lost(7, 75, "anonymous", 0),
        lost(8, 76, "anonymous", 0),
    ];
    let [ada, bob, cyd, others @ ..] = stories;
    let called = [ada, bob, cyd].map(|story| story.calls("+14155550199"));
    let stories: Vec<Story> = called.into_iter().chain(others).collect();
    let expected = partition([&[1, 2, 3], &[4], &[5], &[6], &[7], &[8]]);
    always_makes(&stories, &expected, 40).await;
}

#[actix::test]
async fn two_legs_that_are_both_answered_are_two_human_calls() {
    let stories =
        [Story::new(1, ADA, ERIN).talks(0).until(60_000), Story::new(2, BOB, ERIN).talks(1000).until(60_000)];
    always_makes(&stories, &partition([&[1], &[2]]), 20).await;
    let stories = [
        Story::new(1, ADA, ERIN).talks(0).until(60_000),
        Story::new(2, BOB, ERIN).then(1000, Signal::Ringing).then(3500, HANGUP),
    ];
    always_makes(&stories, &partition([&[1, 2]]), 20).await;
}
