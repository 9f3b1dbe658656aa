//! Settings that cannot be invalid: what the rest of the program reads.
//!
//! Made once from the raw mirror of `config.toml` ([`super::raw`]); units, bounds and references
//! between sections have been checked by then.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use url::Url;

mod limits;
mod shared;
mod tls;

pub use limits::{AccessSettings, ClientSettings, RateLimitSettings, RouteRateLimit};
pub use shared::{RedisSettings, SharedLimitSettings, WithoutRedis};
pub use tls::{AcmeSettings, CertificateSource, PairFiles, TlsSettings};

use super::target::Target;
use crate::gather::{Launch, Policy};

/// Everything `config.toml` and the environment say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[server]`.
    pub server: ServerSettings,
    /// `[access]`.
    pub access: AccessSettings,
    /// `[tls]`; none when nothing speaks HTTPS.
    pub tls: Option<TlsSettings>,
    /// What `[rate_limit]` says of clients, enabled or not.
    pub clients: ClientSettings,
    /// `[rate_limit]`; none when it is not enabled.
    pub rate_limit: Option<RateLimitSettings>,
    /// `[rate_limit.shared]`: where all hosts count together, if they do.
    pub shared_limits: Option<SharedLimitSettings>,
    /// `[admin]`; none when it is not enabled.
    pub admin: Option<AdminSettings>,
    /// `[log]`.
    pub log: LogSettings,
    /// `[mock]`; none when it is not enabled.
    pub mock: Option<MockSettings>,
    /// `[upstreams.*]`, in the order of their names.
    pub upstreams: Vec<UpstreamSettings>,
    /// `[[routes]]`, in the order of the file.
    pub routes: Vec<RouteSettings>,
}

/// `[server]`: listeners and limits of the whole process.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Addresses that speak HTTPS; at least one, or `http` serves.
    pub https: Vec<SocketAddr>,
    /// Addresses that speak plain HTTP/1.1.
    pub http: Vec<SocketAddr>,
    /// What plain HTTP gets.
    pub http_mode: HttpMode,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How many right-most entries of `X-Forwarded-For` are ours, 1 to 16; never with
    /// `trusted_proxies`.
    pub trusted_hops: Option<usize>,
    /// Whether connections begin with a PROXY header; only with `trusted_proxies`.
    pub proxy_protocol: bool,
    /// Connections at once; at least 1, as the next three.
    pub max_connections: usize,
    /// Connections at once of one TCP peer or PROXY source.
    pub max_connections_per_client: usize,
    /// Gathers at once, each until its response has left.
    pub max_in_flight: usize,
    /// Gathers at once of one client, each until its last lingering branch is over.
    pub max_in_flight_per_client: usize,
    /// Bytes of replies held at once, everywhere.
    pub max_buffered: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From a request head's first byte to its end.
    pub header_timeout: Duration,
    /// How long a connection is kept on which no request is open.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of its response.
    pub write_timeout: Duration,
    /// From the signal until no more connections are taken; shorter than `drain_timeout`.
    pub drain_delay: Duration,
    /// From the signal to the end of the process.
    pub drain_timeout: Duration,
    /// Threads that serve; at least 1, and 1 means the current-thread runtime.
    pub worker_threads: usize,
    /// Whose answers tell where their time went.
    pub server_timing: ServerTiming,
    /// Which status a failed gather has.
    pub failure_status: FailureStatus,
    /// Where the public listeners say whether the service is ready.
    pub health_path: Option<Arc<str>>,
    /// Where plain HTTP finds the answers of others' ACME challenges (RFC 8555 section 8.3).
    pub acme_webroot: Option<Arc<Path>>,
    /// Who may call from a page of another origin.
    pub cors_allow_origins: AllowedOrigins,
}

/// What a plain-HTTP listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMode {
    /// Sends clients to HTTPS.
    Redirect,
    /// Answers, as HTTPS does.
    Serve,
}

/// Which status a failed gather has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureStatus {
    /// 500 for every failure, as in the system replaced.
    Internal,
    /// 502 when a branch failed, 504 when the deadline ended it.
    Gateway,
}

/// `cors_allow_origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// No CORS headers at all.
    None,
    /// `["*"]`.
    Any,
    /// Exactly these, as browsers send them in `Origin`.
    List(Vec<HeaderValue>),
}

/// `[admin]`: the listener for operators.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Where it listens, plain HTTP.
    pub listen: SocketAddr,
    /// Who may connect; empty only when `listen` is loopback, and means every client there.
    pub allow: Vec<IpNet>,
    /// Where the last hour outlasts a restart: `$STATE_DIRECTORY` (systemd.exec(5), StateDirectory=).
    pub state_directory: Option<PathBuf>,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// How a line looks.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// Which requests have a line.
    pub access: AccessLog,
    /// Where these lines go instead of standard error.
    pub file: Option<PathBuf>,
}

