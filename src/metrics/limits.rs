//! What of a configuration the metrics show.

use std::time::Duration;

/// What of a configuration the metrics show.
#[derive(Clone, Debug)]
pub struct Limits<'a> {
    /// Connections at once.
    pub max_connections: usize,
    /// Gathers at once.
    pub max_in_flight: usize,
    /// Bytes of replies at once.
    pub max_buffered: usize,
    /// Every route.
    pub routes: Vec<RouteLimits<'a>>,
    /// Whether Redis counts for several hosts.
    pub shared_limit: bool,
    /// Every upstream.
    pub upstreams: Vec<UpstreamLimits<'a>>,
    /// How calls fail.
    pub kinds: &'a [&'static str],
}

/// What of a route the metrics show.
#[derive(Clone, Copy, Debug)]
pub struct RouteLimits<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its policy's name.
    pub policy: &'a str,
    /// When the deadline of a request that names none comes.
    pub timeout: Duration,
}

/// What of an upstream the metrics and the status show.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamLimits<'a> {
    /// Its name.
    pub name: &'a str,
    /// `max_calls`.
    pub max_calls: usize,
}
