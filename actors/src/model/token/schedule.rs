//! When tokens are renewed, how long to wait after a failure, and what a reply means for the old pair. Pure: time and
//! randomness are arguments.

use chrono::{DateTime, TimeDelta, Utc};

/// After which part of its life a token is renewed, in thousandths.
const RENEW_AT: i64 = 800;
/// By how much jitter moves that either way, in thousandths.
const RENEW_JITTER: i64 = 50;
/// A token with a longer life than this is renewed at the latest [`RESERVE`] before its end.
const LONG_LIFE: TimeDelta = TimeDelta::seconds(120);
const RESERVE: TimeDelta = TimeDelta::seconds(60);
/// Whatever its life: Dialpad may drop a refresh token that is not used for weeks.
const MAX_INTERVAL: TimeDelta = TimeDelta::hours(24);
/// The least time between two attempts for the same connection.
pub const MIN_ATTEMPT_INTERVAL: TimeDelta = TimeDelta::seconds(1);
/// The backoff after the first failure; it doubles with each further one.
const INITIAL_BACKOFF: TimeDelta = TimeDelta::seconds(1);
const MAX_BACKOFF: TimeDelta = TimeDelta::seconds(240);
/// By how much jitter lengthens a backoff at most, in thousandths.
const BACKOFF_JITTER: i64 = 250;
/// A longer `Retry-After` is cut to this.
const MAX_RETRY_AFTER: TimeDelta = TimeDelta::hours(1);
/// A longer life makes no difference, and would overflow.
const MAX_LIFE: TimeDelta = TimeDelta::days(366);

/// A random number: it keeps connections that were made together from being renewed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jitter(i64);

impl Jitter {
    /// Returns the jitter of these random bits.
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

/// Returns when to renew a token with this life.
#[must_use]
pub fn due(issued_at: DateTime<Utc>, expires_at: DateTime<Utc>, jitter: Jitter) -> DateTime<Utc> {
    let life = (expires_at - issued_at).clamp(TimeDelta::zero(), MAX_LIFE);
    let mut age = part(life, RENEW_AT + RENEW_JITTER * jitter.either_way() / 1000);
    if life > LONG_LIFE {
        age = age.min(life - RESERVE);
    }
    let max_age = part(MAX_INTERVAL, 1000 - RENEW_JITTER * jitter.one_way() / 1000);
    issued_at + age.min(max_age).max(MIN_ATTEMPT_INTERVAL)
}

/// Returns how long to wait after so many failures in a row. The last one may have said for how long.
#[must_use]
pub fn backoff(failures: u32, retry_after: Option<TimeDelta>, jitter: Jitter) -> TimeDelta {
    let doublings = failures.saturating_sub(1).min(30);
    let doubled = (INITIAL_BACKOFF * (1 << doublings)).min(MAX_BACKOFF);
    let backoff = part(doubled, 1000 + BACKOFF_JITTER * jitter.one_way() / 1000);
    backoff.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
}

fn part(of: TimeDelta, thousandths: i64) -> TimeDelta {
    // The lengths are bounded above, so neither step overflows.
    TimeDelta::microseconds(of.num_microseconds().unwrap_or(i64::MAX / 2000) * thousandths / 1000)
}

/// Dialpad's reply to a request for a new pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Tokens.
    Tokens,
    /// An error.
    Refusal {
        /// The HTTP status.
        status: u16,
        /// The OAuth error code (RFC 6749, 5.2), if there is one.
        error: Option<&'a str>,
    },
    /// A success without tokens.
    InvalidResponse,
    /// No reply, or none in time.
    Silence,
}

/// What a reply means for the old pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is replaced.
    Renewed,
    /// It is no longer valid; an administrator has to authorize the app again.
    Expired,
    /// It is kept; try again later.
    RetryLater,
}

impl Reply<'_> {
    /// Judges a reply. Only `invalid_grant`, "this refresh token is no longer valid", is final. A wrong client secret, for
    /// instance, is a mistake of the operator, and once it is corrected the refresh token still works.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Tokens => Verdict::Renewed,
            Self::Refusal { status: 400..=499, error: Some("invalid_grant") } => Verdict::Expired,
            Self::Refusal { .. } | Self::InvalidResponse | Self::Silence => Verdict::RetryLater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: Jitter = Jitter(0);

    fn age_of_renewal(life_seconds: i64, jitter: Jitter) -> f64 {
        let issued_at = DateTime::UNIX_EPOCH;
        let due = due(issued_at, issued_at + TimeDelta::seconds(life_seconds), jitter);
        (due - issued_at).as_seconds_f64()
    }

    #[test]
    fn a_token_is_renewed_after_four_fifths_of_its_life() {
        assert_eq!(age_of_renewal(3600, MIDDLE), 2880.0);
        assert_eq!(age_of_renewal(3600, Jitter(-1000)), 2700.0);
        assert_eq!(age_of_renewal(3600, Jitter(1000)), 3060.0);
        assert_eq!(age_of_renewal(10, MIDDLE), 8.0);
    }

    #[test]
    fn a_token_with_a_long_life_is_renewed_a_minute_before_its_end() {
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
    fn backoffs_double_to_five_minutes_and_respect_retry_after() {
        let seconds = |failures, jitter| backoff(failures, None, jitter).as_seconds_f64();
        assert_eq!([1, 2, 3, 4].map(|failures| seconds(failures, Jitter(-1000))), [1.0, 2.0, 4.0, 8.0]);
        assert_eq!(seconds(u32::MAX, Jitter(1000)), 300.0);
        let asked = |seconds| backoff(1, Some(TimeDelta::seconds(seconds)), MIDDLE).num_seconds();
        assert_eq!([asked(0), asked(30), asked(86_400)], [1, 30, 3600]);
    }

    #[test]
    fn only_invalid_grant_is_final() {
        let refused = |status, error| Reply::Refusal { status, error }.verdict();
        assert_eq!(refused(400, Some("invalid_grant")), Verdict::Expired);
        for (status, error) in [
            (400, None),
            (400, Some("invalid_request")),
            (401, Some("invalid_client")),
            (429, None),
            (500, Some("invalid_grant")),
            (503, None),
        ] {
            assert_eq!(refused(status, error), Verdict::RetryLater, "{status} {error:?}");
        }
        assert_eq!(Reply::InvalidResponse.verdict(), Verdict::RetryLater);
        assert_eq!(Reply::Silence.verdict(), Verdict::RetryLater);
        assert_eq!(Reply::Tokens.verdict(), Verdict::Renewed);
    }
}
