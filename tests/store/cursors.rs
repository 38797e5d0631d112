//! The contract of named consumers, which every store keeps.

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    id::{AppId, Epoch, Seq},
    model::sharing::{Participant, Sharing},
    ports::{Acquire, Acquired, SharingSave, StoredConsumer, StoredCursor, StoredSharing},
};

use crate::contract::Subject;

/// Two processes.
const HERE: i64 = 1;
const THERE: i64 = i64::MIN;

fn soon() -> DateTime<Utc> {
    DateTime::from_timestamp(4_102_444_800, 0).expect("a valid instant") + TimeDelta::seconds(60)
}

async fn epoch(store: &impl Subject, app: AppId) -> Epoch {
    store.bounds(app).await.expect("read").epoch
}

async fn take_up(store: &impl Subject, app: AppId, (start, head): (i64, i64), holder: i64) -> Acquired {
    let (start, head) = (Seq(start), Seq(head));
    let (epoch, held_until) = (epoch(store, app).await, soon());
    let request = Acquire { app_id: app, name: "crm", start, epoch, head, holder, held_until };
    store.acquire(request).await.expect("asked")
}

/// Held, with this cursor, and by this process before.
fn held(acked: i64, before: Option<i64>) -> Acquired {
    Acquired::Held { is_current: true, acked: Seq(acked), before }
}

/// Stores the cursor of the consumer. Returns whether this process still holds it.
async fn keep(store: &impl Subject, app: AppId, acked: i64, connections: usize, holder: i64) -> bool {
    let epoch = Some(epoch(store, app).await);
    keep_in(store, app, (epoch, acked), connections, holder).await
}

/// Stores the cursor of an epoch.
async fn keep_in(
    store: &impl Subject,
    app: AppId,
    (epoch, acked): (Option<Epoch>, i64),
    connections: usize,
    holder: i64,
) -> bool {
    let (name, acked) = ("crm".to_owned(), Seq(acked));
    let (app_id, held_until) = (app, soon());
    let unknown = StoredConsumer { app_id, name: "unknown".into(), acked, epoch, connections, held_until };
    let cursor = StoredConsumer { name: name.clone(), ..unknown.clone() };
    let kept = store.save_cursors(holder, &[cursor, unknown]).await.expect("kept");
    assert!(kept.is_empty() || kept == [(app, name)], "{kept:?}");
    !kept.is_empty()
}

async fn cursor(store: &impl Subject, app: AppId) -> Option<Seq> {
    stored(store, app).await.map(|stored| stored.acked)
}

async fn stored(store: &impl Subject, app: AppId) -> Option<StoredCursor> {
    store.consumer(app, "crm").await.expect("read")
}

pub(crate) async fn a_consumer_begins_once_and_then_continues_at_its_cursor(store: &impl Subject) {
    let (app, other) = (store.new_app().await, store.new_app().await);
    assert_eq!(cursor(store, app).await, None);
    assert_eq!(take_up(store, app, (5, 9), HERE).await, held(5, None));
    assert_eq!(take_up(store, app, (8, 9), HERE).await, held(5, Some(HERE)));
    assert_eq!(cursor(store, app).await, Some(Seq(5)));
    assert_eq!(cursor(store, other).await, None);
    let shorter = take_up(store, app, (0, 3), HERE).await;
    assert_eq!(shorter, held(3, Some(HERE)), "the feed was restored to an earlier state");
}

pub(crate) async fn a_cursor_never_goes_back_and_only_its_holder_keeps_it(store: &impl Subject) {
    let app = store.new_app().await;
    take_up(store, app, (0, 9), HERE).await;
    assert!(keep(store, app, 4, 1, HERE).await && keep(store, app, 2, 1, HERE).await);
    assert_eq!(cursor(store, app).await, Some(Seq(4)));
    assert_eq!(store.held_by(HERE).await.expect("read"), [(app, "crm".to_owned())]);

    assert_eq!(take_up(store, app, (0, 9), THERE).await, held(4, Some(HERE)));
    assert!(!keep(store, app, 8, 1, HERE).await, "another process has taken it over");
    assert_eq!(cursor(store, app).await, Some(Seq(4)));
    assert!(store.held_by(HERE).await.expect("read").is_empty());
    assert!(store.save_cursors(HERE, &[]).await.expect("nothing to do").is_empty());
}

async fn shared(store: &impl Subject, app: AppId) -> StoredSharing {
    store.sharing(app, "crm").await.expect("read").expect("it exists")
}

/// Replaces what processes share. Returns whether nobody was faster.
async fn replace(store: &impl Subject, app: AppId, known: i64, version: i64, sharing: Sharing) -> bool {
    let save = |name: &str| SharingSave {
        app_id: app,
        name: name.to_owned(),
        known,
        version,
        sharing: sharing.clone(),
        held_until: soon(),
    };
    let saved = store.save_sharings(&[save("unknown"), save("crm")]).await.expect("saved");
    assert!(saved.is_empty() || saved == [(app, "crm".to_owned())], "{saved:?}");
    !saved.is_empty()
}