/// Which requests have a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Every one.
    All,
    /// Those whose status is 400 or more; 499 is that of a client that left.
    Errors,
    /// None.
    Off,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text when standard error is a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[mock]`: the stand-in upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct MockSettings {
    /// Where it listens, plain HTTP/1.1 and HTTP/2 with prior knowledge.
    pub listen: SocketAddr,
    /// What a reply holds.
    pub body: String,
    /// How long a reply takes.
    pub delay: MockDelay,
    /// Share of replies that are 500, from 0 to 1.
    pub failure_rate: f64,
}

/// How long the replies of the stand-in upstream take.
#[derive(Clone, Debug, PartialEq)]
pub struct MockDelay {
    /// Of most replies; drawn evenly from the range.
    pub most: RangeInclusive<Duration>,
    /// Of a share each, from 0 to 1 and at most 1 together.
    pub shares: Vec<(f64, RangeInclusive<Duration>)>,
}

impl From<RangeInclusive<Duration>> for MockDelay {
    fn from(most: RangeInclusive<Duration>) -> Self {
        let shares = Vec::new();
        Self { most, shares }
    }
}

/// `[upstreams.NAME]`: one HTTP service that is called.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamSettings {
    /// Its name in routes, logs and problems: `[a-z][a-z0-9_]*`.
    pub name: Arc<str>,
    /// `http` or `https`, with a host, without user, password or fragment. At least one; they differ in
    /// host and port only.
    pub urls: Vec<Url>,
    /// Which certificate authorities vouch for it.
    pub ca: CertificateAuthorities,
    /// Which protocol it is spoken to in.
    pub http: UpstreamHttp,
    /// For name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Bytes of a reply's body.
    pub max_response: usize,
    /// Calls at once, running or lingering.
    pub max_calls: usize,
    /// How long a branch waits for one of them.
    pub max_wait: Duration,
    /// How long a connection is kept without a call.
    pub idle_timeout: Duration,
    /// How long a connection is used at most.
    pub max_connection_age: Duration,
    /// How long an unfinished call is read on after its gather is over.
    pub linger: Duration,
    /// When calls are stopped because too many fail.
    pub breaker: Option<BreakerSettings>,
    /// Sent with every call; values are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// `[upstreams.NAME.breaker]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerSettings {
    /// Share of the calls within `window` that fail, above 0 and at most 1.
    pub failures: f64,
    /// How far back calls count.
    pub window: Duration,
    /// Fewer calls within `window` say nothing; at least 1.
    pub min_calls: u32,
    /// How long calls are stopped before one call tries again.
    pub open_for: Duration,
}

impl UpstreamSettings {
    /// The first of its URLs: scheme, path and query are those of all.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.urls[0]
    }

    /// Whether it is called over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.url().scheme() == "https"
    }

    /// Whether it is spoken to in HTTP/1.1, without anything to find out.
    #[must_use]
    pub fn is_http1(&self) -> bool {
        match self.http {
            UpstreamHttp::Auto => !self.is_secure(),
            UpstreamHttp::Http1 => true,
            UpstreamHttp::Http2 => false,
        }
    }
}

/// `ca` of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateAuthorities {
    /// The system's; the bundled ones where the system has none.
    System,
    /// The ones in this binary (Mozilla's).
    Bundled,
    /// A PEM file.
    File(PathBuf),
}

/// `http` of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamHttp {
    /// HTTP/1.1 over plain TCP; over TLS what ALPN agrees on.
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only, with prior knowledge over plain TCP.
    Http2,
}

/// One of `[[routes]]`.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// The path as axum writes it (`/api/profile/{id}`); also the route's name in logs and metrics.
    pub path: Arc<str>,
    /// When a gather is over and what it is worth.
    pub policy: Policy,
    /// Array or object.
    pub shape: Shape,
    /// 1 to 64 legs.
    pub branches: Vec<BranchSettings>,
    /// Which of them start when.
    pub launch: Launch,
    /// When slow branches get a hedge; never without.
    pub hedging: Option<HedgeSettings>,
    /// When the request names none; at most `max_timeout`.
    pub timeout: Duration,
    /// The most a request may name.
    pub max_timeout: Duration,
    /// How often a client may ask.
    pub rate_limit: RouteRateLimit,
    /// What identical requests share; nothing without.
    pub cache: Option<CacheSettings>,
    /// Whether it answers at all; 503 when not.
    pub enabled: bool,
}

/// `hedge_after`, `hedge_min` and `hedge_budget` of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct HedgeSettings {
    /// When a branch is slow.
    pub after: HedgeAfter,
    /// It has taken so long at least, where `after` is no duration.
    pub min: Duration,
    /// Hedges that each branch that starts adds to the route's token bucket (at most 10 are kept).
    pub budget: f64,
}

/// `hedge_after`: when a branch is slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HedgeAfter {
    /// After this time.
    Duration(Duration),
    /// After the time that this share of its recent replies took, 0.5 to 0.999.
    Quantile(f64),
    /// When it takes twice as long as most of its siblings.
    Siblings,
}

/// `[routes.cache]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Whether identical requests that are under way share one gather.
    pub coalesce: bool,
    /// How long a complete, successful answer is kept; zero: not at all.
    pub max_age: Duration,
}

/// `server_timing`: who is told where the time of an answer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTiming {
    /// No client.
    Off,
    /// Trusted proxies.
    Trusted,
    /// Every client.
    All,
}

/// How several bodies become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `[…, …]`, in branch order.
    Array,
    /// `{"name": …}`, in branch order.
    Object,
}

/// One leg of a route's gather.
#[derive(Clone, Debug)]
pub struct BranchSettings {
    /// Its name in the answer and in problems; in the short form `"1"`, `"2"`, ….
    pub name: Arc<str>,
    /// Index into [`Settings::upstreams`].
    pub upstream: usize,
    /// What is asked for.
    pub target: Target,
    /// Whether the gather fails when it fails (policy `available`).
    pub required: bool,
    /// RFC 6901 pointer to the part of the body that is the branch's value.
    pub select: Option<Arc<str>>,
    /// Its own limit; the gather's deadline still holds.
    pub timeout: Option<Duration>,
    /// Request headers passed on, lower case.
    pub forward_headers: Vec<HeaderName>,
    /// Query parameters passed on.
    pub forward_query: Vec<Arc<str>>,
}

impl ServerSettings {
    /// Whether `peer` is a proxy whose forwarding headers are believed: with `trusted_hops`,
    /// every peer that can connect.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_hops.is_some() || limits::contain(&self.trusted_proxies, peer)
    }
}
