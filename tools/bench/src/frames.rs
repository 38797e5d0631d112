//! Counts the messages in a stream of WebSocket frames without copying them (RFC 6455).

use std::io::{self, ErrorKind};

const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;

/// What a chunk of the stream contained.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Data messages that ended in it.
    pub(crate) messages: u32,
    /// Payloads of the pings that ended in it; each needs a pong.
    pub(crate) pings: Vec<Vec<u8>>,
    /// The server's close code, 1005 if it gave none.
    pub(crate) closed: Option<u16>,
}

/// The state between two chunks.
#[derive(Debug, Default)]
pub(crate) struct FrameCounter {
    header: [u8; 10],
    /// The number of header bytes read so far.
    known: usize,
    /// Payload bytes left; meaningful once the header is complete.
    left: u64,
    /// The payload of a control frame, which is at most 125 bytes.
    control: Vec<u8>,
}

impl FrameCounter {
    /// Reads the next chunk, of any size.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> io::Result<Seen> {
        let mut seen = Seen::default();
        while !bytes.is_empty() {
            if self.known < self.header_length() {
                self.header[self.known] = bytes[0];
                self.known += 1;
                bytes = &bytes[1..];
                if self.known < self.header_length() {
                    continue;
                }
                self.left = self.payload_length()?;
            }
            let here = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if self.is_control() {
                self.control.extend_from_slice(&bytes[..here]);
            }
            self.left -= here as u64;
            bytes = &bytes[here..];
            if self.left == 0 {
                self.end_frame(&mut seen);
            }
        }
        Ok(seen)
    }

    /// Returns 2 until the second byte says how many more bytes hold the length.
    fn header_length(&self) -> usize {
        match (self.known, self.header[1] & 0x7f) {
            (0 | 1, _) => 2,
            (_, 126) => 4,
            (_, 127) => 10,
            (_, _) => 2,
        }
    }

    fn payload_length(&self) -> io::Result<u64> {
        if self.header[1] & 0x80 != 0 || self.header[0] & 0x70 != 0 {
            return Err(io::Error::new(ErrorKind::InvalidData, "the server sent a masked or extended frame"));
        }
        Ok(match &self.header[1..self.known] {
            [_, extended @ ..] if !extended.is_empty() => {
                extended.iter().fold(0, |length, byte| length << 8 | u64::from(*byte))
            }
            short => u64::from(short[0]),
        })
    }

    fn opcode(&self) -> u8 {
        self.header[0] & 0x0f
    }

    fn is_control(&self) -> bool {
        self.opcode() >= CLOSE
    }

    fn end_frame(&mut self, seen: &mut Seen) {
        let is_final = self.header[0] & 0x80 != 0;
        match self.opcode() {
            CLOSE => {
                let code = self.control.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                seen.closed = Some(code);
            }
            PING => seen.pings.push(self.control.clone()),
            _ if self.is_control() => {}
            _ => seen.messages += u32::from(is_final),
        }
        self.control.clear();
        self.known = 0;
    }
}

/// Builds the pong for a ping. Clients must mask frames; a zero mask leaves the payload as it is.
pub(crate) fn pong(payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len().min(125)).expect("125 fits");
    let mut frame = vec![0x8a, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(&payload[..usize::from(length)]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..=125 => frame.push(length as u8),
            length @ 126..=65_535 => {
                frame.push(126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn messages_of_every_length_are_counted_in_chunks_of_any_size() {
        let stream: Vec<u8> = [0, 1, 125, 126, 400, 65_535, 65_536, 3]
            .iter()
            .flat_map(|length| frame(0x81, &vec![b'x'; *length]))
            .collect();
        for piece in [1, 2, 3, 7, 130, 4_096, stream.len()] {
            let mut counter = FrameCounter::default();
            let messages: u32 = stream.chunks(piece).map(|part| counter.feed(part).unwrap().messages).sum();
            assert_eq!(messages, 8, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_fragmented_message_is_one_message_and_a_ping_within_it_is_seen() {
        let stream = [frame(0x01, b"one "), frame(0x89, b"hello"), frame(0x80, b"message")].concat();
        let seen = FrameCounter::default().feed(&stream).unwrap();
        assert_eq!(seen, Seen { messages: 1, pings: vec![b"hello".to_vec()], closed: None });
        assert_eq!(pong(b"hello"), [&[0x8a, 0x85, 0, 0, 0, 0][..], b"hello"].concat());
    }

    #[test]
    fn a_close_frame_has_its_code() {
        let counted = |stream: &[u8]| FrameCounter::default().feed(stream).unwrap().closed;
        assert_eq!(counted(&frame(0x88, &[0x11, 0x38])), Some(4408));
        assert_eq!(counted(&frame(0x88, b"")), Some(1005));
    }

    #[test]
    fn a_masked_frame_is_an_error() {
        assert!(FrameCounter::default().feed(&[0x81, 0x81, 0, 0, 0, 0, 0]).is_err());
    }
}
