//! The contract of the journal and the ledger, which every store keeps. That of the feed and of named consumers is in
//! files of their own.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    error::StoreError,
    event::{OutEvent, call_event},
    id::{AppId, DialpadCallId, InteractionId, JournalId, Seq},
    model::{
        call::{
            CALL_RECORDING, CallChange, CallCommand, CallEvent, CallFacts, CallRecord, Direction, EndKind,
            Knowledge, Origin, RecordingKnowledge, Signal, StoredCall, apply,
        },
        interaction::{LegShown, StoredInteraction, Summary},
        message::{self, MessageEvent, MessageKnowledge, StoredMessage},
    },
    ports::{EventLog, Inbound, Journal, Ledger, RecentCalls, Window},
    testing::MemoryStore,
    unit::Unit,
};
use cti_server::{
    store::{Store, journal::append::Appended, tenants::api_keys::NewKey},
    webhook::{
        new_webhook::NewWebhook,
        payload,
        routing::{Destination, Disposition},
    },
};
use serde_json::json;

pub(crate) use super::{cursors::*, feed::*};

/// What a test needs of a store beyond the engine's ports.
#[async_trait]
pub(crate) trait Subject: Journal + Ledger + EventLog {
    async fn new_app(&self) -> AppId;
    /// Writes a ring of this call into the journal.
    async fn receive(&self, app: AppId, call: i64, at: DateTime<Utc>) -> JournalId;
    /// Maps a Dialpad user to a CRM user.
    async fn map_crm_user(&self, app: AppId, user: i64, name: &str);
}

#[async_trait]
impl Subject for MemoryStore {
    async fn new_app(&self) -> AppId {
        AppId::generate()
    }

    async fn receive(&self, app: AppId, call: i64, at: DateTime<Utc>) -> JournalId {
        self.append(app, at, Ok(Inbound::Call(ring(call, at)))).id
    }

    async fn map_crm_user(&self, app: AppId, user: i64, name: &str) {
        self.map_user(app, user, name);
    }
}

#[async_trait]
impl Subject for Store {
    async fn new_app(&self) -> AppId {
        self.apps().create("an app", &NewKey::generate()).await.expect("an app").id
    }

    async fn receive(&self, app: AppId, call: i64, at: DateTime<Utc>) -> JournalId {
        let appended = self.journal().append(vec![webhook(app, call, at)]).await.expect("written");
        match appended[..] {
            [Appended::New(id)] => id,
            _ => panic!("expected one new row, got {appended:?}"),
        }
    }

    async fn map_crm_user(&self, app: AppId, user: i64, name: &str) {
        self.user_mappings().map(app, &[(user, name.to_owned())]).await.expect("mapped");
    }
}

/// A webhook as the HTTP handler writes it.
pub(crate) fn webhook(app: AppId, call: i64, at: DateTime<Utc>) -> NewWebhook {
    let payload =
        json!({"event_type": "call.ring", "call_id": call, "timestamp": at.timestamp()}).to_string();
    let reading = payload::read(payload.as_bytes(), at);
    let disposition = Disposition::Pending(Box::new(Inbound::Call(ring(call, at))));
    let destination = Destination { app_id: Some(app), disposition };
    NewWebhook::new(&reading, destination, payload.into_bytes().into(), at)
}

pub(crate) fn ring(call: i64, at: DateTime<Utc>) -> CallEvent {
    CallEvent {
        dialpad_call_id: DialpadCallId(call),
        at,
        signal: Signal::Ringing,
        knowledge: Knowledge::default(),
        origin: Origin::Webhook,
    }
}

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_704_067_200)
}

