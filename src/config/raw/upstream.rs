//! `[upstreams.NAME]` as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::urls::Urls;
use crate::config::scalar::{Decimal, Period, Protocol, Size, Text, Whole};
use crate::config::secret::Secret;
use crate::config::settings::{BreakerSettings, CertificateAuthorities};

/// One HTTP service that is called.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Upstream {
    /// Required. http or https URL with a host, without user, password or fragment; or a list of up to 32
    /// that differ in host and port only. Calls are spread over all of them and their addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) url: Option<Urls>,
    /// Who vouches for it: "system" (the system's roots, else the bundled ones), "bundled", or the
    /// path of a PEM file.
    pub(in crate::config) ca: Text<CertificateAuthorities>,
    /// Protocol: "auto" (ALPN over TLS, HTTP/1.1 over plain TCP), "1" or "2".
    pub(in crate::config) http: Text<Protocol>,
    /// For opening one connection: name resolution, TCP and TLS together; 1ms to 5m.
    pub(in crate::config) connect_timeout: Period<1, 300_000>,
    /// Bytes of a reply's body; 1B to 1GiB.
    pub(in crate::config) max_response: Size<1, { 1 << 30 }>,
    /// Calls at once, running or lingering; 1 to 1000000.
    pub(in crate::config) max_calls: Whole<1, 1_000_000>,
    /// How long a branch waits for one of them, then it is `overloaded`; 0s to 1m.
    pub(in crate::config) max_wait: Period<0, 60_000>,
    /// How long a connection is kept without a call; must be below the upstream's own. 1s to 1day.
    pub(in crate::config) idle_timeout: Period<1000, 86_400_000>,
    /// How long a connection is used at most; 1s to 7days.
    pub(in crate::config) max_connection_age: Period<1000, 604_800_000>,
    /// How long an unfinished call is read on after its gather is over; 0s to 1m.
    pub(in crate::config) linger: Period<0, 60_000>,
    /// Stops calls for a while when too many fail; never without this table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::config) breaker: Option<Breaker>,
    /// Headers sent with every call, such as authorization.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::config) headers: BTreeMap<String, Secret>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            url: None,
            ca: Text(CertificateAuthorities::System),
            http: Text(Protocol::Auto),
            connect_timeout: Period::of_millis(2000),
            max_response: Size::of_bytes(1 << 20),
            max_calls: Whole(512),
            max_wait: Period::of_millis(250),
            idle_timeout: Period::of_millis(50_000),
            max_connection_age: Period::of_millis(300_000),
            linger: Period::of_millis(2000),
            breaker: None,
            headers: BTreeMap::new(),
        }
    }
}

/// `[upstreams.NAME.breaker]`: when calls are stopped, and for how long.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Breaker {
    /// Share of the calls within `window` that fail; 0.001 to 1.
    pub(in crate::config) failures: Decimal<1, 1000>,
    /// How far back calls count; 1s to 10m.
    pub(in crate::config) window: Period<1000, 600_000>,
    /// Fewer calls within `window` say nothing; 1 to 1000000.
    pub(in crate::config) min_calls: Whole<1, 1_000_000>,
    /// How long calls are stopped before one call tries again; 100ms to 1h.
    pub(in crate::config) open_for: Period<100, 3_600_000>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: Decimal(0.5),
            window: Period::of_millis(10_000),
            min_calls: Whole(20),
            open_for: Period::of_millis(5000),
        }
    }
}

impl Breaker {
    /// The same as settings.
    pub(in crate::config) fn settings(&self) -> BreakerSettings {
        BreakerSettings {
            failures: self.failures.0,
            window: self.window.duration(),
            min_calls: self.min_calls.0,
            open_for: self.open_for.duration(),
        }
    }
}
