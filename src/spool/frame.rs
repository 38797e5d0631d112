//! Framing: how records lie in a file, so that a torn end and a damaged record are found. Pure.
//!
//! A frame is a header and a body. The header has a checksum of its own, so that a damaged body costs only its own
//! record. After a damaged header, the next whole frame is searched for.

/// Begins every frame. No UTF-8 text contains it. The last byte is the version of the framing.
const MARK: [u8; 4] = [0xFF, 0xC7, 0xFE, 0x01];
/// The mark, the length of the body, the checksum of the body, and the checksum of all these.
pub(super) const HEADER_LEN: usize = 16;
/// Longer bodies are never written.
const MAX_BODY_LEN: usize = 1 << 20;

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// The body of a whole frame.
    Record(&'a [u8]),
    /// Bytes that were a frame, or several, and are damaged.
    Damaged(&'a [u8]),
    /// The beginning of a frame that was not written to its end: it was never acknowledged.
    Torn(&'a [u8]),
}

/// Appends a body as a frame.
pub(super) fn write_frame(body: &[u8], out: &mut Vec<u8>) {
    debug_assert!(body.len() <= MAX_BODY_LEN, "a webhook is far shorter");
    let start = out.len();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    let checksum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(body);
}

/// Splits the content of a file into its parts.
pub(super) fn pieces(content: &[u8]) -> Pieces<'_> {
    Pieces { rest: content }
}

/// The iterator of [`pieces`].
pub(super) struct Pieces<'a> {
    rest: &'a [u8],
}

impl<'a> Pieces<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let header = Header::read(self.rest);
        if let Some(header) = &header
            && self.rest.len() >= header.frame_len()
        {
            let frame = self.take(header.frame_len());
            let body = &frame[HEADER_LEN..];
            return Some(if header.matches(body) { Piece::Record(body) } else { Piece::Damaged(frame) });
        }
        if let Some(next) = find_record(self.rest) {
            return Some(Piece::Damaged(self.take(next)));
        }
        // Blocks that a file system had assigned and not yet written are zero after a power failure.
        let is_torn =
            header.is_some() || self.rest.len() < HEADER_LEN || self.rest.iter().all(|byte| *byte == 0);
        let rest = self.take(self.rest.len());
        Some(if is_torn { Piece::Torn(rest) } else { Piece::Damaged(rest) })
    }
}

/// Finds the first whole record that begins after the first byte.
fn find_record(content: &[u8]) -> Option<usize> {
    let is_record = |at: &usize| {
        let rest = &content[*at..];
        Header::read(rest)
            .and_then(|header| Some(header.matches(rest.get(HEADER_LEN..header.frame_len())?)))
            .unwrap_or_default()
    };
    (1..content.len()).filter(|at| content[*at] == MARK[0]).find(is_record)
}

/// A header whose checksum is right.
struct Header {
    body_len: usize,
    body_checksum: u32,
}

impl Header {
    fn read(content: &[u8]) -> Option<Self> {
        let header = content.get(..HEADER_LEN)?;
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let body_len = usize::try_from(number(4)).ok()?;
        let is_header =
            header[..4] == MARK && number(12) == crc32fast::hash(&header[..12]) && body_len <= MAX_BODY_LEN;
        is_header.then(|| Self { body_len, body_checksum: number(8) })
    }

    fn frame_len(&self) -> usize {
        HEADER_LEN + self.body_len
    }

    fn matches(&self, body: &[u8]) -> bool {
        crc32fast::hash(body) == self.body_checksum
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn file(bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        bodies.iter().for_each(|body| write_frame(body, &mut out));
        out
    }

    fn records(content: &[u8]) -> Vec<Vec<u8>> {
        let bodies = pieces(content).filter_map(|piece| match piece {
            Piece::Record(body) => Some(body.to_vec()),
            Piece::Damaged(_) | Piece::Torn(_) => None,
        });
        bodies.collect()
    }

    fn damaged(content: &[u8]) -> usize {
        pieces(content).filter(|piece| matches!(piece, Piece::Damaged(_))).count()
    }

    fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
        vec(vec(any::<u8>(), 0..60), 1..8)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(bodies in bodies()) {
            prop_assert_eq!(records(&file(&bodies)), bodies);
        }

        #[test]
        fn a_cut_end_costs_only_the_record_that_was_cut(bodies in bodies(), cut in any::<prop::sample::Index>()) {
            let whole = file(&bodies);
            let cut = &whole[..cut.index(whole.len())];
            let mut kept = Vec::new();
            let mut end = 0;
            for body in &bodies {
                end += HEADER_LEN + body.len();
                if end <= cut.len() {
                    kept.push(body.clone());
                }
            }
            prop_assert_eq!(records(cut), kept);
            prop_assert_eq!(damaged(cut), 0, "a torn end is no damage");
        }

        #[test]
        fn a_flipped_bit_costs_one_record_and_is_found(
            bodies in bodies(),
            place in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let mut content = file(&bodies);
            let place = place.index(content.len());
            content[place] ^= 1 << bit;
            let mut end = 0;
            let hit = bodies.iter().position(|body| {
                end += HEADER_LEN + body.len();
                place < end
            });
            let mut others = bodies.clone();
            others.remove(hit.expect("every byte belongs to a record"));
            prop_assert_eq!(records(&content), others);
            prop_assert_eq!(damaged(&content), 1);
        }

        #[test]
        fn any_bytes_are_split_without_a_gap(content in vec(any::<u8>(), 0..300)) {
            let split: usize = pieces(&content).map(|piece| match piece {
                Piece::Record(body) => HEADER_LEN + body.len(),
                Piece::Damaged(bytes) | Piece::Torn(bytes) => bytes.len(),
            }).sum();
            prop_assert_eq!(split, content.len());
        }
    }

    #[test]
    fn blocks_that_were_never_written_are_a_torn_end() {
        let mut content = file(&[b"one".to_vec()]);
        content.extend([0; 4096]);
        assert_eq!(records(&content), [b"one"]);
        assert_eq!(damaged(&content), 0);
    }
}