/// A call that was seen from ring to end, with everything that can be known of it.
pub(crate) fn finished_call(id: i64) -> CallRecord {
    let known = Knowledge {
        direction: Some(Direction::Outbound),
        from_number: Some("+1".into()),
        to_number: Some("ünïcode 'quoted' \"number\"".into()),
        dialpad_user_id: Some(i64::MAX),
        contact_name: Some("Grace \"G.\" Höpper".into()),
        target_id: Some(i64::MAX),
        target_name: Some("Sales".into()),
        is_internal: Some(false),
        callback_requested: Some(true),
        custom_data: Some(r#"{"order":[7,"a\u0000b"]}"#.into()),
        recordings: vec![RecordingKnowledge {
            id: Some("77".into()),
            url: Some("https://dialpad.com/r/1".into()),
            kind: CALL_RECORDING.into(),
            started_at: Some(now()),
            ..RecordingKnowledge::default()
        }],
        recording_url: Some("https://dialpad.com/r/1".into()),
        hold_ms: Some(1500.into()),
        ..Knowledge::default()
    };
    let signals = [Signal::Ringing, Signal::Connected, Signal::Held, Signal::Ended(EndKind::Hangup)];
    let facts = (0..).zip(signals).fold(CallFacts::default(), |facts, (second, signal)| {
        let at = now() + TimeDelta::milliseconds(second * 1001);
        apply(
            &facts,
            &CallCommand::from(CallEvent {
                dialpad_call_id: DialpadCallId(id),
                at,
                signal,
                knowledge: known.clone(),
                origin: Origin::Webhook,
            }),
        )
        .facts
    });
    let call = StoredCall { version: 1, facts, ..StoredCall::unseen(DialpadCallId(id), now()) };
    CallRecord { snapshot: call.facts.snapshot(), call }
}

pub(crate) fn event(app: AppId, call: i64) -> OutEvent {
    let mut stored = StoredCall::unseen(DialpadCallId(call), now());
    let knowledge = Knowledge { dialpad_user_id: Some(555), ..Knowledge::default() };
    stored.facts.absorb(&CallEvent { knowledge, ..ring(call, now()) });
    call_event(app, &stored, &stored.facts.snapshot(), &CallChange::Ring, now(), Origin::Webhook)
}

pub(crate) fn unit_of(app: AppId, calls: impl IntoIterator<Item = i64>) -> Arc<Unit> {
    Arc::new(Unit {
        events: calls.into_iter().map(|call| event(app, call)).collect(),
        ..Unit::new(app, now())
    })
}

pub(crate) async fn a_unit_is_written_as_a_whole(store: &impl Subject) {
    let app = store.new_app().await;
    let record = finished_call(7);
    let row = store.receive(app, 7, now()).await;
    let unit = Unit {
        calls: vec![record.clone()],
        events: vec![event(app, 7), event(app, 7)],
        processed: vec![row],
        ..Unit::new(app, now())
    };
    let receipt = store.commit(Arc::new(unit)).await.expect("committed");
    assert_eq!(receipt.last_seq_before, Seq::START);
    let calls = store.relatives(app, &[DialpadCallId(7), DialpadCallId(8)]).await.expect("read");
    assert_eq!(calls, [record.call], "what was written comes back to the letter");
    assert_eq!(store.page(app, Seq::START, 10).await.expect("read").len(), 2);
    assert!(store.pending(app, 10).await.expect("read").is_empty());
}

/// A leg at this target that names others: master, entry point, operator.
fn leg(id: i64, target: i64, names: [Option<i64>; 3]) -> StoredCall {
    let [master_call_id, entry_point_call_id, operator_call_id] = names;
    let target_id = Some(target);
    let known = Knowledge {
        master_call_id,
        entry_point_call_id,
        operator_call_id,
        target_id,
        ..Knowledge::default()
    };
    let mut call = StoredCall { version: 1, ..StoredCall::unseen(DialpadCallId(id), now()) };
    call.facts.absorb(&CallEvent { knowledge: known, ..ring(id, now()) });
    call
}

pub(crate) async fn legs_are_found_by_the_legs_that_name_them_and_by_their_interaction(store: &impl Subject) {
    let app = store.new_app().await;
    let main_line = leg(1, 50, [None; 3]);
    let mut queue = leg(2, 60, [Some(1), None, Some(4)]);
    let mut agent = leg(3, 70, [None, Some(2), None]);
    let stranger = leg(9, 70, [None; 3]);
    queue.interaction_id = main_line.interaction_id;
    agent.interaction_id = main_line.interaction_id;
    let records = [&main_line, &queue, &agent, &stranger]
        .map(|call| CallRecord { snapshot: call.facts.snapshot(), call: call.clone() });
    let unit = Unit { calls: records.to_vec(), ..Unit::new(app, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");

    let ids = |calls: Vec<StoredCall>| {
        let mut ids: Vec<i64> = calls.iter().map(|call| call.dialpad_call_id.0).collect();
        ids.sort_unstable();
        ids
    };
    for (named, expected) in [(1, vec![1, 2]), (2, vec![2, 3]), (4, vec![2]), (9, vec![9]), (77, vec![])] {
        let found = store.relatives(app, &[DialpadCallId(named)]).await.expect("read");
        assert_eq!(ids(found), expected, "relatives of {named}");
    }
    let found = store.legs(app, &[main_line.interaction_id]).await.expect("read");
    assert!(found.iter().all(|call| call.interaction_id == main_line.interaction_id));
    assert_eq!(ids(found), [1, 2, 3]);
    assert_eq!(ids(store.legs(app, &[stranger.interaction_id]).await.expect("read")), [9]);
}

/// Returns the window of a target between two seconds.
fn window(target: i64, from: i64, until: i64) -> Window {
    Window { target, from: now() + TimeDelta::seconds(from), until: now() + TimeDelta::seconds(until) }
}

pub(crate) async fn a_leg_is_new_only_if_no_call_is_it_or_names_it(store: &impl Subject) {
    let (app, other) = (store.new_app().await, store.new_app().await);
    let named_by = [[Some(11), None, None], [None, Some(12), None], [None, None, Some(13)]];
    let calls = (1..).zip(named_by).map(|(id, names)| {
        let call = leg(id, 50, names);
        CallRecord { snapshot: call.facts.snapshot(), call }
    });
    let unit = Unit { calls: calls.collect(), ..Unit::new(app, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");
    let with_new = |app, new: i64| {
        let (events, record) = (vec![event(app, 100 + new)], finished_call(new));
        let unseen = vec![DialpadCallId(new), DialpadCallId(99)];
        Arc::new(Unit { unseen, calls: vec![record], events, ..Unit::new(app, now()) })
    };
    for known in [1, 11, 12, 13] {
        let refused = store.commit(with_new(app, known)).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{known}: {refused:?}");
    }
    assert!(store.page(app, Seq::START, 10).await.expect("read").is_empty(), "nothing was written");
    store.commit(with_new(app, 14)).await.expect("it is new");
    store.commit(with_new(other, 11)).await.expect("the other app knows no call");
}

pub(crate) async fn legs_that_name_nothing_of_each_other_are_found_by_user_and_time(store: &impl Subject) {
    let app = store.new_app().await;
    let live = leg(1, 70, [None; 3]);
    let mut over = leg(2, 70, [None; 3]);
    let end = CallEvent { signal: Signal::Ended(EndKind::Hangup), ..ring(2, now() + TimeDelta::seconds(60)) };
    over.facts.absorb(&end);
    let mut sent_on = leg(3, 80, [None; 3]);
    let knowledge = Knowledge { transferred_from: Some(70), ..Knowledge::default() };
    sent_on.facts.absorb(&CallEvent { knowledge, ..ring(3, now()) });
    let mut merged = leg(4, 90, [None; 3]);
    let knowledge = Knowledge { is_merged: true, ..Knowledge::default() };
    merged.facts.absorb(&CallEvent { knowledge, ..ring(4, now() + TimeDelta::seconds(5)) });
    let records = [&live, &over, &sent_on, &merged]
        .map(|call| CallRecord { snapshot: call.facts.snapshot(), call: call.clone() });
    let unit = Unit { calls: records.to_vec(), ..Unit::new(app, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");

    let ids = |calls: Vec<StoredCall>| {
        let mut ids: Vec<i64> = calls.iter().map(|call| call.dialpad_call_id.0).collect();
        ids.sort_unstable();
        ids
    };
    for (windows, expected) in [
        (vec![window(70, 60, 90)], vec![1, 2]),
        (vec![window(70, 61, 90)], vec![1]),
        (vec![window(70, 0, 59), window(80, 0, 0), window(70, 0, 60)], vec![1, 2, 3]),
        (vec![window(71, 0, 90)], vec![]),
    ] {
        assert_eq!(ids(store.calls_in(app, &windows).await.expect("read")), expected, "{windows:?}");
    }
    for (windows, expected) in [
        (vec![window(70, 0, 0), window(90, 0, 9)], vec![3, 4]),
        (vec![window(70, -9, -1), window(70, 1, 9), window(80, 0, 9), window(90, 0, 4)], vec![]),
    ] {
        assert_eq!(ids(store.waiting_in(app, &windows).await.expect("read")), expected, "{windows:?}");
    }
    let other = store.new_app().await;
    assert!(store.calls_in(other, &[window(70, 0, 90)]).await.expect("read").is_empty());
    assert!(store.waiting_in(other, &[window(70, 0, 90)]).await.expect("read").is_empty());
}

pub(crate) async fn the_newest_calls_are_those_first_seen_and_those_that_wait(store: &impl Subject) {
    let app = store.new_app().await;
    let mut inbound = leg(8, 70, [None; 3]);
    let knowledge = Knowledge { direction: Some(Direction::Inbound), ..Knowledge::default() };
    inbound.facts.absorb(&CallEvent { knowledge, ..ring(8, now()) });
    let mut waiting = leg(3, 80, [None; 3]);
    let knowledge = Knowledge { transferred_from: Some(70), ..Knowledge::default() };
    waiting.facts.absorb(&CallEvent { knowledge, ..ring(3, now()) });
    let records =
        [&inbound, &waiting].map(|call| CallRecord { snapshot: call.facts.snapshot(), call: call.clone() });
    let calls = records.into_iter().chain([finished_call(7)]).collect();
    store.commit(Arc::new(Unit { calls, ..Unit::new(app, now()) })).await.expect("committed");

    let (long_ago, just_before) = (DateTime::UNIX_EPOCH, now() - TimeDelta::milliseconds(1));
    let newest = store.recent_calls(app, long_ago, just_before).await.expect("read");
    assert_eq!(newest, RecentCalls { first_seen: vec![inbound], waited_for: vec![(70, now())] });
    let future = "2100-01-01T00:00:00Z".parse().expect("an instant");
    assert_eq!(store.recent_calls(app, future, future).await.expect("read"), RecentCalls::default());
    let other = store.new_app().await;
    assert_eq!(store.recent_calls(other, long_ago, long_ago).await.expect("read"), RecentCalls::default());
}

pub(crate) async fn an_interaction_is_replaced_only_by_its_next_version(store: &impl Subject) {
    let app = store.new_app().await;
    let call = finished_call(7);
    let shown = LegShown::of(&call.call, &call.snapshot);
    let first = StoredInteraction {
        id: call.call.interaction_id,
        version: 1,
        summary: Summary::of(&[shown]).expect("it has a leg"),
        merged_into: None,
        settles_at: Some(now() + TimeDelta::seconds(10)),
        has_settled: false,
        updated_at: now(),
    };
    let write = async |interaction: &StoredInteraction| {
        let unit = Unit { interactions: vec![interaction.clone()], ..Unit::new(app, now()) };
        store.commit(Arc::new(unit)).await.map(|_| ())
    };
    let read = async || store.interactions(app, &[first.id, InteractionId::generate()]).await.expect("read");
    write(&first).await.expect("committed");
    assert_eq!(read().await, std::slice::from_ref(&first), "what was written comes back to the letter");
    assert!(store.interactions(store.new_app().await, &[first.id]).await.expect("read").is_empty());

    assert!(!unsettled_at(store, 9).await.contains(&(app, first.id)), "it is not due yet");
    assert!(unsettled_at(store, 10).await.contains(&(app, first.id)));
    let settled = StoredInteraction { version: 2, settles_at: None, has_settled: true, ..first.clone() };
    write(&settled).await.expect("committed");
    for late in [StoredInteraction { version: 2, ..first.clone() }, first.clone()] {
        assert!(matches!(write(&late).await, Err(StoreError::Conflict(_))), "another process was first");
    }
    assert_eq!(read().await, [settled]);
    assert!(!unsettled_at(store, 10_000).await.contains(&(app, first.id)));
}

async fn unsettled_at(store: &impl Subject, second: i64) -> Vec<(AppId, InteractionId)> {
    store.unsettled(now() + TimeDelta::seconds(second), 1000).await.expect("read")
}

pub(crate) async fn a_lost_race_changes_nothing(store: &impl Subject) {
    let app = store.new_app().await;
    let first = finished_call(7);
    let unit = Unit { calls: vec![first.clone()], ..Unit::new(app, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");

    let row = store.receive(app, 8, now()).await;
    for stale_version in [1, 3] {
        let mut stale = finished_call(7);
        stale.call.version = stale_version;
        let unit = Unit {
            calls: vec![finished_call(9), stale],
            events: vec![event(app, 7)],
            processed: vec![row],
            ..Unit::new(app, now())
        };
        let refused = store.commit(Arc::new(unit)).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    let calls = store.relatives(app, &[DialpadCallId(7), DialpadCallId(9)]).await.expect("read");
    assert_eq!(calls, [first.call]);
    assert_eq!(store.bounds(app).await.expect("read").head, Seq::START);
    assert_eq!(store.pending(app, 10).await.expect("read").len(), 1);
}

pub(crate) async fn the_journal_gives_what_is_pending_in_its_order(store: &impl Subject) {
    let app = store.new_app().await;
    let mut rows = Vec::new();
    for call in 1..=5 {
        rows.push(store.receive(app, call, now()).await);
    }
    let pending = store.pending(app, 3).await.expect("read");
    assert_eq!(pending.iter().map(|event| event.id).collect::<Vec<_>>(), rows[..3]);
    assert_eq!(pending[0].content, Ok(Inbound::Call(ring(1, now()))), "with the content that was sent");
    assert_eq!(store.backlog(now()).await.expect("read"), []);
    assert_eq!(store.backlog(now() + TimeDelta::seconds(1)).await.expect("read"), [app]);
}

pub(crate) async fn a_unit_marks_its_webhooks(store: &impl Subject) {
    let app = store.new_app().await;
    let rows = [
        store.receive(app, 1, now()).await,
        store.receive(app, 2, now()).await,
        store.receive(app, 3, now()).await,
    ];
    let unit = Unit {
        processed: vec![rows[0]],
        retried: vec![rows[1]],
        failed: vec![(rows[2], "because".into())],
        ..Unit::new(app, now())
    };
    store.commit(Arc::new(unit)).await.expect("committed");
    let pending = store.pending(app, 10).await.expect("read");
    assert_eq!(pending.iter().map(|event| (event.id, event.attempts)).collect::<Vec<_>>(), [(rows[1], 1)]);
}

pub(crate) async fn messages_keep_their_facts(store: &impl Subject) {
    let app = store.new_app().await;
    let said = MessageKnowledge {
        text: Some("Hi".into()),
        status: Some("sent".into()),
        media_urls: vec!["u1".into(), "u2".into()],
        delivery_result: Some("accepted".into()),
        ..MessageKnowledge::default()
    };
    let event = MessageEvent { dialpad_message_id: "m1".into(), at: now(), knowledge: said };
    let (facts, _) = message::apply(None, &event);
    let message = StoredMessage { version: 1, ..StoredMessage::unseen("m1".into(), facts, now()) };
    let unit = Unit { messages: vec![message.clone()], ..Unit::new(app, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");
    assert_eq!(store.messages(app, &["m1".into(), "m2".into()]).await.expect("read"), [message]);
}

pub(crate) async fn apps_do_not_see_each_other(store: &impl Subject) {
    let (ours, theirs) = (store.new_app().await, store.new_app().await);
    store.commit(unit_of(ours, 1..=3)).await.expect("committed");
    let unit = Unit { calls: vec![finished_call(7)], ..Unit::new(ours, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");
    store.receive(ours, 1, now()).await;
    assert_eq!(store.bounds(theirs).await.expect("read").head, Seq::START);
    assert!(store.page(theirs, Seq::START, 10).await.expect("read").is_empty());
    assert!(store.relatives(theirs, &[DialpadCallId(7)]).await.expect("read").is_empty());
    assert!(store.pending(theirs, 10).await.expect("read").is_empty());
    assert_eq!(store.commit(unit_of(theirs, [1])).await.expect("committed").last_seq_before, Seq::START);
}

pub(crate) async fn a_user_has_the_crm_id_that_was_mapped_last(store: &impl Subject) {
    let (app, other) = (store.new_app().await, store.new_app().await);
    let names = async || {
        let names = store.crm_users(app, &[1, 2, 3, i64::MAX]).await.expect("read");
        names.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(names().await, []);
    store.map_crm_user(app, 1, "ada").await;
    store.map_crm_user(app, i64::MAX, "grace").await;
    store.map_crm_user(other, 2, "foreign").await;
    assert_eq!(names().await, [(1, "ada".to_owned()), (i64::MAX, "grace".to_owned())]);
    store.map_crm_user(app, 1, "ünïcode").await;
    assert_eq!(names().await, [(1, "ünïcode".to_owned()), (i64::MAX, "grace".to_owned())]);
}
