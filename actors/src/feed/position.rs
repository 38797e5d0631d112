//! A position in a feed, as clients write it. Pure.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::id::{Epoch, Seq};

/// The most characters of an epoch: a UUID with its hyphens.
const EPOCH_CHARS: usize = 36;

/// A position in a feed: `SEQ`, or `EPOCH:SEQ` by a client that wants to know whether the number is still the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The epoch that the number belongs to, if the client said so.
    pub epoch: Option<Epoch>,
    /// Everything up to this event is processed.
    pub seq: Seq,
}

/// A text is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPosition;

impl Position {
    /// Whether it belongs to another epoch than this one.
    #[must_use]
    pub fn is_of_another(self, epoch: Epoch) -> bool {
        self.epoch.is_some_and(|own| own != epoch)
    }
}

impl From<Seq> for Position {
    fn from(seq: Seq) -> Self {
        Self { epoch: None, seq }
    }
}

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (epoch, seq) = match text.split_once(':') {
            Some((epoch, seq)) if epoch.len() == EPOCH_CHARS => {
                (Some(Epoch(Uuid::try_parse(epoch).map_err(|_| NoPosition)?)), seq)
            }
            Some(_) => return Err(NoPosition),
            None => (None, text),
        };
        let seq = seq.parse().ok().filter(|seq| *seq >= 0).ok_or(NoPosition)?;
        Ok(Self { epoch, seq: Seq(seq) })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            Some(epoch) => write!(f, "{epoch}:{}", self.seq),
            None => self.seq.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_number_with_or_without_its_epoch() {
        let epoch = "018cc4e5-1f9e-4000-8000-0123456789ab";
        for text in ["0", "42", &format!("{epoch}:0"), &format!("{epoch}:42")] {
            assert_eq!(text.parse::<Position>().map(|position| position.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "-1", "x", ":", ":1", "1:1", &format!("{epoch}:"), &format!("{epoch}:-1"), epoch] {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text}");
        }
    }
}
