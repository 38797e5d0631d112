//! The frames of a feed that are in memory: the last few, and what was just read for readers that are behind them. Pure.

use std::{collections::VecDeque, sync::Arc};

use super::pages::Pages;
use crate::{event::Frame, id::Seq};

/// How many frames are kept at most.
const MAX_FRAMES: usize = 4096;
/// How many bytes of text are kept at most.
const MAX_BYTES: usize = 1 << 20;

/// Frames without holes, the newest last, bounded in number and bytes.
#[derive(Debug, Default)]
pub(super) struct Ring {
    frames: VecDeque<Frame>,
    bytes: usize,
    pages: Pages,
}

/// What the ring has after a cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slice {
    /// The next frames.
    Frames(Vec<Frame>),
    /// Nothing: the cursor is at the head.
    UpToDate,
    /// The next frame is no longer (or not yet) in memory: read the store.
    Behind,
}

impl Ring {
    /// Adds frames. If they do not follow those in the ring, the ring is cleared first: it must never have a hole.
    pub(super) fn extend(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            match self.frames.back() {
                Some(newest) if frame.seq <= newest.seq => continue,
                Some(newest) if frame.seq != newest.seq.next() => self.clear_frames(),
                _ => {}
            }
            self.bytes += frame.text.len();
            self.frames.push_back(frame);
        }
        while self.frames.len() > MAX_FRAMES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }

    /// Keeps a page from the store, which has no hole, until it is released.
    pub(super) fn keep(&mut self, page: Arc<[Frame]>) {
        self.pages.add(page);
    }

    /// Releases a page.
    pub(super) fn release(&mut self, page: &Arc<[Frame]>) {
        self.pages.remove(page);
    }

    /// Returns the frames right after a cursor: of the last ones at most `max_frames`, and no more once they have
    /// `max_bytes`, but at least one; of a page all.
    pub(super) fn after(&self, cursor: Seq, max_frames: usize, max_bytes: usize) -> Slice {
        let last = self.last_after(cursor, max_frames, max_bytes);
        last.or_else(|| self.pages.after(cursor)).map_or(Slice::Behind, Slice::Frames)
    }

    fn last_after(&self, cursor: Seq, max_frames: usize, max_bytes: usize) -> Option<Vec<Frame>> {
        let oldest = self.frames.front()?;
        let skip = usize::try_from(cursor.0 + 1 - oldest.seq.0).ok()?;
        let mut bytes = 0;
        let frames: Vec<Frame> = self
            .frames
            .iter()
            .skip(skip)
            .take(max_frames)
            .take_while(|frame| {
                let fits = bytes < max_bytes;
                bytes += frame.text.len();
                fits
            })
            .cloned()
            .collect();
        (!frames.is_empty()).then_some(frames)
    }

    /// Drops all frames, those of pages as well.
    pub(super) fn clear(&mut self) {
        self.clear_frames();
        self.pages.clear();
    }

    fn clear_frames(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: i64) -> Frame {
        Frame::stored(Seq(seq), "call.ring", None, "{\"a\":1}").expect("an object")
    }

    fn seqs(slice: Slice) -> Vec<i64> {
        match slice {
            Slice::Frames(frames) => frames.iter().map(|frame| frame.seq.0).collect(),
            Slice::UpToDate | Slice::Behind => Vec::new(),
        }
    }

    #[test]
    fn the_slice_begins_right_after_the_cursor() {
        let mut ring = Ring::default();
        ring.extend((5..=9).map(frame).collect());
        assert_eq!(seqs(ring.after(Seq(4), 3, 1000)), [5, 6, 7]);
        assert_eq!(seqs(ring.after(Seq(7), 10, 1000)), [8, 9]);
        assert_eq!(ring.after(Seq(3), 3, 1000), Slice::Behind);
    }

    #[test]
    fn a_slice_never_has_a_hole() {
        let mut ring = Ring::default();
        ring.extend(vec![frame(1), frame(2)]);
        ring.extend(vec![frame(5)]);
        assert_eq!(ring.after(Seq(2), 3, 1000), Slice::Behind);
        assert_eq!(seqs(ring.after(Seq(4), 3, 1000)), [5]);
    }

    #[test]
    fn readers_that_are_behind_share_a_page_until_it_is_released_or_everything_is_dropped() {
        let mut ring = Ring::default();
        ring.extend((8..=9).map(frame).collect());
        let page: Arc<[Frame]> = (2..=4).map(frame).collect();
        ring.keep(Arc::clone(&page));
        assert_eq!(seqs(ring.after(Seq(2), 1, 1)), [3, 4]);
        assert_eq!(seqs(ring.after(Seq(7), 3, 1000)), [8, 9]);
        ring.release(&page);
        assert_eq!(ring.after(Seq(2), 3, 1000), Slice::Behind);
        ring.keep(page);
        ring.clear();
        assert_eq!(ring.after(Seq(2), 3, 1000), Slice::Behind);
    }

    #[test]
    fn a_frame_that_comes_twice_is_kept_once() {
        let mut ring = Ring::default();
        ring.extend(vec![frame(1), frame(2)]);
        ring.extend(vec![frame(2), frame(3)]);
        assert_eq!(seqs(ring.after(Seq(0), 9, 1000)), [1, 2, 3]);
    }

    #[test]
    fn the_ring_is_bounded() {
        let mut ring = Ring::default();
        ring.extend((1..=2 * MAX_FRAMES as i64).map(frame).collect());
        assert_eq!(ring.frames.len(), MAX_FRAMES);
        assert_eq!(seqs(ring.after(Seq(MAX_FRAMES as i64), 1, 1000)), [MAX_FRAMES as i64 + 1]);
        assert_eq!(
            seqs(ring.after(Seq(MAX_FRAMES as i64), 100, 1)).len(),
            1,
            "at least one, whatever its size"
        );
    }
}
