//! What every store promises of the feed: places without holes, pages that end in time, and the active calls as they
//! are at one place.

use std::sync::Arc;

use cti_actors::{
    event::Filter,
    id::{DialpadCallId, Seq},
    model::call::{CallEvent, CallRecord, Direction, Knowledge, StoredCall},
    ports::Bounds,
    unit::Unit,
};
use serde_json::{Value, json};

use crate::contract::{Subject, event, finished_call, now, ring, unit_of};

pub(crate) async fn seq_goes_on_without_holes(store: &impl Subject) {
    let app = store.new_app().await;
    let before = [store.commit(unit_of(app, 1..=3)).await, store.commit(unit_of(app, 4..=300)).await];
    let before = before.map(|receipt| receipt.expect("committed").last_seq_before);
    assert_eq!(before, [Seq(0), Seq(3)]);
    let Bounds { oldest, head, .. } = store.bounds(app).await.expect("read");
    assert_eq!((oldest, head), (Seq(1), Seq(300)));
    let page = store.page(app, Seq::START, 1000).await.expect("read");
    assert!(page.iter().zip(1..).all(|(frame, seq)| frame.seq == Seq(seq)));
    assert!(page.iter().zip(1..).all(|(frame, call)| frame.text.contains(&format!("\"call_id\":{call},"))));
}

pub(crate) async fn a_page_of_the_feed_begins_after_its_cursor(store: &impl Subject) {
    let app = store.new_app().await;
    store.commit(unit_of(app, 1..=9)).await.expect("committed");
    let page = store.page(app, Seq(4), 3).await.expect("read");
    assert_eq!(page.iter().map(|frame| frame.seq.0).collect::<Vec<_>>(), [5, 6, 7]);
    assert_eq!((page[0].event_type.as_str(), page[0].dialpad_user_id), ("call.ring", Some(555)));
    let text = &page[0].text;
    assert!(text.starts_with("{\"type\":\"call.ring\",\"seq\":5,\"event_id\":"), "{text}");
    assert!(text.contains("\"call_id\":5,"), "{text}");
    assert!(store.page(app, Seq(9), 3).await.expect("read").is_empty());
}

pub(crate) async fn a_page_ends_when_it_has_enough_bytes(store: &impl Subject) {
    let app = store.new_app().await;
    store.commit(unit_of(app, 1..=9)).await.expect("committed");
    let page = store.page_within(app, Seq(4), 3, 1).await.expect("read");
    assert_eq!(page.iter().map(|frame| frame.seq.0).collect::<Vec<_>>(), [5], "one, whatever its size");
    let page = store.page_within(app, Seq(4), 3, 1 << 20).await.expect("read");
    assert_eq!(page.len(), 3);
}

pub(crate) async fn the_tail_of_a_feed_comes_with_its_epoch(store: &impl Subject) {
    let app = store.new_app().await;
    let epoch = store.bounds(app).await.expect("read").epoch;
    assert_eq!(store.tail(app, Seq::START, 3, 1).await.expect("read"), (epoch, Vec::new()));
    store.commit(unit_of(app, 1..=9)).await.expect("committed");
    for (after, limit, max_bytes) in [(4, 3, 1), (4, 3, 1 << 20), (7, 9, 1 << 20), (9, 9, 1 << 20)] {
        let page = store.page_within(app, Seq(after), limit, max_bytes).await.expect("read");
        assert_eq!(store.tail(app, Seq(after), limit, max_bytes).await.expect("read"), (epoch, page));
    }
}

pub(crate) async fn the_heads_of_several_feeds_are_read_at_once(store: &impl Subject) {
    let (one, other, quiet) = (store.new_app().await, store.new_app().await, store.new_app().await);
    store.commit(unit_of(one, 1..=9)).await.expect("committed");
    store.commit(unit_of(other, 1..=2)).await.expect("committed");
    let mut heads = store.heads(&[one, other, quiet]).await.expect("read");
    heads.sort_unstable();
    let epoch = store.bounds(one).await.expect("read").epoch;
    let mut expected = [(one, epoch, Seq(9)), (other, epoch, Seq(2)), (quiet, epoch, Seq::START)];
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

pub(crate) async fn the_active_calls_come_with_the_last_event_that_they_include(store: &impl Subject) {
    let (app, other) = (store.new_app().await, store.new_app().await);
    let none = store.active_calls(app).await.expect("read");
    assert_eq!((none.as_of, none.calls.len()), (Seq::START, 0));

    store.map_crm_user(app, 555, "ada").await;
    let calls = vec![ringing(1), finished_call(2), ringing(3)];
    let unit =
        Unit { calls, events: vec![event(app, 1), event(app, 2), event(app, 3)], ..Unit::new(app, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");
    let unit = Unit { calls: vec![ringing(1)], ..Unit::new(other, now()) };
    store.commit(Arc::new(unit)).await.expect("committed");

    let active = store.active_calls(app).await.expect("read");
    assert_eq!(active.as_of, Seq(3));
    let shown: Vec<Value> =
        active.calls.iter().map(|call| serde_json::from_str(call.text()).expect("JSON")).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    for (call, id) in shown.iter().zip([1, 3]) {
        assert_eq!(
            [&call["dialpad_call_id"], &call["call_id"], &call["status"], &call["crm_user_id"]],
            [&json!(id), &json!(id), &json!("ringing"), &json!("ada")],
        );
    }
    let as_text: Value = serde_json::from_str(&active.calls[0].text_with_text_ids()).expect("JSON");
    assert_eq!([&as_text["call_id"], &as_text["dialpad_user_id"]], [&json!("1"), &json!("555")]);
    let of_user = |user| Filter { dialpad_user_id: Some(user), ..Filter::default() };
    assert_eq!(active.next_match(1, &of_user(555)), Some(1));
    assert_eq!(active.next_match(0, &of_user(7)), None);
}

/// With every event a call begins, so there are as many as the feed is long, whenever one looks.
pub(crate) async fn the_active_calls_are_one_snapshot(store: &impl Subject) {
    let app = store.new_app().await;
    let begin = async |ids: std::ops::Range<i64>| {
        let unit = Unit {
            events: ids.clone().map(|call| event(app, call)).collect(),
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

pub(crate) async fn all_feeds_have_one_epoch_until_another_one_begins(store: &impl Subject) {
    let (one, other) = (store.new_app().await, store.new_app().await);
    let epochs = async || {
        let bounds = [store.bounds(one).await, store.bounds(other).await];
        let [one_epoch, other_epoch] = bounds.map(|bounds| bounds.expect("read").epoch);
        assert_eq!(one_epoch, other_epoch);
        assert_eq!(store.active_calls(one).await.expect("read").epoch, one_epoch);
        one_epoch
    };
    let first = epochs().await;
    let second = store.renew_epoch(first).await.expect("renewed");
    assert_ne!(second, first);
    assert_eq!(epochs().await, second);
    assert_eq!(store.renew_epoch(first).await.expect("asked"), second, "another process was faster");
    assert_eq!(epochs().await, second);
}
