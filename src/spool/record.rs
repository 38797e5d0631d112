//! A webhook in the spool. Pure.

use chrono::{DateTime, Utc};
use cti_actors::id::AppId;
use uuid::Uuid;

/// The version of the encoding.
const VERSION: u8 = 1;
const TO_ORGANIZATION: u8 = 0;
const TO_APP: u8 = 1;

/// An authentic webhook as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// When it came, with microseconds.
    pub(crate) received_at: DateTime<Utc>,
    /// The app whose own address it was sent to; `None`: its payload names an organization.
    pub(crate) app: Option<AppId>,
    /// The payload as it came; of a JWS, its claims.
    pub(crate) payload: Vec<u8>,
}

impl Record {
    /// Returns the bytes that [`Self::decode`] reads.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32 + self.payload.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.received_at.timestamp_micros().to_le_bytes());
        match self.app {
            None => bytes.push(TO_ORGANIZATION),
            Some(app) => {
                bytes.push(TO_APP);
                bytes.extend_from_slice(app.0.as_bytes());
            }
        }
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Reads a record; `None` for what another version of the server wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, bytes) = bytes.split_first()?;
        let (micros, bytes) = bytes.split_first_chunk::<8>()?;
        let (addressee, bytes) = bytes.split_first()?;
        let (app, payload) = match *addressee {
            TO_ORGANIZATION => (None, bytes),
            TO_APP => {
                let (id, payload) = bytes.split_first_chunk::<16>()?;
                (Some(AppId(Uuid::from_bytes(*id))), payload)
            }
            _ => return None,
        };
        let received_at = DateTime::from_timestamp_micros(i64::from_le_bytes(*micros))?;
        (*version == VERSION).then(|| Self { received_at, app, payload: payload.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let received_at = DateTime::from_timestamp_micros(1_704_110_403_123_456).expect("an instant");
        for app in [None, Some(AppId(Uuid::from_u128(7)))] {
            for payload in [&b"{}"[..], b""] {
                let record = Record { received_at, app, payload: payload.to_vec() };
                assert_eq!(Record::decode(&record.encode()), Some(record));
            }
        }
    }

    #[test]
    fn a_record_of_another_version_is_not_read() {
        let record = Record { received_at: DateTime::UNIX_EPOCH, app: None, payload: b"{}".to_vec() };
        let mut bytes = record.encode();
        bytes[0] = VERSION + 1;
        assert_eq!(Record::decode(&bytes), None);
        assert_eq!(Record::decode(&[]), None);
    }
}
