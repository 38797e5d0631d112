//! Reads any bytes as a segment of the spool.

use super::{
    frame::{HEADER_LEN, Piece, pieces},
    record::Record,
};

/// Reads a segment.
///
/// # Panics
/// A byte is in no part of it, or a record is not read as it was written.
pub(crate) fn read_segment(content: &[u8]) {
    let mut length = 0;
    for piece in pieces(content) {
        length += match piece {
            Piece::Record(body) => {
                if let Some(record) = Record::decode(body) {
                    assert_eq!(record.encode(), body, "a record is written as it was read");
                }
                HEADER_LEN + body.len()
            }
            Piece::Damaged(bytes) | Piece::Torn(bytes) => bytes.len(),
        };
    }
    assert_eq!(length, content.len(), "every byte is in one part");
}
