//! Which clients the service serves, and how much of it one client gets.

use std::net::IpAddr;

use ipnet::IpNet;

/// `[access]`: which addresses are served at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSettings {
    /// Refused.
    pub deny: Vec<IpNet>,
    /// When not empty, only these are served.
    pub allow: Vec<IpNet>,
}

/// What all limits of one client go by, the rate limit enabled or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// How many leading bits of an IPv6 address are one client: 1 to 128.
    pub ipv6_prefix: u8,
    /// Clients free of every limit of one client.
    pub exempt: Vec<IpNet>,
}

/// `[rate_limit]` or a route's own: a token bucket for each client.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitSettings {
    /// Refill, more than 0, at most 1,000,000 a second.
    pub requests_per_second: f64,
    /// Requests at once from a rested client; 1 or more.
    pub burst: u32,
    /// How many leading bits of an IPv6 address are one client: 1 to 128.
    pub ipv6_prefix: u8,
    /// Clients free of this limit.
    pub exempt: Vec<IpNet>,
    /// Whether clients over their rate are admitted all the same.
    pub dry_run: bool,
    /// Clients tracked at once, at least 1; new ones above it share coarse buckets.
    pub max_clients: usize,
    /// New connections of one TCP peer, refill; more than 0, at most 1,000,000 a second.
    pub connections_per_second: f64,
    /// New connections at once from a rested TCP peer; 1 or more.
    pub connection_burst: u32,
    /// How many hosts share the clients; 1 or more.
    pub instances: u32,
}

/// Which rate limit the requests of a route go by.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteRateLimit {
    /// The one of `[rate_limit]`, together with all other such routes and unknown paths.
    Shared,
    /// One of the route's own, instead.
    Own(RateLimitSettings),
    /// None.
    Off,
}

impl AccessSettings {
    /// Whether a client or peer at `address` is served.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        !contain(&self.deny, address) && (self.allow.is_empty() || contain(&self.allow, address))
    }
}

impl ClientSettings {
    /// Whether no limit of one client holds for `address`.
    #[must_use]
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        contain(&self.exempt, address)
    }
}

impl RateLimitSettings {
    /// This host's part of rate and burst: its own share of them where it counts alone. At least one
    /// request at once.
    #[must_use]
    pub fn of_this_host(&self) -> (f64, u32) {
        let rate = self.requests_per_second / f64::from(self.instances);
        (rate, (self.burst / self.instances).max(1))
    }

    /// Whether this limit does not hold for `address`.
    #[must_use]
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        contain(&self.exempt, address)
    }
}

/// Whether one of the networks has the address; a v4-mapped one is the IPv4 address it is.
pub(super) fn contain(nets: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    nets.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(deny: &[&str], allow: &[&str], address: &str) -> bool {
        let nets = |said: &[&str]| said.iter().map(|net| net.parse().unwrap()).collect();
        let access = AccessSettings {
            deny: nets(deny),
            allow: nets(allow),
        };
        access.admits(address.parse().unwrap())
    }

    #[test]
    fn without_lists_everybody_is_admitted() {
        assert!(admits(&[], &[], "192.0.2.1"));
        assert!(admits(&[], &[], "::1"));
    }

    #[test]
    fn a_denied_address_is_refused_even_if_it_is_allowed_too() {
        let (deny, allow) = (["192.0.2.0/24"], ["192.0.0.0/16"]);
        assert!(!admits(&deny, &allow, "192.0.2.1"));
        assert!(!admits(&deny, &allow, "::ffff:192.0.2.1"));
        assert!(admits(&deny, &allow, "192.0.3.1"));
        assert!(!admits(&deny, &allow, "198.51.100.1"));
    }
}
