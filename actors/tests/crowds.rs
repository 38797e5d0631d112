//! Many readers that come at once: those that begin with the active calls, and those that have missed much. What they
//! share, and what they do not.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use cti_actors::{
    consumer::ConsumerKey,
    error::StoreError,
    event::{ActiveCalls, Filter, Frame},
    feed::{Feed, FeedReader},
    id::{AppId, Epoch, Seq},
    model::number::Region,
    ports::{
        Acquire, Acquired, Bounds, Cursors, EventLog, GapTimes, SharingSave, StoredConsumer, StoredCursor,
        StoredSharing,
    },
};
use tokio::sync::Semaphore;

/// A log whose active calls are read slowly, and counted, as pages of events are.
struct SlowLog {
    reads: AtomicUsize,
    pages: AtomicUsize,
    /// As of which place the next one is.
    head: AtomicUsize,
    may_end: Semaphore,
    fails: bool,
}

impl SlowLog {
    fn new(fails: bool) -> Arc<Self> {
        let (reads, pages, head) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { reads, pages, head, may_end: Semaphore::new(0), fails })
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl EventLog for SlowLog {
    async fn region(&self, _: AppId) -> Result<Region, StoreError> {
        Ok(Region::default())
    }

    async fn bounds(&self, _: AppId) -> Result<Bounds, StoreError> {
        Ok(Bounds::default())
    }

    async fn gap_times(&self, _: AppId, _: Seq) -> Result<GapTimes, StoreError> {
        Ok(GapTimes::default())
    }

    async fn heads(&self, _: &[AppId]) -> Result<Vec<(AppId, Epoch, Seq)>, StoreError> {
        Ok(Vec::new())
    }

    async fn renew_epoch(&self, known: Epoch) -> Result<Epoch, StoreError> {
        Ok(known)
    }

    async fn active_calls(&self, _: AppId) -> Result<ActiveCalls, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.may_end.acquire().await.expect("never closed").forget();
        if self.fails {
            return Err(StoreError::Unavailable("away".into()));
        }
        let as_of = i64::try_from(self.head.load(Ordering::SeqCst)).expect("small");
        Ok(ActiveCalls { epoch: Epoch::default(), as_of: Seq(as_of), calls: Vec::new() })
    }

    async fn page_within(
        &self,
        _: AppId,
        after: Seq,
        limit: usize,
        _: usize,
    ) -> Result<Vec<Frame>, StoreError> {
        self.pages.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let head = i64::try_from(self.head.load(Ordering::SeqCst)).expect("small");
        Ok((after.next().0..=head).take(limit).map(frame).collect())
    }

    async fn tail(&self, _: AppId, _: Seq, _: usize, _: usize) -> Result<(Epoch, Vec<Frame>), StoreError> {
        Ok((Epoch::default(), Vec::new()))
    }
}

fn frame(seq: i64) -> Frame {
    Frame::stored(Seq(seq), "call.ring", None, "{}").expect("an object")
}

/// Nobody is a named consumer here.
#[async_trait]
impl Cursors for SlowLog {
    async fn consumer(&self, _: AppId, _: &str) -> Result<Option<StoredCursor>, StoreError> {
        Ok(None)
    }

    async fn acquire(&self, _: Acquire<'_>) -> Result<Acquired, StoreError> {
        Ok(Acquired::TooMany)
    }

    async fn save_cursors(&self, _: i64, _: &[StoredConsumer]) -> Result<Vec<ConsumerKey>, StoreError> {
        Ok(Vec::new())
    }

    async fn held_by(&self, _: i64) -> Result<Vec<ConsumerKey>, StoreError> {
        Ok(Vec::new())
    }

    async fn advance_consumer(&self, _: AppId, _: &str, _: Seq) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn open_shared(
        &self,
        _: AppId,
        _: &str,
        _: Seq,
        _: Epoch,
    ) -> Result<Option<StoredSharing>, StoreError> {
        Ok(None)
    }

    async fn sharing(&self, _: AppId, _: &str) -> Result<Option<StoredSharing>, StoreError> {
        Ok(None)
    }

    async fn save_sharings(&self, _: &[SharingSave]) -> Result<Vec<ConsumerKey>, StoreError> {
        Ok(Vec::new())
    }

    async fn remove_consumer(&self, _: AppId, _: &str) -> Result<bool, StoreError> {
        Ok(false)
    }
}

struct Desk {
    feed: Arc<Feed>,
    log: Arc<SlowLog>,
    port: Arc<dyn EventLog>,
}

impl Desk {
    fn open(fails: bool) -> Self {
        let log = SlowLog::new(fails);
        Self { feed: Feed::new(AppId::generate()), port: Arc::<SlowLog>::clone(&log), log }
    }

