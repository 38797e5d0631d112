//! The last few frames of a feed, in memory. Pure.

use std::collections::VecDeque;

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
}

/// What the ring has after a cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slice {
    /// The next frames.
    Frames(Vec<Frame>),
    /// Nothing: the cursor is at the head.
    UpToDate,
    /// The next frame is no longer (or not yet) in the ring: read the store.
    Behind,
}

impl Ring {
    /// Adds frames. If they do not follow those in the ring, the ring is cleared first: it must never have a hole.
    pub(super) fn extend(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            match self.frames.back() {
                Some(newest) if frame.seq <= newest.seq => continue,
                Some(newest) if frame.seq != newest.seq.next() => self.clear(),
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

    /// Returns the frames right after a cursor: at most `max_frames`, and no more once they have `max_bytes`, but at least
    /// one.
    pub(super) fn after(&self, cursor: Seq, max_frames: usize, max_bytes: usize) -> Slice {
        let Some(oldest) = self.frames.front() else { return Slice::Behind };
        let Ok(skip) = usize::try_from(cursor.0 + 1 - oldest.seq.0) else { return Slice::Behind };
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
        if frames.is_empty() { Slice::Behind } else { Slice::Frames(frames) }
    }

    /// Drops all frames.
    pub(super) fn clear(&mut self) {
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
