//! The limits for wrong credentials, started authorizations, and connections, by address.

use std::net::IpAddr;

use ipnet::IpNet;

use super::settings::Settings;

const MAX_PER_MINUTE: u64 = 1_000_000;
const MAX_CONNECTIONS: u64 = 1_000_000;

/// The limits for wrong credentials, started authorizations, and connections, by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Wrong API keys and bearer tokens from one address in a minute; 0: no limit.
    pub failures_per_minute: u32,
    /// Authorizations started from one address in a minute; 0: no limit.
    pub authorizations_per_minute: u32,
    /// Connections of one address at a time; 0: no limit but that of open files.
    pub connections_per_address: u32,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
}

impl RateLimits {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let failures = settings.number("auth_failures_per_minute", 0, MAX_PER_MINUTE);
        let authorizations = settings.number("oauth_starts_per_minute", 0, MAX_PER_MINUTE);
        let connections = settings.number("max_connections_per_address", 0, MAX_CONNECTIONS);
        let trusted_proxies = settings.parse("trusted_proxies", |text| {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts
                .map(|part| network(part).ok_or_else(|| format!("{part} is not an address or network")))
                .collect()
        });
        Some(Self {
            failures_per_minute: u32::try_from(failures?).ok()?,
            authorizations_per_minute: u32::try_from(authorizations?).ok()?,
            connections_per_address: u32::try_from(connections?).ok()?,
            trusted_proxies: trusted_proxies?,
        })
    }
}

/// Parses a network such as `10.0.0.0/8`, or a single address.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)))
}
