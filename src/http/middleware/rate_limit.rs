//! Rate limits by client address: wrong API keys, wrong bearers, and started authorizations, counted in windows of one
//! minute. A correct key is accepted from a limited address too, and webhooks are never counted.
//!
//! The memory is bounded: beyond [`MAX_ADDRESSES`], the addresses that come last share one window.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use actix_web::{HttpRequest, http::header::HeaderMap};
use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use metrics::{Counter, counter};
use strum::{IntoStaticStr, VariantArray};
use tracing::warn;

use crate::{
    config::RateLimits,
    http::{
        error::{ApiError, ErrorCode},
        state::AppState,
    },
};

/// The length of a window.
const WINDOW: TimeDelta = TimeDelta::minutes(1);
/// How many addresses have a window of their own at a time.
const MAX_ADDRESSES: usize = 50_000;
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What is counted; the `attempt` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Attempt {
    /// A wrong API key, or a wrong bearer.
    Credentials,
    /// The start of an authorization.
    Authorization,
}

impl Attempt {
    /// The label in metrics and in the log.
    fn as_str(self) -> &'static str {
        self.into()
    }

    /// The counter of requests that were refused.
    pub(crate) fn rejections(self) -> Counter {
        counter!("cti_rate_limited_total", "attempt" => self.as_str())
    }
}

/// Counts attempts by client address. Held by [`AppState`], one for all workers.
pub struct RateLimiter {
    credentials: FixedWindow,
    authorizations: FixedWindow,
    trusted_proxies: Vec<IpNet>,
}

impl RateLimiter {
    /// Creates a limiter that has counted nothing.
    #[must_use]
    pub fn new(limits: &RateLimits) -> Self {
        Self {
            credentials: FixedWindow::new(limits.failures_per_minute),
            authorizations: FixedWindow::new(limits.authorizations_per_minute),
            trusted_proxies: limits.trusted_proxies.clone(),
        }
    }

    fn windows(&self, attempt: Attempt) -> &FixedWindow {
        match attempt {
            Attempt::Credentials => &self.credentials,
            Attempt::Authorization => &self.authorizations,
        }
    }
}

/// Counts an attempt of the client that sent a request.
///
/// # Errors
/// [`ErrorCode::RateLimited`], if there were too many in this window.
pub(crate) fn check(request: &HttpRequest, state: &AppState, attempt: Attempt) -> Result<(), ApiError> {
    match client_ip(request, state) {
        Some(address) => check_address(address, state, attempt),
        None => Ok(()),
    }
}

/// Returns the address that the attempts of a request are counted for.
pub(crate) fn client_ip(request: &HttpRequest, state: &AppState) -> Option<IpAddr> {
    let peer = request.peer_addr()?;
    Some(client_address(peer.ip(), request.headers(), &state.rate_limiter.trusted_proxies))
}

/// Counts an attempt that comes after the request itself: in the first message of a WebSocket.
///
/// # Errors
/// As for [`check`].
pub(crate) fn check_address(address: IpAddr, state: &AppState, attempt: Attempt) -> Result<(), ApiError> {
    match state.rate_limiter.windows(attempt).count(address, state.clock.now()) {
        Decision::Allowed => Ok(()),
        Decision::Limited { retry_after, is_first } => {
            attempt.rejections().increment(1);
            if is_first {
                warn!(%address, attempt = attempt.as_str(), "an address is rate limited");
            }
            let seconds = retry_after.num_milliseconds().max(0).div_euclid(1000) + 1;
            Err(ApiError {
                retry_after: u32::try_from(seconds).ok(),
                ..ApiError::new(ErrorCode::RateLimited, "Too many attempts from this address")
            })
        }
    }
}

/// Returns the address of the client: the peer, or where the peer is a trusted proxy, what the proxy reports. A client
/// can put anything into the header, but the proxies append to it: reading from the end, the first address that is no
/// trusted proxy is the client.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).filter_map(|line| line.to_str().ok()).collect();
    let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    while is_trusted(&client) {
        match hops.next().and_then(parse_hop) {
            Some(previous) => client = previous,
            None => break,
        }
    }
    client
}

/// Parses an address as proxies write it: with a port or without.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let without_port =
        text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(ip, _)| ip);
    let address = without_port.parse().ok().or_else(|| without_port.split_once(':')?.0.parse().ok());
    address.map(|address: IpAddr| address.to_canonical())
}

