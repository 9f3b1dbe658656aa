//! `[access]`, `[rate_limit]` and a route's own `rate_limit` as they are written.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::{Decimal, Period, Text, Whole};
use crate::config::secret::Secret;
use crate::config::settings::{CertificateAuthorities, WithoutRedis};

/// Events a second, from a thousandth to a million.
type Rate = Decimal<1, 1_000_000_000>;
/// Events at once.
type Burst = Whole<1, 1_000_000>;

/// Which clients are served at all.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Access {
    /// Networks or addresses that are refused, as TCP peers and as clients.
    pub(in crate::config) deny: Vec<Text<IpNet>>,
    /// When not empty, only these networks or addresses are served.
    pub(in crate::config) allow: Vec<Text<IpNet>>,
}

/// The rate limit of each client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RateLimit {
    /// Whether clients are limited at all.
    pub(in crate::config) enabled: bool,
    /// Requests a second of one client, in the long run; 0.001 to 1000000.
    pub(in crate::config) requests_per_second: Rate,
    /// Requests at once from a rested client; 1 to 1000000.
    pub(in crate::config) burst: Burst,
    /// How many leading bits of an IPv6 address are one client; 1 to 128.
    pub(in crate::config) ipv6_prefix: Whole<1, 128>,
    /// Networks or addresses free of this and of every other limit of one client.
    pub(in crate::config) exempt: Vec<Text<IpNet>>,
    /// Whether clients over their rate are only counted and logged, and admitted all the same.
    pub(in crate::config) dry_run: bool,
    /// Clients tracked at once; above it new ones share buckets by /24 (IPv4) and /48 (IPv6).
    /// 1 to 10000000.
    pub(in crate::config) max_clients: Whole<1, 10_000_000>,
    /// New connections a second of one TCP peer, in the long run; 0.001 to 1000000.
    pub(in crate::config) connections_per_second: Rate,
    /// New connections at once from a rested TCP peer; 1 to 1000000.
    pub(in crate::config) connection_burst: Burst,
    /// How many hosts share the clients evenly; each admits its part of rate and burst where Redis
    /// does not count for all. 1 to 1000.
    pub(in crate::config) instances: Whole<1, 1000>,
    /// One count for all hosts, in Redis or Valkey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) shared: Option<SharedLimits>,
}

/// Where several hosts count together.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct SharedLimits {
    /// Required. `redis://` or `rediss://` (TLS), with user, password, port and database as needed:
    /// `rediss://user:password@redis.example.com:6379/0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) url: Option<Secret>,
    /// Who vouches for it over TLS: "system" (the system's roots, else the bundled ones), "bundled",
    /// or the path of a PEM file.
    pub(in crate::config) ca: Text<CertificateAuthorities>,
    /// What every key begins with.
    pub(in crate::config) key_prefix: String,
    /// How long a request waits for Redis at most; 1ms to 1s.
    pub(in crate::config) timeout: Period<1, 1000>,
    /// Without Redis: "local" (each host counts for itself), "allow" or "deny".
    pub(in crate::config) on_error: Text<WithoutRedis>,
}

/// A route's own rate limit, instead of the one of `[rate_limit]`, which gives what is not said here.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RouteRateLimit {
    /// Whether requests of this route are limited; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) enabled: Option<bool>,
    /// Requests a second of one client, in the long run; 0.001 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) requests_per_second: Option<Rate>,
    /// Requests at once from a rested client; 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) burst: Option<Burst>,
    /// How many leading bits of an IPv6 address are one client; 1 to 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) ipv6_prefix: Option<Whole<1, 128>>,
    /// Networks or addresses free of this rate limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) exempt: Option<Vec<Text<IpNet>>>,
    /// Whether clients over their rate are only counted and logged, and admitted all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) dry_run: Option<bool>,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            enabled: true,
            requests_per_second: Decimal(50.0),
            burst: Whole(100),
            ipv6_prefix: Whole(64),
            exempt: Vec::new(),
            dry_run: false,
            max_clients: Whole(1_000_000),
            connections_per_second: Decimal(20.0),
            connection_burst: Whole(100),
            instances: Whole(1),
            shared: None,
        }
    }
}

impl Default for SharedLimits {
    fn default() -> Self {
        Self {
            url: None,
            ca: Text(CertificateAuthorities::System),
            key_prefix: "gatherd:".to_owned(),
            timeout: Period::of_millis(20),
            on_error: Text(WithoutRedis::Local),
        }
    }
}
