//! When tokens are renewed, how long to wait after a failure, and what an answer means for the old pair. Pure: time
//! and chance are arguments.

use chrono::{DateTime, TimeDelta, Utc};

/// After which part of its life a token is renewed, in thousandths, and how far chance may move that.
const SHARE: i64 = 800;
const SPREAD: i64 = 50;
/// A token that lives for longer than this is renewed at the latest [`RESERVE`] before its end.
const LONG_LIFE: TimeDelta = TimeDelta::seconds(120);
const RESERVE: TimeDelta = TimeDelta::seconds(60);
/// However long it lives: a refresh token that is not used for weeks may be forgotten at the other side.
const AT_LEAST_EVERY: TimeDelta = TimeDelta::hours(24);
/// Two tries for the same connection are at least so far apart.
pub const APART: TimeDelta = TimeDelta::seconds(1);
/// The pause after the first failure; it doubles with each one more, up to the longest.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(1);
const LONGEST_PAUSE: TimeDelta = TimeDelta::seconds(240);
/// By how much chance lengthens a pause at most, in thousandths.
const LENGTHENING: i64 = 250;
/// No wish to be left alone is heeded for longer.
const LONGEST_RETRY_AFTER: TimeDelta = TimeDelta::hours(1);

/// Longer lives make no difference, and would be too long to calculate with.
const LONGEST_LIFE: TimeDelta = TimeDelta::days(366);

/// A piece of chance, drawn by whoever asks: it keeps connections that were made together from being renewed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance(i64);

impl Chance {
    /// Makes one of random bits.
    #[must_use]
    pub fn of(bits: u32) -> Self {
        Self(i64::from(bits % 2001) - 1000)
    }

    /// From -1000 to 1000.
    fn either_way(self) -> i64 {
        self.0
    }

    /// From 0 to 1000.
    fn one_way(self) -> i64 {
        (self.0 + 1000) / 2
    }
}

/// When to renew a token that was issued and ends then.
#[must_use]
pub fn due(issued_at: DateTime<Utc>, expires_at: DateTime<Utc>, chance: Chance) -> DateTime<Utc> {
    let life = (expires_at - issued_at).clamp(TimeDelta::zero(), LONGEST_LIFE);
    let mut age = part(life, SHARE + SPREAD * chance.either_way() / 1000);
    if life > LONG_LIFE {
        age = age.min(life - RESERVE);
    }
    let daily = part(AT_LEAST_EVERY, 1000 - SPREAD * chance.one_way() / 1000);
    issued_at + age.min(daily).max(APART)
}

/// How long to wait after so many failures in a row, of which the last one may have said for how long.
#[must_use]
pub fn pause(failures: u32, retry_after: Option<TimeDelta>, chance: Chance) -> TimeDelta {
    let doublings = failures.saturating_sub(1).min(30);
    let doubled = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
    let pause = part(doubled, 1000 + LENGTHENING * chance.one_way() / 1000);
    pause.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
}

fn part(of: TimeDelta, thousandths: i64) -> TimeDelta {
    // Lengths are bounded above, so neither step overflows.
    TimeDelta::microseconds(of.num_microseconds().unwrap_or(i64::MAX / 2000) * thousandths / 1000)
}

/// What came of asking for a new pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Tokens that can be used.
    Tokens,
    /// An answer that is no success, and the OAuth error that it names.
    Refusal {
        /// The HTTP status.
        status: u16,
        /// The word of RFC 6749, 5.2, where there is one.
        error: Option<&'a str>,
    },
    /// A success that holds no tokens.
    InvalidResponse,
    /// None: no connection, or none in time.
    Silence,
}

/// What that means for the old pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is replaced.
    Renewed,
    /// It is dead, and only a person can help.
    RefusedForGood,
    /// It stands; try again later.
    NotNow,
}

impl Reply<'_> {
    /// Judges a reply. Only the one word that says "this refresh token is dead" is final; a wrong client secret, for
    /// instance, is our mistake, and when it is corrected the refresh token is still good.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Tokens => Verdict::Renewed,
            Self::Refusal { status: 400..=499, error: Some("invalid_grant") } => Verdict::RefusedForGood,
            Self::Refusal { .. } | Self::InvalidResponse | Self::Silence => Verdict::NotNow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: Chance = Chance(0);

    fn age_of_renewal(life_seconds: i64, chance: Chance) -> f64 {
        let issued_at = DateTime::UNIX_EPOCH;
        let due = due(issued_at, issued_at + TimeDelta::seconds(life_seconds), chance);
        (due - issued_at).as_seconds_f64()
    }

    #[test]
    fn a_token_is_renewed_after_four_fifths_of_its_life() {
        assert_eq!(age_of_renewal(3600, MIDDLE), 2880.0);
        assert_eq!(age_of_renewal(3600, Chance(-1000)), 2700.0);
        assert_eq!(age_of_renewal(3600, Chance(1000)), 3060.0);
        assert_eq!(age_of_renewal(10, MIDDLE), 8.0);
    }

    #[test]
    fn a_long_life_keeps_a_minute_in_reserve_and_a_short_one_can_not() {
        assert_eq!(age_of_renewal(150, MIDDLE), 90.0);
        assert_eq!(age_of_renewal(120, MIDDLE), 96.0);
    }

    #[test]
    fn it_is_never_sooner_than_a_second_nor_later_than_a_day() {
        assert_eq!(age_of_renewal(1, MIDDLE), 1.0);
        assert_eq!(age_of_renewal(-5, MIDDLE), 1.0);
        assert!((age_of_renewal(i64::from(i32::MAX), MIDDLE) - 86_400.0).abs() <= 4_320.0);
    }

    #[test]
    fn pauses_double_to_five_minutes_and_heed_what_was_asked_for() {
        let seconds = |failures, chance| pause(failures, None, chance).as_seconds_f64();
        assert_eq!([1, 2, 3, 4].map(|failures| seconds(failures, Chance(-1000))), [1.0, 2.0, 4.0, 8.0]);
        assert_eq!(seconds(u32::MAX, Chance(1000)), 300.0);
        let asked = |seconds| pause(1, Some(TimeDelta::seconds(seconds)), MIDDLE).num_seconds();
        assert_eq!([asked(0), asked(30), asked(86_400)], [1, 30, 3600]);
    }

    #[test]
    fn only_invalid_grant_is_final() {
        let refused = |status, error| Reply::Refusal { status, error }.verdict();
        assert_eq!(refused(400, Some("invalid_grant")), Verdict::RefusedForGood);
        for (status, error) in [
            (400, None),
            (400, Some("invalid_request")),
            (401, Some("invalid_client")),
            (429, None),
            (500, Some("invalid_grant")),
            (503, None),
        ] {
            assert_eq!(refused(status, error), Verdict::NotNow, "{status} {error:?}");
        }
        assert_eq!(Reply::InvalidResponse.verdict(), Verdict::NotNow);
        assert_eq!(Reply::Silence.verdict(), Verdict::NotNow);
        assert_eq!(Reply::Tokens.verdict(), Verdict::Renewed);
    }
}
