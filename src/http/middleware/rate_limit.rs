//! How often an address may guess: wrong keys, wrong bearers, and authorizations that are begun, so many in a minute.
//! Whoever has the right key is served all the same, and webhooks are not counted at all.
//!
//! What is remembered is bounded: of very many addresses, those that come last share what is left.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use actix_web::{HttpRequest, http::header::HeaderMap};
use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use metrics::counter;
use tracing::warn;

use crate::http::AppState;
use crate::{
    config::RateLimits,
    http::error::{ApiError, ErrorCode},
};

/// How long a failure counts.
const PERIOD: TimeDelta = TimeDelta::minutes(1);
/// How many addresses are told apart at a time.
const MOST_ADDRESSES: usize = 50_000;
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// A wrong API key, or a wrong bearer.
    Credentials,
    /// The beginning of an authorization.
    Authorization,
}

impl Attempt {
    fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Authorization => "authorization",
        }
    }
}

/// What addresses have done in the last minute.
pub struct RateLimiter {
    credentials: Tally,
    authorizations: Tally,
    trusted_proxies: Vec<IpNet>,
}

impl RateLimiter {
    /// Nobody has guessed yet.
    #[must_use]
    pub fn new(limits: &RateLimits) -> Self {
        Self {
            credentials: Tally::new(limits.failures_per_minute),
            authorizations: Tally::new(limits.authorizations_per_minute),
            trusted_proxies: limits.trusted_proxies.clone(),
        }
    }

    fn of(&self, guess: Attempt) -> &Tally {
        match guess {
            Attempt::Credentials => &self.credentials,
            Attempt::Authorization => &self.authorizations,
        }
    }
}

/// Counts a guess.
///
/// # Errors
/// The address has guessed too often; this is what it is answered.
pub(crate) fn count(request: &HttpRequest, shared: &AppState, guess: Attempt) -> Result<(), ApiError> {
    match client_ip(request, shared) {
        Some(address) => count_of(address, shared, guess),
        None => Ok(()),
    }
}

/// The address whose rate_limiter these are.
pub(crate) fn client_ip(request: &HttpRequest, shared: &AppState) -> Option<IpAddr> {
    let peer = request.peer_addr()?;
    Some(client_address(peer.ip(), request.headers(), &shared.rate_limiter.trusted_proxies))
}

/// Counts a guess that comes after the request itself.
///
/// # Errors
/// As for [`count`].
pub(crate) fn count_of(address: IpAddr, shared: &AppState, guess: Attempt) -> Result<(), ApiError> {
    match shared.rate_limiter.of(guess).count(address, shared.clock.now()) {
        Verdict::Within => Ok(()),
        Verdict::Beyond { wait, is_first } => {
            counter!("cti_rate_limited_total", "guess" => guess.as_str()).increment(1);
            if is_first {
                warn!(%address, guess = guess.as_str(), "an address has guessed too often");
            }
            let seconds = wait.num_milliseconds().max(0).div_euclid(1000) + 1;
            Err(ApiError {
                retry_after: u32::try_from(seconds).ok(),
                ..ApiError::new(ErrorCode::RateLimited, "Too many attempts from this address")
            })
        }
    }
}

/// Who asks: the peer, or where that is a proxy that is trusted, whoever the proxy says. What a client itself puts into
/// the header stands before what the proxies add, and counts for nothing.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).filter_map(|line| line.to_str().ok()).collect();
    let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    while is_trusted(&client) {
        match hops.next().and_then(address_in) {
            Some(before) => client = before,
            None => break,
        }
    }
    client
}

/// An address as proxies write it: with a port or without.
fn address_in(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(bare, _)| bare);
    let address = bare.parse().ok().or_else(|| bare.split_once(':')?.0.parse().ok());
    address.map(|address: IpAddr| address.to_canonical())
}

/// The rate_limiter of one kind.
struct Tally {
    /// 0: as many as they like.
    limit: u32,
    windows: Mutex<Windows>,
}

#[derive(Default)]
struct Windows {
    by_address: HashMap<IpAddr, Window>,
    swept_at: DateTime<Utc>,
}

#[derive(Clone, Copy)]
struct Window {
    began: DateTime<Utc>,
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Within,
    Beyond { wait: TimeDelta, is_first: bool },
}

impl Tally {
    fn new(limit: u32) -> Self {
        Self { limit, windows: Mutex::default() }
    }

