//! A length of time as it is reported.

use std::ops::{Add, Sub};

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length in milliseconds with its fraction, to the microsecond. It is cut to that, not rounded, so that a length is
/// rounded only once: to the seconds that are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis {
    micros: i64,
}

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self { micros: 0 };

    /// Returns a length given in milliseconds. It is cut off at the limits of its range, and NaN is 0.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and no call lasts longer than that")]
    pub fn from_f64(milliseconds: f64) -> Self {
        Self { micros: (milliseconds * 1000.0).floor() as i64 }
    }

    /// Returns the length in whole seconds, rounded half up.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.micros.saturating_add(500_000).div_euclid(1_000_000)
    }

    /// Returns the length, but not less than 0.
    #[must_use]
    pub fn or_zero(self) -> Self {
        self.max(Self::ZERO)
    }
}

impl From<i64> for Millis {
    fn from(milliseconds: i64) -> Self {
        Self { micros: milliseconds.saturating_mul(1000) }
    }
}

impl From<TimeDelta> for Millis {
    fn from(length: TimeDelta) -> Self {
        length.num_microseconds().map_or_else(|| length.num_milliseconds().into(), |micros| Self { micros })
    }
}

impl From<Millis> for TimeDelta {
    fn from(length: Millis) -> Self {
        Self::microseconds(length.micros)
    }
}

impl Add for Millis {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { micros: self.micros.saturating_add(other.micros) }
    }
}

impl Sub for Millis {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { micros: self.micros.saturating_sub(other.micros) }
    }
}

/// Written as a number of milliseconds, without a fraction where there is none.
impl Serialize for Millis {
    #[expect(clippy::cast_precision_loss, reason = "a call is shorter than 2^53 microseconds")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.micros % 1000 == 0 {
            serializer.serialize_i64(self.micros / 1000)
        } else {
            serializer.serialize_f64(self.micros as f64 / 1000.0)
        }
    }
}

impl<'de> Deserialize<'de> for Millis {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and no call lasts longer than that")]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let milliseconds = f64::deserialize(deserializer)?;
        Ok(Self { micros: (milliseconds * 1000.0).round() as i64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_rounded_once() {
        let reported =
            [(2_499.99, 2), (64_499.6, 64), (499.7, 0), (500.0, 1), (2_500.0, 3), (-0.2, 0), (0.0, 0)];
        for (milliseconds, seconds) in reported {
            assert_eq!(Millis::from_f64(milliseconds).seconds(), seconds, "{milliseconds}");
        }
        assert_eq!((Millis::from(1000) - Millis::from_f64(499.7)).seconds(), 1);
        assert_eq!(Millis::from_f64(f64::INFINITY) + Millis::from(1), Millis::from_f64(f64::INFINITY));
    }

    #[test]
    fn a_length_survives_the_store() {
        for (length, text) in
            [(Millis::from(180_000), "180000"), (Millis::from_f64(64_499.6), "64499.6"), (Millis::ZERO, "0")]
        {
            assert_eq!(serde_json::to_string(&length).expect("a number"), text);
            assert_eq!(serde_json::from_str::<Millis>(text).expect("a number"), length);
        }
    }
}
