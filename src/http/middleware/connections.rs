//! How many connections one address may have at a time. More are closed at once, before anything is read of them.

use std::{
    collections::HashMap,
    net::{IpAddr, Shutdown},
    sync::Arc,
};

use actix_web::rt::net::TcpStream;
use ipnet::IpNet;
use metrics::counter;
use parking_lot::Mutex;
use socket2::SockRef;
use tracing::warn;

use super::rate_limit::network_of;
use crate::{config::RateLimits, net};

/// How many open files a connection takes.
const FILES_PER_CONNECTION: u64 = 2;

/// Counts the connections of each address. One for all workers.
pub(crate) struct ConnectionLimit {
    /// `usize::MAX`: unlimited.
    limit: usize,
    trusted_proxies: Vec<IpNet>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionLimit {
    /// Creates the limit. Whatever is configured, one address can't use up the open files: a quarter is left to others.
    #[must_use]
    pub(crate) fn new(limits: &RateLimits) -> Self {
        let configured = match limits.connections_per_address {
            0 => u64::MAX,
            limit => u64::from(limit),
        };
        let possible = net::max_open_files().map_or(u64::MAX, |files| files / FILES_PER_CONNECTION / 4 * 3);
        Self {
            limit: usize::try_from(configured.min(possible.max(1))).unwrap_or(usize::MAX),
            trusted_proxies: limits.trusted_proxies.clone(),
            by_address: Mutex::default(),
        }
    }

    /// Counts a connection that was just accepted. `None`: it was one too many, and is closed. Those of the trusted
    /// proxies are those of many clients, and are not limited.
    pub(crate) fn accept(self: &Arc<Self>, stream: &TcpStream) -> Option<CountedConnection> {
        let counted = match stream.peer_addr() {
            Ok(peer) => self.count(peer.ip().to_canonical()),
            Err(_) => Some(CountedConnection { of: None }),
        };
        if counted.is_none() {
            counter!("cti_connections_refused_total").increment(1);
            let _ = SockRef::from(stream).shutdown(Shutdown::Both);
        }
        counted
    }

    fn count(self: &Arc<Self>, address: IpAddr) -> Option<CountedConnection> {
        if self.trusted_proxies.iter().any(|network| network.contains(&address)) {
            return Some(CountedConnection { of: None });
        }
        let key = network_of(address);
        let mut by_address = self.by_address.lock();
        let count = by_address.entry(key).or_insert(0);
        if *count >= self.limit {
            if *count == self.limit {
                // Said once until there are fewer again.
                *count += 1;
                warn!(%address, limit = self.limit, "an address has too many connections; more are closed at once");
            }
            return None;
        }
        *count += 1;
        drop(by_address);
        Some(CountedConnection { of: Some((Arc::clone(self), key)) })
    }
}

/// A connection that is counted while this exists. Held by the connection.
pub(crate) struct CountedConnection {
    of: Option<(Arc<ConnectionLimit>, IpAddr)>,
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let Some((limit, key)) = &self.of else { return };
        let mut by_address = limit.by_address.lock();
        if let Some(count) = by_address.get_mut(key) {
            *count = (*count).min(limit.limit).saturating_sub(1);
            if *count == 0 {
                by_address.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn limit_of_two() -> Arc<ConnectionLimit> {
        let limits = RateLimits {
            failures_per_minute: 0,
            authorizations_per_minute: 0,
            connections_per_address: 2,
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
        };
        Arc::new(ConnectionLimit::new(&limits))
    }

    #[test]
    fn an_address_has_room_again_when_one_of_its_connections_ends() {
        let limit = limit_of_two();
        let first = limit.count(ip("192.0.2.1")).expect("room");
        let second = limit.count(ip("192.0.2.1")).expect("room");
        assert!(limit.count(ip("192.0.2.1")).is_none());
        assert!(limit.count(ip("192.0.2.1")).is_none());
        assert!(limit.count(ip("192.0.2.2")).is_some());
        drop(first);
        let third = limit.count(ip("192.0.2.1")).expect("room");
        assert!(limit.count(ip("192.0.2.1")).is_none());
        drop((second, third));
        assert!(limit.by_address.lock().is_empty());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address_and_a_trusted_proxy_is_not_limited() {
        let limit = limit_of_two();
        let _of_network = ["2001:db8:0:1::1", "2001:db8:0:1::2"].map(|text| limit.count(ip(text)));
        assert!(limit.count(ip("2001:db8:0:1::3")).is_none());
        let of_proxy: Vec<_> = (0..100).filter_map(|_| limit.count(ip("10.1.2.3"))).collect();
        assert_eq!(of_proxy.len(), 100);
    }
}