    /// Takes the calls, without waiting for anybody to allow it.
    async fn take(&self) -> Arc<ActiveCalls> {
        self.log.may_end.add_permits(1);
        let taken = self.feed.active_calls(&self.port).await.expect("read");
        let unused = self.log.may_end.available_permits();
        self.log.may_end.forget_permits(unused);
        taken
    }

    /// The feed goes on, so far that memory does not have all of it.
    fn goes_on_to(&self, seq: i64) {
        self.log.head.store(usize::try_from(seq).expect("small"), Ordering::SeqCst);
        self.feed.publish(vec![frame(seq)]);
    }
}

#[tokio::test]
async fn a_crowd_that_comes_at_once_costs_one_look_at_the_store() {
    let desk = Desk::open(false);
    let crowd: Vec<_> = (0..1000)
        .map(|_| {
            let (feed, port) = (Arc::clone(&desk.feed), Arc::clone(&desk.port));
            tokio::spawn(async move { feed.active_calls(&port).await.expect("read") })
        })
        .collect();
    tokio::task::yield_now().await;
    desk.log.may_end.add_permits(1);
    let first = desk.feed.active_calls(&desk.port).await.expect("read");
    for taken in crowd {
        assert!(Arc::ptr_eq(&first, &taken.await.expect("no panic")));
    }
    assert_eq!(desk.log.reads(), 1);
}

#[tokio::test]
async fn what_nobody_needs_any_more_is_not_kept() {
    let desk = Desk::open(false);
    let gone = Arc::downgrade(&desk.take().await);
    assert!(gone.upgrade().is_none());
    desk.take().await;
    assert_eq!(desk.log.reads(), 2);
}

#[tokio::test]
async fn a_snapshot_is_shared_with_the_next_reader_while_it_is_recent() {
    let desk = Desk::open(false);
    let first = desk.take().await;
    desk.goes_on_to(1);
    assert!(Arc::ptr_eq(&first, &desk.take().await), "one event is at hand in memory");
    desk.goes_on_to(100);
    let later = desk.take().await;
    assert_eq!((later.as_of, desk.log.reads()), (Seq(100), 2));
}

#[tokio::test]
async fn readers_that_take_their_time_keep_a_few_in_memory() {
    let desk = Desk::open(false);
    let mut kept = Vec::new();
    for round in 1..=20 {
        desk.goes_on_to(round * 100);
        kept.push(desk.take().await);
    }
    let places: Vec<i64> = kept.iter().map(|taken| taken.as_of.0).collect();
    assert_eq!(desk.log.reads(), 4, "{places:?}");
    assert_eq!(places[3..], [400; 17]);
    drop(kept);
    assert_eq!(desk.take().await.as_of, Seq(2000));
}

#[tokio::test]
async fn who_comes_after_a_failure_tries_anew() {
    let desk = Desk::open(true);
    for tries in 1..=2 {
        desk.log.may_end.add_permits(1);
        assert!(desk.feed.active_calls(&desk.port).await.is_err());
        assert_eq!(desk.log.reads(), tries);
    }
}

#[tokio::test]
async fn whoever_goes_away_holds_up_nobody() {
    let desk = Desk::open(false);
    for _ in 0..10 {
        let (feed, port) = (Arc::clone(&desk.feed), Arc::clone(&desk.port));
        let impatient = tokio::spawn(async move { feed.active_calls(&port).await.map(|_| ()) });
        tokio::task::yield_now().await;
        impatient.abort();
    }
    desk.log.may_end.add_permits(20);
    desk.feed.active_calls(&desk.port).await.expect("read");
}

/// Reads up to an event. Returns what came.
async fn read(mut reader: FeedReader, last: i64) -> Vec<i64> {
    let mut seqs = Vec::new();
    while seqs.last() != Some(&last) {
        let batch = reader.next().await.expect("readable").expect("the feed goes on");
        seqs.extend(batch.frames.iter().map(|frame| frame.seq.0));
    }
    seqs
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_has_missed_much_reads_each_page_of_the_store_about_once() {
    // More than memory has.
    const HEAD: i64 = 10_000;
    let desk = Desk::open(false);
    desk.goes_on_to(HEAD);
    let crowd: Vec<_> = (0..1000)
        .map(|seen| {
            let (feed, log) = (Arc::clone(&desk.feed), Arc::clone(&desk.log));
            tokio::spawn(read(FeedReader::new(feed, log, Seq(seen % 100), Filter::default()), HEAD))
        })
        .collect();
    for (seen, reader) in (0..).zip(crowd) {
        assert_eq!(reader.await.expect("no panic"), Vec::from_iter(seen % 100 + 1..=HEAD));
    }
    let pages = desk.log.pages.load(Ordering::SeqCst);
    assert!(pages < 3 * usize::try_from(HEAD).expect("small") / 256, "{pages}");
}
