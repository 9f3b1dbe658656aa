//! `config.toml` as it is written: every key of this release, its default and what may stand there.
//!
//! The doc comments are the descriptions of the JSON Schema. References between sections are not
//! checked here ([`super::check`] does).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Level;

mod limits;
mod route;
mod tls;
mod upstream;
mod urls;

pub(super) use limits::{Access, RateLimit, RouteRateLimit, SharedLimits};
pub(super) use route::{Branch, Cache, Route};
pub(super) use tls::{Acme, Pair, Tls};
pub(super) use upstream::{Breaker, Upstream};
pub(super) use urls::Urls;

use super::scalar::{Decimal, Period, Share, Size, Text, Whole};
use super::settings::{AccessLog, FailureStatus, HttpMode, LogFormat, MockDelay, ServerTiming};

/// The configuration of gatherd.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    /// Listeners and limits of the whole process.
    pub(super) server: Server,
    /// Which clients are served at all.
    pub(super) access: Access,
    /// The certificates that clients see, and those that clients must show.
    pub(super) tls: Tls,
    /// The rate limit of each client.
    pub(super) rate_limit: RateLimit,
    /// The listener for operators: health, metrics, status page.
    pub(super) admin: Admin,
    /// What is logged, and where to.
    pub(super) log: Log,
    /// The stand-in upstream, in this process.
    pub(super) mock: Mock,
    /// HTTP services that routes call, by name: a letter a-z, then letters, digits, underscores.
    pub(super) upstreams: BTreeMap<String, Upstream>,
    /// What is answered at which path.
    pub(super) routes: Vec<Route>,
}

/// Listeners and limits of the whole process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    /// Addresses that speak HTTPS; at least one, unless `http` serves.
    pub(super) https: Vec<Text<SocketAddr>>,
    /// Addresses that speak plain HTTP/1.1.
    pub(super) http: Vec<Text<SocketAddr>>,
    /// What plain HTTP gets: "redirect" to the HTTPS port, or "serve", behind a TLS load balancer.
    pub(super) http_mode: Text<HttpMode>,
    /// Networks or addresses of proxies whose X-Forwarded-For is believed, read right to left.
    /// 0.0.0.0/0 and ::/0 are refused.
    pub(super) trusted_proxies: Vec<Text<IpNet>>,
    /// Instead of `trusted_proxies`, where the proxies' addresses are unknown: this many right-most
    /// entries of X-Forwarded-For were written by hops of ours; the client is that entry counted
    /// from the right. 1 to 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trusted_hops: Option<Whole<1, 16>>,
    /// Whether every connection begins with a PROXY v1 or v2 header; from `trusted_proxies` only,
    /// which it needs.
    pub(super) proxy_protocol: bool,
    /// Connections at once; 1 to 1000000.
    pub(super) max_connections: Whole<1, 1_000_000>,
    /// Connections at once of one TCP peer or PROXY source, trusted proxies exempt; 1 to 1000000.
    pub(super) max_connections_per_client: Whole<1, 1_000_000>,
    /// Gathers at once, each until its response has left; above it 503. 1 to 1000000.
    pub(super) max_in_flight: Whole<1, 1_000_000>,
    /// Gathers at once of one client, each until its last lingering branch is over; above it 429.
    /// 1 to 1000000.
    pub(super) max_in_flight_per_client: Whole<1, 1_000_000>,
    /// Bytes of replies held at once, everywhere; a branch that would pass it is `overloaded`.
    /// 64KiB to 1TiB.
    pub(super) max_buffered: Size<{ 1 << 16 }, { 1 << 40 }>,
    /// From accept to the end of the TLS handshake; 100ms to 10m.
    pub(super) handshake_timeout: Period<100, 600_000>,
    /// From a request head's first byte to its end; 100ms to 10m.
    pub(super) header_timeout: Period<100, 600_000>,
    /// How long a connection is kept on which no request is open; 100ms to 1h.
    pub(super) idle_timeout: Period<100, 3_600_000>,
    /// How long a client may take nothing of its response; 100ms to 10m.
    pub(super) write_timeout: Period<100, 600_000>,
    /// From the signal to stop until no more connections are taken, for load balancers that need a
    /// moment to see that the service is not ready; shorter than `drain_timeout`.
    pub(super) drain_delay: Period<0, 3_600_000>,
    /// From the signal to stop to the end of the process; 100ms to 1h.
    pub(super) drain_timeout: Period<100, 3_600_000>,
    /// Threads that serve, up to 1024; 0 is one per core.
    pub(super) worker_threads: Whole<0, 1024>,
    /// Whose answers tell where their time went (`server-timing`): "off", "trusted" proxies', or "all".
    pub(super) server_timing: Text<ServerTiming>,
    /// The status of a failed gather: "500" for every failure, or "gateway" for 502 when a branch
    /// failed and 504 when the deadline ended it.
    pub(super) failure_status: Text<FailureStatus>,
    /// A path that answers on every listener of `https` and `http` whether the service is ready: 200
    /// or 503, no body. Neither limited nor a gather.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health_path: Option<String>,
    /// A directory as certbot's `--webroot` fills it: the listeners of `http` answer below
    /// /.well-known/acme-challenge/ with the files that are there under the same path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) acme_webroot: Option<Text<PathBuf>>,
    /// Origins whose pages may call: a list such as `["https://app.example.com"]`, or `["*"]` for any.
    pub(super) cors_allow_origins: Vec<String>,
}

