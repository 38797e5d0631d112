//! What the engine relies on, whatever the store.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    call::{
        CallEvent, CallFacts, CallRecord, Direction, EndKind, Knowledge, Origin, Signal, StoredCall, apply,
    },
    error::StoreError,
    feed::{Filter, OutEvent},
    id::{AppId, DialpadCallId, EventId, JournalId, Seq},
    message::{self, MessageEvent, MessageKnowledge, StoredMessage},
    ports::{Bounds, EventLog, Inbound, Journal, Ledger},
    testing::MemoryStore,
    unit::Unit,
};
use cti_server::store::{
    Store,
    journal::{Appended, Disposition, NewWebhook},
    keys::NewKey,
};
use serde_json::json;

pub(crate) use super::cursors::*;

/// What a test needs of a store beyond the engine's ports.
#[async_trait]
pub(crate) trait Subject: Journal + Ledger + EventLog {
    async fn new_app(&self) -> AppId;
    /// Writes a ring of this call into the journal.
    async fn receive(&self, app: AppId, call: i64, at: DateTime<Utc>) -> JournalId;
    /// From now on, the CRM calls this user so.
    async fn name_user(&self, app: AppId, user: i64, name: &str);
}

#[async_trait]
impl Subject for MemoryStore {
    async fn new_app(&self) -> AppId {
        AppId::generate()
    }

    async fn receive(&self, app: AppId, call: i64, at: DateTime<Utc>) -> JournalId {
        self.append(app, at, Ok(Inbound::Call(ring(call, at)))).id
    }

    async fn name_user(&self, app: AppId, user: i64, name: &str) {
        self.map_user(app, user, name);
    }
}

#[async_trait]
impl Subject for Store {
    async fn new_app(&self) -> AppId {
        self.create_app("an app", &NewKey::generate()).await.expect("an app").id()
    }

    async fn receive(&self, app: AppId, call: i64, at: DateTime<Utc>) -> JournalId {
        let appended = self.append(vec![webhook(app, call, at)]).await.expect("written");
        match appended[..] {
            [Appended::New(id)] => id,
            _ => panic!("expected one new row, got {appended:?}"),
        }
    }

    async fn name_user(&self, app: AppId, user: i64, name: &str) {
        self.map_users(app, &[(user, name.to_owned())]).await.expect("mapped");
    }
}

/// A webhook as the door writes it.
pub(crate) fn webhook(app: AppId, call: i64, at: DateTime<Utc>) -> NewWebhook {
    let payload =
        json!({"event_type": "call.ring", "call_id": call, "timestamp": at.timestamp()}).to_string();
    let mut key = [0; 36];
    key[..8].copy_from_slice(&call.to_be_bytes());
    let disposition = Disposition::Pending(Box::new(Inbound::Call(ring(call, at))));
    NewWebhook::new(Some(app), None, key, "call.ring".into(), payload.into_bytes().into(), disposition, at)
}

fn ring(call: i64, at: DateTime<Utc>) -> CallEvent {
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
        recording_url: Some("https://dialpad.com/r/1".into()),
        hold_ms: Some(1500),
        ..Knowledge::default()
    };
    let signals = [Signal::Ringing, Signal::Connected, Signal::Held, Signal::Ended(EndKind::Hangup)];
    let facts = (0..).zip(signals).fold(CallFacts::default(), |facts, (second, signal)| {
        let at = now() + TimeDelta::milliseconds(second * 1001);
        apply(
            &facts,
            &CallEvent {
                dialpad_call_id: DialpadCallId(id),
                at,
                signal,
                knowledge: known.clone(),
                origin: Origin::Webhook,
            },
        )
        .facts
    });
    let call = StoredCall { version: 1, facts, ..StoredCall::unseen(DialpadCallId(id), now()) };
    CallRecord { snapshot: call.facts.snapshot(), call }
}

pub(crate) fn event(call: i64) -> OutEvent {
    OutEvent {
        id: EventId::generate(),
        kind: Cow::Borrowed("call.ring"),
        dialpad_call_id: Some(DialpadCallId(call)),
        dialpad_user_id: Some(555),
        occurred_at: now(),
        body: format!("{{\"call_id\":{call},\"status\":\"ringing\"}}"),
    }
}

fn telling(app: AppId, calls: impl IntoIterator<Item = i64>) -> Arc<Unit> {
    Arc::new(Unit { events: calls.into_iter().map(event).collect(), ..Unit::new(app, now()) })
}

