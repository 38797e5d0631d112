//! The end of a human call is emitted once, when nothing more came for a while, and what becomes known later updates it.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    clock::Clock,
    error::StoreError,
    id::{AppId, DialpadCallId},
    model::call::{CallEvent, Direction, EndKind, Knowledge, Leg, Origin, Signal},
    ports::Inbound,
    testing::{TestEngine, eventually},
};
use serde_json::{Value, json};

const QUEUE: i64 = 1;
const ERIN: &str = "+14155550129";

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200 + second)
}

fn webhook(call: i64, second: i64, signal: Signal) -> CallEvent {
    let is_queue = call == QUEUE;
    let knowledge = Knowledge {
        direction: Some(Direction::Inbound),
        from_number: Some(ERIN.into()),
        leg: Some(if is_queue { Leg::Group } else { Leg::User }),
        target_id: Some(100 + call),
        dialpad_user_id: Some(100 + call).filter(|_| !is_queue),
        entry_point_call_id: Some(QUEUE).filter(|_| !is_queue),
        ..Knowledge::default()
    };
    let origin = Origin::Webhook;
    CallEvent { dialpad_call_id: DialpadCallId(call), at: at(second), signal, knowledge, origin }
}

fn missed_queue() -> Vec<CallEvent> {
    vec![
        webhook(QUEUE, 0, Signal::Ringing),
        webhook(2, 5, Signal::Ringing),
        webhook(3, 5, Signal::Ringing),
        webhook(2, 25, Signal::Ended(EndKind::Missed)),
        webhook(3, 25, Signal::Ended(EndKind::Missed)),
        webhook(QUEUE, 26, Signal::Ended(EndKind::Hangup)),
    ]
}

struct World {
    engine: TestEngine,
    app: AppId,
}

impl World {
    fn start() -> Self {
        Self { engine: TestEngine::start(), app: AppId::generate() }
    }

    async fn receive(&self, webhooks: &[CallEvent]) {
        let now = self.engine.clock.now();
        let append =
            |event: &CallEvent| self.engine.store.append(self.app, now, Ok(Inbound::Call(event.clone())));
        self.engine.push(self.app, webhooks.iter().map(append).collect());
        self.engine.settled().await;
    }

    /// Lets this much time pass, and looks what is due.
    async fn pass(&self, seconds: i64) {
        self.engine.clock.advance(TimeDelta::seconds(seconds));
        self.engine.settle_interactions().await.expect("the store works");
        self.engine.settled().await;
    }

    /// Returns the events of interactions so far.
    fn events(&self) -> Vec<Value> {
        let frames = self.engine.store.events(self.app);
        let of_interactions =
            frames.iter().filter(|frame| frame.event_type.as_str().starts_with("interaction."));
        of_interactions.map(|frame| serde_json::from_str(&frame.text).expect("an event is JSON")).collect()
    }
}

fn shows(event: &Value, expected: &Value) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(event[name], *value, "{name} of {event:#}");
    }
}

#[actix::test]
async fn the_end_is_emitted_once_after_the_last_leg_and_a_quiet_time() {
    let world = World::start();
    let story = missed_queue();
    world.receive(&story[..5]).await;
    world.pass(60).await;
    assert_eq!(world.events(), Vec::<Value>::new(), "the queue's leg is not over");
    world.receive(&story[5..]).await;
    world.pass(9).await;
    assert_eq!(world.events(), Vec::<Value>::new(), "news may come yet");
    world.pass(1).await;
    world.pass(60).await;
    let events = world.events();
    assert_eq!(events.len(), 1, "{events:#?}");
    let expected = json!({
        "type": "interaction.ended", "status": "ended", "outcome": "missed", "direction": "inbound",
        "external_number": ERIN, "answered_by": null, "answered_at": null, "ended_at": "2024-01-01T00:00:26Z",
        "duration_seconds": 26, "talk_seconds": 0, "hold_seconds": 0, "voicemail": null, "recordings": [],
        "calls": [1, 2, 3],
    });
    shows(&events[0], &expected);
    world.engine.finish().await;
}

#[actix::test]
async fn news_before_the_end_is_emitted_put_it_off_and_is_part_of_it() {
    let world = World::start();
    world.receive(&missed_queue()).await;
    world.pass(9).await;
    let voicemail = Knowledge {
        voicemail_id: Some("7".into()),
        voicemail_url: Some("https://dialpad.com/v/1".into()),
        ..webhook(QUEUE, 0, Signal::Ringing).knowledge
    };
    world.receive(&[CallEvent { knowledge: voicemail, ..webhook(QUEUE, 40, Signal::VoicemailLeft) }]).await;
    world.pass(9).await;
    assert!(world.events().is_empty(), "there was news");
    world.pass(1).await;
    let events = world.events();
    assert_eq!(events.len(), 1, "{events:#?}");
    shows(&events[0], &json!({"type": "interaction.ended", "outcome": "voicemail"}));
    assert_eq!(events[0]["voicemail"]["dialpad_voicemail_id"], 7);
    world.engine.finish().await;
}

