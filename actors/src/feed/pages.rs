//! Pages of a feed that were just read from the store, for all readers that have fallen behind the ring. Pure.
//!
//! After a burst, or when many clients reconnect, a thousand readers want the same old events within a second. Each would
//! read them from the store by itself, one after the other.

use std::{collections::VecDeque, sync::Arc};

use crate::{event::Frame, id::Seq};

/// How many pages are kept at most.
const MAX_PAGES: usize = 8;

/// Some pages, the newest last. They may overlap.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pages: VecDeque<Arc<[Frame]>>,
}

impl Pages {
    /// Adds a page, which has no hole. The oldest one makes room.
    pub(super) fn add(&mut self, page: Arc<[Frame]>) {
        if self.pages.len() >= MAX_PAGES {
            self.pages.pop_front();
        }
        self.pages.push_back(page);
    }

    /// Removes a page.
    pub(super) fn remove(&mut self, page: &Arc<[Frame]>) {
        self.pages.retain(|kept| !Arc::ptr_eq(kept, page));
    }

    /// Returns the frames after a cursor, from the page that has most of them.
    pub(super) fn after(&self, cursor: Seq) -> Option<Vec<Frame>> {
        let rest = |page: &Arc<[Frame]>| {
            let first = page.first()?.seq;
            let skip = usize::try_from(cursor.next().0 - first.0).ok()?;
            (skip < page.len()).then(|| (Arc::clone(page), skip))
        };
        let (page, skip) = self.pages.iter().filter_map(rest).max_by_key(|(page, skip)| page.len() - skip)?;
        Some(page.iter().skip(skip).cloned().collect())
    }

    /// Drops all pages.
    pub(super) fn clear(&mut self) {
        self.pages.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(seqs: std::ops::RangeInclusive<i64>) -> Arc<[Frame]> {
        seqs.map(|seq| Frame::stored(Seq(seq), "call.ring", None, "{\"a\":1}").expect("an object")).collect()
    }

    fn seqs(pages: &Pages, cursor: i64) -> Vec<i64> {
        pages.after(Seq(cursor)).unwrap_or_default().iter().map(|frame| frame.seq.0).collect()
    }

    #[test]
    fn a_reader_gets_what_is_left_of_a_page_that_another_one_has_read() {
        let mut pages = Pages::default();
        pages.add(page(5..=9));
        assert_eq!(seqs(&pages, 4), [5, 6, 7, 8, 9]);
        assert_eq!(seqs(&pages, 7), [8, 9]);
        assert_eq!(pages.after(Seq(9)), None);
        assert_eq!(pages.after(Seq(3)), None, "an event would be missing");
    }

    #[test]
    fn of_several_pages_the_longest_rest_is_returned() {
        let mut pages = Pages::default();
        pages.add(page(1..=5));
        pages.add(page(4..=9));
        assert_eq!(seqs(&pages, 3), [4, 5, 6, 7, 8, 9]);
        assert_eq!(seqs(&pages, 2), [3, 4, 5]);
    }

    #[test]
    fn the_oldest_page_makes_room_and_one_can_be_removed() {
        let mut pages = Pages::default();
        let last = page(100..=101);
        (0..MAX_PAGES as i64).for_each(|n| pages.add(page(10 * n..=10 * n + 1)));
        pages.add(Arc::clone(&last));
        assert_eq!(pages.after(Seq(-1)), None);
        assert_eq!(seqs(&pages, 9), [10, 11]);
        pages.remove(&last);
        assert_eq!(pages.after(Seq(99)), None);
    }
}