pub(crate) async fn what_processes_share_is_replaced_only_by_whoever_has_read_it_last(store: &impl Subject) {
    let app = store.new_app().await;
    assert_eq!(store.sharing(app, "crm").await.expect("read"), None);
    let epoch = epoch(store, app).await;
    let opened = store.open_shared(app, "crm", Seq(4), epoch).await.expect("opened").expect("it exists");
    assert_eq!((opened.acked, opened.epoch, opened.is_current, opened.is_live), (Seq(4), epoch, true, false));
    assert!(opened.sharing.is_none());

    let mut sharing = Sharing::new(epoch, true, Seq(6));
    let members = [cti_actors::id::SessionId::generate()].into();
    sharing.processes.insert(HERE, Participant { beat: 1, members });
    sharing.partitions[7].owner = Some(HERE);
    assert!(replace(store, app, opened.version, 77, sharing.clone()).await);
    assert!(!replace(store, app, opened.version, 78, sharing.clone()).await, "another one was faster");
    let known = shared(store, app).await;
    assert_eq!((known.version, known.acked, known.is_live, known.is_exclusive), (77, Seq(6), true, false));
    assert_eq!(known.sharing, Some(sharing.clone()));
    assert!(store.held_by(HERE).await.expect("read").is_empty(), "nobody holds it alone");
    let moved = store.advance_consumer(app, "crm", Seq(8)).await.expect("asked");
    assert!(!moved, "those who share know better");

    assert_eq!(take_up(store, app, (0, 9), THERE).await, held(6, Some(77)));
    assert!(!replace(store, app, 77, 79, sharing.clone()).await, "an exclusive connection has taken over");
    let known = shared(store, app).await;
    assert_eq!((known.is_exclusive, known.sharing.is_none()), (true, true));
    assert!(replace(store, app, THERE, 80, sharing.clone()).await, "and back");
    assert!(!keep(store, app, 8, 1, THERE).await);
}

pub(crate) async fn what_processes_share_belongs_to_an_epoch(store: &impl Subject) {
    let app = store.new_app().await;
    let before = epoch(store, app).await;
    take_up(store, app, (5, 9), HERE).await;
    assert!(replace(store, app, HERE, 77, Sharing::new(before, true, Seq(6))).await);
    let present = store.renew_epoch(before).await.expect("renewed");
    assert!(!replace(store, app, 77, 78, Sharing::new(before, true, Seq(8))).await);
    assert!(replace(store, app, 77, 78, Sharing::new(present, false, Seq(3))).await);
    let of = |epoch, acked| Some(StoredCursor { acked: Seq(acked), epoch: Some(epoch) });
    assert_eq!(stored(store, app).await, of(before, 6), "nothing was acknowledged in this epoch");
    assert!(!shared(store, app).await.is_current);
    assert!(replace(store, app, 78, 79, Sharing::new(present, true, Seq(3))).await);
    assert_eq!(stored(store, app).await, of(present, 3));
}

pub(crate) async fn a_consumer_may_be_moved_on_and_removed(store: &impl Subject) {
    let app = store.new_app().await;
    let advance = async |seq| store.advance_consumer(app, "crm", Seq(seq)).await.expect("asked");
    assert!(!advance(1).await);
    take_up(store, app, (0, 9), HERE).await;
    assert!(advance(6).await && advance(2).await);
    assert_eq!(cursor(store, app).await, Some(Seq(6)));
    assert!(store.remove_consumer(app, "crm").await.expect("removed"));
    assert!(!store.remove_consumer(app, "crm").await.expect("nothing to remove"));
    assert!(!keep(store, app, 8, 1, HERE).await);
    assert_eq!(take_up(store, app, (2, 9), HERE).await, held(2, None));
}

pub(crate) async fn a_cursor_belongs_to_the_epoch_in_which_it_was_acknowledged(store: &impl Subject) {
    let app = store.new_app().await;
    let before = epoch(store, app).await;
    let of = |epoch, acked| Some(StoredCursor { acked: Seq(acked), epoch: Some(epoch) });
    take_up(store, app, (5, 9), HERE).await;
    assert_eq!(stored(store, app).await, of(before, 5));

    let present = store.renew_epoch(before).await.expect("renewed");
    let again = take_up(store, app, (0, 9), HERE).await;
    assert_eq!(again, Acquired::Held { is_current: false, acked: Seq(5), before: Some(HERE) });
    assert!(keep_in(store, app, (Some(before), 8), 1, HERE).await, "it still holds it");
    assert!(keep_in(store, app, (None, 8), 1, HERE).await, "it still holds it");
    assert_eq!(stored(store, app).await, of(before, 5), "nothing was acknowledged in this epoch");

    assert!(keep(store, app, 3, 1, HERE).await);
    assert_eq!(stored(store, app).await, of(present, 3), "what an earlier epoch had says nothing");
    assert!(keep(store, app, 2, 1, HERE).await);
    assert_eq!(stored(store, app).await, of(present, 3), "never back within an epoch");

    let next = store.renew_epoch(present).await.expect("renewed");
    assert!(store.advance_consumer(app, "crm", Seq(1)).await.expect("asked"));
    assert_eq!(stored(store, app).await, of(next, 1));
}
