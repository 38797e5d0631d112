//! The last few frames of a feed, in memory. Pure.

use std::collections::VecDeque;

use crate::event::Frame;
use crate::id::Seq;

/// How many frames are kept at most.
const MOST_FRAMES: usize = 4096;
/// How many bytes of text are kept at most.
const MOST_BYTES: usize = 1 << 20;

/// Frames without holes, newest last, bounded in number and bytes.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    frames: VecDeque<Frame>,
    bytes: usize,
}

/// What the ring has behind a cursor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Slice {
    /// The next frames.
    Frames(Vec<Frame>),
    /// Nothing is newer than the cursor.
    UpToDate,
    /// The next frame is no longer (or not yet) here: ask the store.
    Behind,
}

impl Ring {
    /// Adds frames. Where they do not join on to what is here, what is here is dropped: a hole must never be
    /// handed out.
    pub(crate) fn extend(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            match self.frames.back() {
                Some(newest) if frame.seq <= newest.seq => continue,
                Some(newest) if frame.seq != newest.seq.next() => self.clear(),
                _ => {}
            }
            self.bytes += frame.text.len();
            self.frames.push_back(frame);
        }
        while self.frames.len() > MOST_FRAMES || self.bytes > MOST_BYTES {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }

    /// The frames right behind a cursor: at most `most`, and no more once they exceed `max_bytes`.
    pub(crate) fn after(&self, cursor: Seq, most: usize, max_bytes: usize) -> Slice {
        let Some(oldest) = self.frames.front() else { return Slice::Behind };
        let Ok(skip) = usize::try_from(cursor.0 + 1 - oldest.seq.0) else { return Slice::Behind };
        let mut bytes = 0;
        let frames: Vec<Frame> = self
            .frames
            .iter()
            .skip(skip)
            .take(most)
            .take_while(|frame| {
                let fits = bytes < max_bytes;
                bytes += frame.text.len();
                fits
            })
            .cloned()
            .collect();
        if frames.is_empty() { Slice::Behind } else { Slice::Frames(frames) }
    }

    fn clear(&mut self) {
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
    fn hands_out_what_lies_right_behind_the_cursor() {
        let mut ring = Ring::default();
        ring.extend((5..=9).map(frame).collect());
        assert_eq!(seqs(ring.after(Seq(4), 3, 1000)), [5, 6, 7]);
        assert_eq!(seqs(ring.after(Seq(7), 10, 1000)), [8, 9]);
        assert_eq!(ring.after(Seq(3), 3, 1000), Slice::Behind);
    }

    #[test]
    fn never_hands_out_a_hole() {
        let mut ring = Ring::default();
        ring.extend(vec![frame(1), frame(2)]);
        ring.extend(vec![frame(5)]);
        assert_eq!(ring.after(Seq(2), 3, 1000), Slice::Behind);
        assert_eq!(seqs(ring.after(Seq(4), 3, 1000)), [5]);
    }

    #[test]
    fn what_comes_twice_is_kept_once() {
        let mut ring = Ring::default();
        ring.extend(vec![frame(1), frame(2)]);
        ring.extend(vec![frame(2), frame(3)]);
        assert_eq!(seqs(ring.after(Seq(0), 9, 1000)), [1, 2, 3]);
    }

    #[test]
    fn is_bounded() {
        let mut ring = Ring::default();
        ring.extend((1..=2 * MOST_FRAMES as i64).map(frame).collect());
        assert_eq!(ring.frames.len(), MOST_FRAMES);
        assert_eq!(seqs(ring.after(Seq(MOST_FRAMES as i64), 1, 1000)), [MOST_FRAMES as i64 + 1]);
        assert_eq!(
            seqs(ring.after(Seq(MOST_FRAMES as i64), 100, 1)).len(),
            1,
            "at least one, whatever its size"
        );
    }
}