    /// Counts a guess. A minute begins with an address's first one.
    fn count(&self, address: IpAddr, now: DateTime<Utc>) -> Verdict {
        if self.limit == 0 {
            return Verdict::Within;
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.of(network_of(address), now);
        if now - window.began >= PERIOD {
            *window = Window { began: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        if window.count <= self.limit {
            return Verdict::Within;
        }
        Verdict::Beyond { wait: window.began + PERIOD - now, is_first: window.count == self.limit + 1 }
    }
}

impl Windows {
    fn of(&mut self, address: IpAddr, now: DateTime<Utc>) -> &mut Window {
        let mut place = address;
        if self.by_address.len() >= MOST_ADDRESSES && !self.by_address.contains_key(&address) {
            self.sweep(now);
            if self.by_address.len() >= MOST_ADDRESSES {
                place = Ipv6Addr::UNSPECIFIED.into();
            }
        }
        self.by_address.entry(place).or_insert(Window { began: now, count: 0 })
    }

    /// Forgets those whose minute is over; not too often, because it looks at all of them.
    fn sweep(&mut self, now: DateTime<Utc>) {
        if now - self.swept_at >= TimeDelta::seconds(1) {
            self.by_address.retain(|_, window| now - window.began < PERIOD);
            self.swept_at = now;
        }
    }
}

/// Whoever has one address of version 6 has all of its network.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_704_110_400 + second, 0).expect("an instant")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn beyond(seconds: i64, is_first: bool) -> Verdict {
        Verdict::Beyond { wait: TimeDelta::seconds(seconds), is_first }
    }

    #[test]
    fn an_address_guesses_so_often_in_a_minute_and_then_waits_for_its_end() {
        let tally = Tally::new(3);
        for second in 0..3 {
            assert_eq!(tally.count(ip("192.0.2.1"), at(second)), Verdict::Within);
        }
        assert_eq!(tally.count(ip("192.0.2.1"), at(10)), beyond(50, true));
        assert_eq!(tally.count(ip("192.0.2.1"), at(59)), beyond(1, false));
        assert_eq!(tally.count(ip("192.0.2.2"), at(59)), Verdict::Within);
        assert_eq!(tally.count(ip("192.0.2.1"), at(60)), Verdict::Within);
        let unlimited = Tally::new(0);
        assert!((0..100).all(|_| unlimited.count(ip("192.0.2.1"), at(0)) == Verdict::Within));
    }

    #[test]
    fn a_network_of_version_6_counts_as_one_address() {
        let tally = Tally::new(1);
        assert_eq!(tally.count(ip("2001:db8:0:1::1"), at(0)), Verdict::Within);
        assert_eq!(tally.count(ip("2001:db8:0:1:ffff::2"), at(0)), beyond(60, true));
        assert_eq!(tally.count(ip("2001:db8:0:2::1"), at(0)), Verdict::Within);
    }

    #[test]
    fn of_very_many_addresses_the_last_share_what_is_left() {
        let tally = Tally::new(1);
        let address = |n: usize| IpAddr::from(u32::try_from(n).expect("it fits").to_be_bytes());
        for n in 0..MOST_ADDRESSES {
            assert_eq!(tally.count(address(n), at(0)), Verdict::Within);
        }
        assert_eq!(tally.count(address(MOST_ADDRESSES), at(1)), Verdict::Within);
        assert!(matches!(tally.count(address(MOST_ADDRESSES + 1), at(1)), Verdict::Beyond { .. }));
        assert!(tally.windows.lock().expect("whole").by_address.len() <= MOST_ADDRESSES + 1);
        // A minute later there is room again.
        assert_eq!(tally.count(address(MOST_ADDRESSES + 1), at(61)), Verdict::Within);
        assert!(tally.windows.lock().expect("whole").by_address.len() < 10);
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_who_asks() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("a network")];
        let client = |peer: &str, forwarded: &[&str]| {
            let request = forwarded
                .iter()
                .fold(TestRequest::default(), |request, line| request.append_header((FORWARDED_FOR, *line)));
            client_address(ip(peer), request.to_http_request().headers(), &trusted).to_string()
        };
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "a stranger says what it likes");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.2.3.4"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(client("::ffff:10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.7, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.2, 10.0.0.3"]), "10.0.0.2");
    }
}