#[actix::test]
async fn a_presumed_end_that_is_withdrawn_is_no_end_and_the_real_one_is_emitted() {
    let world = World::start();
    let begin = [webhook(2, 0, Signal::Ringing), webhook(2, 3, Signal::Connected)];
    let presumed = CallEvent {
        origin: Origin::Presumption,
        knowledge: Knowledge::default(),
        ..webhook(2, 900, Signal::PresumedOver { last_news: at(3) })
    };
    world.receive(&begin).await;
    world.receive(std::slice::from_ref(&presumed)).await;
    world.pass(10).await;
    world.receive(&[webhook(2, 1000, Signal::Held)]).await;
    world.pass(60).await;
    let events = world.events();
    assert_eq!(events.len(), 2, "{events:#?}");
    shows(&events[0], &json!({"type": "interaction.ended", "ended_at": "2024-01-01T00:15:00Z"}));
    let withdrawn =
        json!({"type": "interaction.updated", "status": "held", "outcome": null, "ended_at": null});
    shows(&events[1], &withdrawn);
    assert_eq!(events[1]["changed"][0], "status");

    world.receive(&[webhook(2, 1200, Signal::Ended(EndKind::Hangup))]).await;
    world.pass(9).await;
    assert_eq!(world.events().len(), 2, "news may come yet");
    world.pass(60).await;
    let events = world.events();
    assert_eq!(events.len(), 3, "{events:#?}");
    shows(&events[2], &json!({"type": "interaction.ended", "ended_at": "2024-01-01T00:20:00Z"}));
    world.engine.finish().await;
}

#[actix::test]
async fn a_presumed_end_that_is_withdrawn_in_time_is_not_emitted() {
    let world = World::start();
    let presumed = CallEvent {
        origin: Origin::Presumption,
        knowledge: Knowledge::default(),
        ..webhook(2, 900, Signal::PresumedOver { last_news: at(0) })
    };
    world.receive(&[webhook(2, 0, Signal::Ringing), presumed]).await;
    world.pass(5).await;
    world.receive(&[webhook(2, 20, Signal::Connected)]).await;
    world.pass(60).await;
    assert_eq!(world.events(), Vec::<Value>::new());
    world.engine.finish().await;
}

#[actix::test]
async fn what_becomes_known_after_the_end_updates_it() {
    let world = World::start();
    world.receive(&missed_queue()).await;
    world.pass(10).await;
    let recording = Knowledge {
        recording_url: Some("https://dialpad.com/r/1".into()),
        ..webhook(2, 0, Signal::Ringing).knowledge
    };
    let learned = CallEvent { knowledge: recording, ..webhook(2, 50, Signal::Learned) };
    world.receive(std::slice::from_ref(&learned)).await;
    world.receive(&[learned]).await;
    world.pass(60).await;
    let events = world.events();
    assert_eq!(events.len(), 2, "{events:#?}");
    let expected = json!({
        "type": "interaction.updated", "changed": ["recordings"], "outcome": "missed",
        "recordings": [{"call_id": 2, "id": null, "url": "https://dialpad.com/r/1", "type": "callrecording",
            "duration_seconds": null, "started_at": null}],
    });
    shows(&events[1], &expected);
    // An agent answered after all: the webhook was late.
    world.receive(&[webhook(3, 20, Signal::Connected)]).await;
    let last = world.events().pop().expect("an event");
    shows(&last, &json!({"type": "interaction.updated", "outcome": "answered", "answered_by": 103}));
    world.engine.finish().await;
}

#[actix::test]
async fn an_interaction_that_became_part_of_another_one_emits_nothing_of_its_own() {
    let world = World::start();
    let alone = |event: CallEvent| {
        let leg = Some(Leg::Direct);
        let knowledge = Knowledge { entry_point_call_id: None, leg, ..event.knowledge.clone() };
        CallEvent { knowledge, ..event }
    };
    // The second leg's webhooks do not say yet that it was rung for the first.
    world
        .receive(&[webhook(QUEUE, 0, Signal::Ringing), webhook(QUEUE, 20, Signal::Ended(EndKind::Hangup))])
        .await;
    world
        .receive(&[
            alone(webhook(2, 5, Signal::Ringing)),
            alone(webhook(2, 20, Signal::Ended(EndKind::Missed))),
        ])
        .await;
    world.pass(5).await;
    world.receive(&[webhook(2, 21, Signal::Ended(EndKind::Hangup))]).await;
    world.pass(30).await;
    let events = world.events();
    assert_eq!(events.len(), 1, "{events:#?}");
    shows(&events[0], &json!({"type": "interaction.ended", "calls": [1, 2], "outcome": "missed"}));
    world.engine.finish().await;
}

#[actix::test]
async fn the_end_waits_for_webhooks_that_were_received_before_and_survives_a_failing_store() {
    let world = World::start();
    world.receive(&missed_queue()).await;
    world.engine.clock.advance(TimeDelta::seconds(20));
    world.engine.store.fail_next_commit(StoreError::Unavailable("away".into()));
    world.engine.settle_interactions().await.expect("the store works");
    world.engine.settled().await;
    assert!(world.events().is_empty(), "it was not written");
    eventually("it is tried again", || world.engine.state().is_idle()).await;
    world.engine.settle_interactions().await.expect("the store works");
    world.engine.settled().await;
    assert_eq!(world.events().len(), 1);
    world.engine.finish().await;
}