pub(crate) async fn a_unit_is_written_as_a_whole(store: &impl Subject) {
    let app = store.new_app().await;
    let record = finished_call(7);
    let row = store.receive(app, 7, now()).await;
    let unit = Unit {
        calls: vec![record.clone()],
        events: vec![event(7), event(7)],
        processed: vec![row],
        ..Unit::new(app, now())
    };
    let receipt = store.commit(Arc::new(unit)).await.expect("committed");
    assert_eq!(receipt.told_before, Seq::START);
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

pub(crate) async fn legs_are_found_by_whoever_names_them_and_by_their_interaction(store: &impl Subject) {
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
    let recent = store.recent_calls_of(app, &[70, 60], now()).await.expect("read");
    assert_eq!(ids(recent), [2, 3, 9]);
    let later = store.recent_calls_of(app, &[70], now() + TimeDelta::seconds(1)).await.expect("read");
    assert!(later.is_empty());
}

pub(crate) async fn seq_goes_on_without_holes(store: &impl Subject) {
    let app = store.new_app().await;
    let before = [store.commit(telling(app, 1..=3)).await, store.commit(telling(app, 4..=300)).await];
    let before = before.map(|receipt| receipt.expect("committed").told_before);
    assert_eq!(before, [Seq(0), Seq(3)]);
    assert_eq!(store.bounds(app).await.expect("read"), Bounds { oldest: Seq(1), head: Seq(300) });
    let page = store.page(app, Seq::START, 1000).await.expect("read");
    assert!(page.iter().zip(1..).all(|(frame, seq)| frame.seq == Seq(seq)));
    assert!(page.iter().zip(1..).all(|(frame, call)| frame.text.contains(&format!("\"call_id\":{call},"))));
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
            events: vec![event(7)],
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
    assert_eq!(pending[0].content, Ok(Inbound::Call(ring(1, now()))), "and it says what was sent");
    assert_eq!(store.backlog(now()).await.expect("read"), []);
    assert_eq!(store.backlog(now() + TimeDelta::seconds(1)).await.expect("read"), [app]);
}

pub(crate) async fn a_webhook_is_marked_as_the_unit_says(store: &impl Subject) {
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

pub(crate) async fn a_page_of_the_feed_begins_behind_its_cursor(store: &impl Subject) {
    let app = store.new_app().await;
    store.commit(telling(app, 1..=9)).await.expect("committed");
    let page = store.page(app, Seq(4), 3).await.expect("read");
    assert_eq!(page.iter().map(|frame| frame.seq.0).collect::<Vec<_>>(), [5, 6, 7]);
    assert_eq!((&*page[0].kind, page[0].dialpad_user_id), ("call.ring", Some(555)));
    assert!(page[0].text.starts_with("{\"type\":\"call.ring\",\"seq\":5,\"call_id\":5,"), "{}", page[0].text);
    assert!(store.page(app, Seq(9), 3).await.expect("read").is_empty());
}

pub(crate) async fn a_page_ends_when_it_has_enough_bytes(store: &impl Subject) {
    let app = store.new_app().await;
    store.commit(telling(app, 1..=9)).await.expect("committed");
    let page = store.page_within(app, Seq(4), 3, 1).await.expect("read");
    assert_eq!(page.iter().map(|frame| frame.seq.0).collect::<Vec<_>>(), [5], "one, whatever its size");
    let page = store.page_within(app, Seq(4), 3, 1 << 20).await.expect("read");
    assert_eq!(page.len(), 3);
}

pub(crate) async fn the_heads_of_several_feeds_are_read_at_once(store: &impl Subject) {
    let (one, other, quiet) = (store.new_app().await, store.new_app().await, store.new_app().await);
    store.commit(telling(one, 1..=9)).await.expect("committed");
    store.commit(telling(other, 1..=2)).await.expect("committed");
    let mut heads = store.heads(&[one, other, quiet]).await.expect("read");
    heads.sort_unstable();
    let mut expected = [(one, Seq(9)), (other, Seq(2)), (quiet, Seq::START)];
    expected.sort_unstable();
    assert_eq!(heads, expected);
    assert!(store.heads(&[]).await.expect("read").is_empty());
}

/// A call of user 555 that rings.
fn ringing(id: i64) -> CallRecord {
    let knowledge = Knowledge {
        direction: Some(Direction::Inbound),
        from_number: Some("+1".into()),
        dialpad_user_id: Some(555),
        ..Knowledge::default()
    };
    let mut call = StoredCall { version: 1, ..StoredCall::unseen(DialpadCallId(id), now()) };
    call.facts.absorb(&CallEvent { knowledge, ..ring(id, now()) });
    CallRecord { snapshot: call.facts.snapshot(), call }
}

pub(crate) async fn the_active_calls_are_shown_with_the_place_of_the_feed(store: &impl Subject) {
    let (app, other) = (store.new_app().await, store.new_app().await);
    let none = store.active_calls(app).await.expect("read");
    assert_eq!((none.as_of, none.calls.len()), (Seq::START, 0));

    store.name_user(app, 555, "ada").await;
    let calls = vec![ringing(1), finished_call(2), ringing(3)];
    let unit = Unit { calls, events: vec![event(1), event(2), event(3)], ..Unit::new(app, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");
    let unit = Unit { calls: vec![ringing(1)], ..Unit::new(other, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");

    let active = store.active_calls(app).await.expect("read");
    assert_eq!(active.as_of, Seq(3));
    let shown: Vec<serde_json::Value> =
        active.calls.iter().map(|call| serde_json::from_str(call.text()).expect("JSON")).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    for (call, id) in shown.iter().zip([1, 3]) {
        assert_eq!(
            [&call["dialpad_call_id"], &call["call_id"], &call["status"], &call["crm_user_id"]],
            [&json!(id), &json!(id), &json!("ringing"), &json!("ada")],
        );
    }
    let as_text: serde_json::Value =
        serde_json::from_str(&active.calls[0].text_with_text_ids()).expect("JSON");
    assert_eq!([&as_text["call_id"], &as_text["dialpad_user_id"]], [&json!("1"), &json!("555")]);
    let of_user = |user| Filter { dialpad_user_id: Some(user), ..Filter::default() };
    assert_eq!(active.next_wanted(1, &of_user(555)), Some(1));
    assert_eq!(active.next_wanted(0, &of_user(7)), None);
}

/// With every event a call begins, so there are as many as the feed is long, whenever one looks.
pub(crate) async fn the_active_calls_are_those_of_one_moment(store: &impl Subject) {
    let app = store.new_app().await;
    let begin = async |ids: std::ops::Range<i64>| {
        let unit = Unit {
            events: ids.clone().map(event).collect(),
            calls: ids.map(ringing).collect(),
            ..Unit::new(app, now())
        };
        store.commit(Arc::new(unit)).await.expect("committed");
    };
    // More than are read at a time.
    begin(0..1100).await;
    let calls_begin = async {
        for id in 1100..1250 {
            begin(id..id + 1).await;
        }
    };
    let look = async {
        loop {
            let active = store.active_calls(app).await.expect("read");
            assert_eq!(i64::try_from(active.calls.len()), Ok(active.as_of.0));
            if active.as_of == Seq(1250) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(calls_begin, look);
}

pub(crate) async fn messages_keep_their_facts(store: &impl Subject) {
    let app = store.new_app().await;
    let said = MessageKnowledge {
        text: Some("Hi".into()),
        status: Some("sent".into()),
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
    store.commit(telling(ours, 1..=3)).await.expect("committed");
    let unit = Unit { calls: vec![finished_call(7)], ..Unit::new(ours, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");
    store.receive(ours, 1, now()).await;
    assert_eq!(store.bounds(theirs).await.expect("read").head, Seq::START);
    assert!(store.page(theirs, Seq::START, 10).await.expect("read").is_empty());
    assert!(store.relatives(theirs, &[DialpadCallId(7)]).await.expect("read").is_empty());
    assert!(store.pending(theirs, 10).await.expect("read").is_empty());
    assert_eq!(store.commit(telling(theirs, [1])).await.expect("committed").told_before, Seq::START);
}

pub(crate) async fn users_are_called_as_was_said_last(store: &impl Subject) {
    let (app, other) = (store.new_app().await, store.new_app().await);
    let names = async || {
        let names = store.crm_users(app, &[1, 2, 3, i64::MAX]).await.expect("read");
        names.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(names().await, []);
    store.name_user(app, 1, "ada").await;
    store.name_user(app, i64::MAX, "grace").await;
    store.name_user(other, 2, "foreign").await;
    assert_eq!(names().await, [(1, "ada".to_owned()), (i64::MAX, "grace".to_owned())]);
    store.name_user(app, 1, "ünïcode").await;
    assert_eq!(names().await, [(1, "ünïcode".to_owned()), (i64::MAX, "grace".to_owned())]);
}