/// The listener for operators: health, metrics, status page.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    /// Whether there is one.
    pub(super) enabled: bool,
    /// Its address, plain HTTP.
    pub(super) listen: Text<SocketAddr>,
    /// Networks or addresses that may connect; required when `listen` is not loopback.
    pub(super) allow: Vec<Text<IpNet>>,
}

/// What is logged, and where to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    /// "text", "json", or "auto": text on a terminal, JSON otherwise.
    pub(super) format: Text<LogFormat>,
    /// The least severe level that is written; access lines are, whatever it is.
    pub(super) level: Text<Level>,
    /// Which requests have a line: "all", "errors" (status 400 and above) or "off".
    pub(super) access: Text<AccessLog>,
    /// File that the lines of requests go to instead of standard error; opened anew on SIGHUP and
    /// SIGUSR1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<Text<PathBuf>>,
}

/// The stand-in upstream, in this process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Mock {
    /// Whether it runs.
    pub(super) enabled: bool,
    /// Its address, plain HTTP.
    pub(super) listen: Text<SocketAddr>,
    /// What a reply holds.
    pub(super) body: String,
    /// How long a reply takes: a duration, or a range such as "100ms..600ms"; up to 10m.
    pub(super) delay: Text<MockDelay>,
    /// Share of replies that are 500; 0 to 1.
    pub(super) failure_rate: Share,
}

impl Default for Server {
    fn default() -> Self {
        let https = [([0; 4], 443).into(), ([0_u16; 8], 443).into()];
        Self {
            https: https.map(Text).to_vec(),
            http: Vec::new(),
            http_mode: Text(HttpMode::Redirect),
            trusted_proxies: Vec::new(),
            trusted_hops: None,
            proxy_protocol: false,
            max_connections: Whole(10_000),
            max_connections_per_client: Whole(256),
            max_in_flight: Whole(5000),
            max_in_flight_per_client: Whole(128),
            max_buffered: Size::of_bytes(256 << 20),
            handshake_timeout: Period::of_millis(10_000),
            header_timeout: Period::of_millis(10_000),
            idle_timeout: Period::of_millis(75_000),
            write_timeout: Period::of_millis(15_000),
            drain_delay: Period::of_millis(0),
            drain_timeout: Period::of_millis(12_000),
            worker_threads: Whole(0),
            server_timing: Text(ServerTiming::Off),
            failure_status: Text(FailureStatus::Internal),
            health_path: None,
            acme_webroot: None,
            cors_allow_origins: Vec::new(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: Text(([127, 0, 0, 1], 9180).into()),
            allow: Vec::new(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: Text(LogFormat::Auto),
            level: Text(Level::INFO),
            access: Text(AccessLog::All),
            file: None,
        }
    }
}

impl Default for Mock {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: Text(([127, 0, 0, 1], 1234).into()),
            body: r#"{"time":250}"#.to_owned(),
            delay: Text((std::time::Duration::ZERO..=std::time::Duration::ZERO).into()),
            failure_rate: Decimal(0.0),
        }
    }
}
