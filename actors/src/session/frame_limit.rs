//! The longest frame of a client, found where the frame is announced. The codec of `actix-http` 3.20 looks at the length
//! only when the whole frame is in memory, however long that is.

/// Follows the frames of one connection, in whatever pieces their bytes come (RFC 6455, 5.2).
#[derive(Debug, Default)]
pub(super) struct FrameLimit {
    /// The bytes of a head that is not complete yet: at most 14.
    head: Vec<u8>,
    /// How many bytes of the frame's payload are still to come.
    payload_left: u64,
}

impl FrameLimit {
    /// Whether no frame in these bytes, the next ones of the connection, announces a longer payload than `max_bytes`.
    pub(super) fn admits(&mut self, mut bytes: &[u8], max_bytes: u64) -> bool {
        while let Some((first, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                let skipped = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_left -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            if let Some(length) = payload_length(&self.head) {
                if length > max_bytes {
                    return false;
                }
                self.head.clear();
                self.payload_left = length;
            }
        }
        true
    }
}

/// Returns the length that a head announces. `None`: it is not complete.
fn payload_length(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let mask_length = if second & 0x80 == 0 { 0 } else { 4 };
    let extended = head.get(2..)?;
    let (length, length_bytes) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(*extended.first_chunk()?)), 2),
        127 => (u64::from_be_bytes(*extended.first_chunk()?), 8),
        length => (u64::from(length), 0),
    };
    (extended.len() >= length_bytes + mask_length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::FrameLimit;

    /// Returns a masked text frame of this payload length, written in `length_bytes` bytes.
    fn frame(length: usize, length_bytes: usize) -> Vec<u8> {
        let mut frame = vec![0x81];
        match length_bytes {
            0 => frame.push(0x80 | u8::try_from(length).expect("short")),
            2 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).expect("of two bytes").to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        // Bytes that would announce a long frame, were they a head.
        frame.extend(std::iter::repeat_n(0xFF, length));
        frame
    }

    #[test]
    fn frames_up_to_the_limit_pass_in_whatever_pieces_they_come() {
        let frames = [frame(0, 0), frame(125, 0), frame(1000, 2), frame(1000, 8), frame(3, 0)].concat();
        for size in 1..frames.len() {
            let mut limit = FrameLimit::default();
            assert!(frames.chunks(size).all(|piece| limit.admits(piece, 1000)), "pieces of {size}");
        }
    }

    #[test]
    fn a_longer_frame_is_found_by_its_head() {
        for length_bytes in [2, 8] {
            let long = frame(1001, length_bytes);
            let head = &long[..2 + length_bytes + 4];
            let mut limit = FrameLimit::default();
            assert!(limit.admits(&frame(7, 0), 1000));
            assert!(limit.admits(&head[..head.len() - 1], 1000));
            assert!(!limit.admits(&head[head.len() - 1..], 1000), "a length of {length_bytes} bytes");
        }
    }
}
