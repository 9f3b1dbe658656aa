//! What the service says of itself: the same for the text, the page and its events.
//!
//! Instants are seconds since 1970, durations are milliseconds, rates are for one second. What is
//! not known (yet) is `null`.

use serde::{Deserialize, Serialize};

use super::shared_limit::SharedLimitStatus;
use crate::metrics::Limit;

/// The service at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// When this was so.
    pub at: f64,
    /// Whether it is well: the worst of `findings`.
    pub health: Health,
    /// What is wrong, the worst first; empty when all is well.
    pub findings: Vec<Finding>,
    /// The process's life.
    pub process: ProcessStatus,
    /// In the order of their paths.
    pub routes: Vec<RouteStatus>,
    /// In the order of their names.
    pub upstreams: Vec<UpstreamStatus>,
    /// Gathers, calls, connections and bytes at once.
    pub load: LoadStatus,
    /// Who refused how often, limits that never did among them.
    pub refusals: Vec<RefusalStatus>,
    /// The shared rate limit, where hosts count together.
    pub shared_limit: Option<SharedLimitStatus>,
    /// The ten busiest of the last minute or two, the busiest first.
    pub clients: Vec<ClientStatus>,
    /// What the process and its host use.
    pub resources: ResourceStatus,
    /// What clients are shown, the one that expires first; none when it is not known.
    pub certificate: Option<CertificateStatus>,
}

/// How well something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    #[default]
    Well,
    /// It works, and an operator should look.
    Warning,
    /// Clients get errors, or soon will.
    Trouble,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is; never [`Health::Well`].
    pub health: Health,
    /// Where: `route /api/all`, `upstream work`, `event loop`, `certificate tls`, ….
    pub subject: String,
    /// A sentence.
    pub text: String,
}

/// The process's life.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProcessStatus {
    /// Of the program.
    pub version: &'static str,
    /// `starting`, `ready` or `draining`.
    pub state: &'static str,
    /// When it started.
    pub started: f64,
    /// How the process before it ended, where a state directory tells.
    pub last_stop: Option<String>,
    /// Reloads that were applied, and that were refused.
    pub reloads: u64,
    /// Reloads that were refused.
    pub reloads_failed: u64,
    /// The last reload's instant and whether it was applied; none when there was none.
    pub last_reload: Option<ReloadStatus>,
    /// Log lines lost since the start.
    pub log_lines_lost: u64,
    /// Bugs since the start.
    pub panics: u64,
}

/// A reload.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReloadStatus {
    /// When.
    pub at: f64,
    /// Whether it was applied.
    pub applied: bool,
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RouteStatus {
    /// Its path; `none` for requests of no route.
    pub route: String,
    /// Its policy's name.
    pub policy: String,
    /// When the deadline of a request that names none comes.
    pub deadline_ms: Option<f64>,
    /// The last minute, and the last five.
    pub minute: RouteRates,
    /// The last five minutes.
    pub five_minutes: RouteRates,
    /// Hedges a second in the last five minutes: started.
    pub hedges_started: f64,
    /// Hedges whose reply was part of the answer.
    pub hedges_won: f64,
    /// Hedges held back.
    pub hedges_held_back: f64,
    /// What hedges do for the slowest answers, where there are any.
    pub tail: Option<TailStatus>,
}

/// The slowest answers of a route that hedges, in the last minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TailStatus {
    /// Of a hundred answers, 99 took at most this long.
    pub p99_ms: f64,
    /// Of a thousand, 999.
    pub p999_ms: f64,
    /// The same as it would have been without hedges.
    pub p99_without_ms: f64,
    /// The same of a thousand.
    pub p999_without_ms: f64,
    /// Hedges for each call that was made without them, in the last five minutes.
    pub extra_calls: f64,
}

/// A route in a window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RouteRates {
    /// Requests a second, whatever became of them.
    pub requests: f64,
    /// Good answers (2xx) a second.
    pub good: f64,
    /// Answers 5xx a second.
    pub errors: f64,
    /// Answers 4xx a second.
    pub client_errors: f64,
    /// Requests a second whose client left.
    pub left: f64,
    /// Good answers in those that are good or 5xx, 0 to 1; none when there were none.
    pub good_share: Option<f64>,
    /// Half of the requests took at most this long.
    pub p50_ms: Option<f64>,
    /// Of a hundred requests, 99 took at most this long.
    pub p99_ms: Option<f64>,
}

