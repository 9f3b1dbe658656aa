//! The key that caps and limiter share: one for each client.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A client as limits see it: an IPv4 address whole, an IPv6 address by its prefix (one customer
/// has at least a /64, RFC 6177), a v4-mapped one as the IPv4 address it is (RFC 4291 section 2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(IpAddr);

impl ClientKey {
    /// The key of an address, of which the first `ipv6_prefix` bits count if it is IPv6.
    #[must_use]
    pub fn new(address: IpAddr, ipv6_prefix: u8) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let rest = 128u32.saturating_sub(u32::from(ipv6_prefix));
                let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl ClientKey {
    /// The key of an address's network, of which the first bits count: so many of each family.
    #[must_use]
    pub fn network(address: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let rest = 32u32.saturating_sub(u32::from(ipv4_prefix));
                let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
                Self(Ipv4Addr::from_bits(address.to_bits() & mask).into())
            }
            address @ IpAddr::V6(_) => Self::new(address, ipv6_prefix),
        }
    }
}

impl ClientKey {
    /// The address, or the first one of the network.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str, prefix: u8) -> String {
        ClientKey::new(address.parse().unwrap(), prefix).to_string()
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_an_ipv4_address_is_one_client() {
        assert_eq!(key("2001:db8:1:2:3:4:5:6", 64), "2001:db8:1:2::");
        assert_eq!(key("2001:db8:1:2:3:4:5:6", 48), "2001:db8:1::");
        assert_eq!(key("2001:db8::6", 128), "2001:db8::6");
        assert_eq!(key("192.0.2.7", 64), "192.0.2.7");
    }

    #[test]
    fn a_network_is_one_key() {
        let network = |address: &str, v4| ClientKey::network(address.parse().unwrap(), v4, 48);
        assert_eq!(network("192.0.2.7", 24).to_string(), "192.0.2.0");
        assert_eq!(network("::ffff:192.0.2.7", 24).to_string(), "192.0.2.0");
        assert_eq!(network("192.0.2.7", 0).to_string(), "0.0.0.0");
        assert_eq!(network("2001:db8:1:2::3", 24).to_string(), "2001:db8:1::");
    }

    #[test]
    fn a_v4_mapped_address_is_the_ipv4_client() {
        assert_eq!(key("::ffff:192.0.2.7", 64), key("192.0.2.7", 64));
    }
}