/// Counts attempts in windows of one minute, one window for each address. A window begins with the first attempt.
struct FixedWindow {
    /// 0: unlimited.
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
enum Decision {
    Allowed,
    /// `is_first`: no earlier attempt in this window was limited.
    Limited {
        retry_after: TimeDelta,
        is_first: bool,
    },
}

impl FixedWindow {
    fn new(limit: u32) -> Self {
        Self { limit, windows: Mutex::default() }
    }

    fn count(&self, address: IpAddr, now: DateTime<Utc>) -> Decision {
        if self.limit == 0 {
            return Decision::Allowed;
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.get_or_insert(network_of(address), now);
        if now - window.began >= WINDOW {
            *window = Window { began: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        if window.count <= self.limit {
            return Decision::Allowed;
        }
        Decision::Limited {
            retry_after: window.began + WINDOW - now,
            is_first: window.count == self.limit + 1,
        }
    }
}

impl Windows {
    fn get_or_insert(&mut self, address: IpAddr, now: DateTime<Utc>) -> &mut Window {
        let mut key = address;
        if self.by_address.len() >= MAX_ADDRESSES && !self.by_address.contains_key(&address) {
            self.sweep(now);
            if self.by_address.len() >= MAX_ADDRESSES {
                key = Ipv6Addr::UNSPECIFIED.into();
            }
        }
        self.by_address.entry(key).or_insert(Window { began: now, count: 0 })
    }

    /// Removes the windows that are over. At most once a second, because it looks at all of them.
    fn sweep(&mut self, now: DateTime<Utc>) {
        if now - self.swept_at >= TimeDelta::seconds(1) {
            self.by_address.retain(|_, window| now - window.began < WINDOW);
            self.swept_at = now;
        }
    }
}

/// Returns the network that an address is counted as: a client with one IPv6 address has its whole /64.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
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

    fn limited(seconds: i64, is_first: bool) -> Decision {
        Decision::Limited { retry_after: TimeDelta::seconds(seconds), is_first }
    }

    #[test]
    fn an_address_is_limited_until_its_minute_is_over() {
        let windows = FixedWindow::new(3);
        for second in 0..3 {
            assert_eq!(windows.count(ip("192.0.2.1"), at(second)), Decision::Allowed);
        }
        assert_eq!(windows.count(ip("192.0.2.1"), at(10)), limited(50, true));
        assert_eq!(windows.count(ip("192.0.2.1"), at(59)), limited(1, false));
        assert_eq!(windows.count(ip("192.0.2.2"), at(59)), Decision::Allowed);
        assert_eq!(windows.count(ip("192.0.2.1"), at(60)), Decision::Allowed);
        let unlimited = FixedWindow::new(0);
        assert!((0..100).all(|_| unlimited.count(ip("192.0.2.1"), at(0)) == Decision::Allowed));
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let windows = FixedWindow::new(1);
        assert_eq!(windows.count(ip("2001:db8:0:1::1"), at(0)), Decision::Allowed);
        assert_eq!(windows.count(ip("2001:db8:0:1:ffff::2"), at(0)), limited(60, true));
        assert_eq!(windows.count(ip("2001:db8:0:2::1"), at(0)), Decision::Allowed);
    }

    #[test]
    fn beyond_the_maximum_addresses_share_one_window() {
        let windows = FixedWindow::new(1);
        let address = |n: usize| IpAddr::from(u32::try_from(n).expect("it fits").to_be_bytes());
        for n in 0..MAX_ADDRESSES {
            assert_eq!(windows.count(address(n), at(0)), Decision::Allowed);
        }
        assert_eq!(windows.count(address(MAX_ADDRESSES), at(1)), Decision::Allowed);
        assert!(matches!(windows.count(address(MAX_ADDRESSES + 1), at(1)), Decision::Limited { .. }));
        assert!(windows.windows.lock().expect("whole").by_address.len() <= MAX_ADDRESSES + 1);
        // A minute later the windows are over.
        assert_eq!(windows.count(address(MAX_ADDRESSES + 1), at(61)), Decision::Allowed);
        assert!(windows.windows.lock().expect("whole").by_address.len() < 10);
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("a network")];
        let client = |peer: &str, forwarded: &[&str]| {
            let request = forwarded
                .iter()
                .fold(TestRequest::default(), |request, line| request.append_header((FORWARDED_FOR, *line)));
            client_address(ip(peer), request.to_http_request().headers(), &trusted).to_string()
        };
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "not a trusted proxy");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.2.3.4"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(client("::ffff:10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.7, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.2, 10.0.0.3"]), "10.0.0.2");
    }
}