/// One upstream.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub upstream: String,
    /// Its addresses, and which of them are set aside; empty when not looked up yet.
    pub addresses: Vec<String>,
    /// How long its names have stood for them.
    pub addresses_age_seconds: Option<f64>,
    /// Calls whose reply is waited for.
    pub running: i64,
    /// Branches that wait for a call.
    pub waiting: i64,
    /// Calls read to their end, whose reply is not waited for.
    pub lingering: i64,
    /// Calls that may run or linger at once.
    pub max_calls: i64,
    /// Branches a second that had an outcome, in the last five minutes.
    pub branches: f64,
    /// Those that succeeded.
    pub succeeded: f64,
    /// Those that failed, by kind; kinds that there were, the most frequent first.
    pub failures: Vec<FailureStatus>,
    /// Branches a second that ran when their gather was over.
    pub unfinished: f64,
    /// HTTP requests a second sent to it, in the last five minutes.
    pub calls: f64,
    /// Second tries a second.
    pub retries: f64,
    /// Where it has a breaker that is not closed: `open`, or `half open`.
    pub breaker: Option<&'static str>,
    /// Half of the calls took at most this long, in the last five minutes.
    pub p50_ms: Option<f64>,
    /// Of a hundred calls, 99 took at most this long.
    pub p99_ms: Option<f64>,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailureStatus {
    /// The kind.
    pub kind: String,
    /// How many in the last five minutes.
    pub count: u64,
    /// A second, in the last five minutes.
    pub rate: f64,
}

/// How much there is at once, and may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LoadStatus {
    /// Gathers whose response has not left.
    pub in_flight: i64,
    /// `max_in_flight`.
    pub max_in_flight: i64,
    /// Branches that wait for a call, of all upstreams.
    pub waiting: i64,
    /// Calls that linger, of all upstreams.
    pub lingering: i64,
    /// Bytes of replies held.
    pub buffered_bytes: i64,
    /// `max_buffered`.
    pub max_buffered_bytes: i64,
    /// Connections in their handshake.
    pub handshaking: i64,
    /// Connections without a request.
    pub idle: i64,
    /// Connections with one.
    pub active: i64,
    /// `max_connections`.
    pub max_connections: i64,
    /// Connections a second that were given a place, in the last minute.
    pub connections_accepted: f64,
    /// Handshakes a second that failed, in the last five minutes.
    pub handshakes_failed: f64,
    /// Clients and networks with a token bucket.
    pub clients_tracked: i64,
    /// HTTP requests to upstreams for each request of a client, in the last five minutes.
    pub calls_per_request: Option<f64>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefusalStatus {
    /// The limit, shown as its key.
    pub limit: Limit,
    /// Refusals a second, in the last minute.
    pub minute: f64,
    /// Refusals a second, in the last five minutes.
    pub five_minutes: f64,
    /// Since the start.
    pub total: u64,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClientStatus {
    /// Its address, or the network that is one client.
    pub client: String,
    /// An upper bound of its requests a second.
    pub requests: f64,
}

/// What the process and its host use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ResourceStatus {
    /// The most that a timer of the serving runtime was late in the last ten seconds.
    pub loop_lag_ms: f64,
    /// CPU of the process in the last ten seconds: 1 is one core.
    pub cpu: f64,
    /// CPU of the host, 0 to 1 of all its cores.
    pub host_cpu: f64,
    /// What the hypervisor gave to others, 0 to 1 of all cores.
    pub steal: f64,
    /// Cores of the host.
    pub cores: i64,
    /// Memory of the process that is in RAM.
    pub resident_bytes: i64,
    /// The most it may be.
    pub memory_limit_bytes: i64,
    /// Open descriptors.
    pub descriptors: i64,
    /// The most there may be.
    pub max_descriptors: i64,
    /// Connections a second that listeners of this network namespace dropped, in the last five minutes.
    pub listen_drops: f64,
    /// The same since the start of gatherd.
    pub listen_drops_total: u64,
    /// Share of the last ten seconds in which some task waited for a CPU; none where the kernel does not say.
    pub cpu_pressure: Option<f64>,
    /// The same for memory.
    pub memory_pressure: Option<f64>,
    /// The same for disks.
    pub io_pressure: Option<f64>,
}

/// A certificate for clients: one that is not valid yet, else the first to expire.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CertificateStatus {
    /// Its first name.
    pub name: String,
    /// When it expires.
    pub expires: f64,
    /// Seconds until it expires; below 0 when it has.
    pub seconds_left: f64,
    /// Seconds until it is valid; 0 when it is or was.
    pub seconds_to_valid: f64,
    /// Whether a self-signed one stands in for the authority's.
    pub stands_in: bool,
}

/// The last hour.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct History {
    /// Seconds from point to point.
    pub step_seconds: u32,
    /// The oldest first, 360 at most.
    pub points: Vec<Point>,
}

/// One step of the last hour, all routes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When it ended.
    pub at: f64,
    /// Good answers a second.
    pub good: f64,
    /// Answers 5xx a second.
    pub errors: f64,
    /// Refusals a second.
    pub refused: f64,
    /// Requests a second whose client left before the answer.
    #[serde(default)]
    pub left: f64,
    /// Half of the requests took at most this long.
    pub p50_ms: Option<f64>,
    /// Of a hundred requests, 99 took at most this long.
    pub p99_ms: Option<f64>,
}
