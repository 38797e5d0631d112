//! How often strangers may guess, and who is believed about whom.

use ipnet::IpNet;

use super::settings::Settings;

/// The most that anything is limited to.
const MOST: u64 = 1_000_000;

/// How often strangers may guess, and who is believed about whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Wrong keys and bearers from one address in a minute; 0: no limit.
    pub failures_per_minute: u32,
    /// Authorizations that are begun from one address in a minute; 0: no limit.
    pub authorizations_per_minute: u32,
    /// The proxies in front that say whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
}

impl RateLimits {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let failures = settings.number("auth_failures_per_minute", 0, MOST);
        let authorizations = settings.number("oauth_starts_per_minute", 0, MOST);
        let trusted_proxies = settings.parse("trusted_proxies", |text| {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts
                .map(|part| network(part).ok_or_else(|| format!("{part} is no address or network")))
                .collect()
        });
        Some(Self {
            failures_per_minute: u32::try_from(failures?).ok()?,
            authorizations_per_minute: u32::try_from(authorizations?).ok()?,
            trusted_proxies: trusted_proxies?,
        })
    }
}

/// `10.0.0.0/8`, or one address.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}
