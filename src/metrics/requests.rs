//! What routes count: requests, their time, hedges.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{
    Counter, CounterVec, GaugeVec, Histogram, HistogramTimer, HistogramVec, IntCounter,
    IntCounterVec, Registry,
};

use super::counts::{Durations, RouteCounts};
use super::limits::RouteLimits;
use super::register;
use super::tail::Tail;

/// The label of requests that no route answers: of unknown paths, or refused before.
pub const UNROUTED: &str = "none";

/// The first digit of a status, or what stands for a client that left before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusClass {
    /// 2xx.
    Success,
    /// 4xx.
    ClientError,
    /// 5xx.
    ServerError,
    /// None: the client left (499 in logs).
    ClientLeft,
    /// 1xx and 3xx.
    Other,
}

impl StatusClass {
    const ALL: [Self; 5] = [
        Self::Success,
        Self::ClientError,
        Self::ServerError,
        Self::ClientLeft,
        Self::Other,
    ];

    /// The class of an answer's status.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status / 100 {
            2 => Self::Success,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::Other,
        }
    }

    /// The label's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "2xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::ClientLeft => "left",
            Self::Other => "other",
        }
    }
}

/// Requests by the class of their answer's status.
#[derive(Clone, Debug)]
pub struct RequestMetrics([IntCounter; 5]);

impl RequestMetrics {
    /// A request is over.
    pub fn over(&self, class: StatusClass) {
        self.0[class as usize].inc();
    }

    /// Each class's count, in their order.
    pub(super) fn counts(&self) -> [u64; 5] {
        self.0.each_ref().map(IntCounter::get)
    }
}

/// The handles of one route.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    /// Its requests.
    pub requests: RequestMetrics,
    duration: Histogram,
    /// Branches started only because others were slow.
    pub hedges_started: IntCounter,
    /// Those whose reply was part of the answer.
    pub hedges_won: IntCounter,
    hedges_held_back: IntCounter,
    held_back: IntCounterVec,
    /// How much earlier hedges that won came, in seconds.
    pub hedges_saved: Counter,
    cache: IntCounterVec,
    labels: [Arc<str>; 2],
}

impl RouteMetrics {
    /// A hedge was not started, for this reason.
    pub fn hedge_held_back(&self, reason: &'static str) {
        let [path, policy] = &self.labels;
        self.hedges_held_back.inc();
        self.held_back
            .with_label_values(&[&**path, policy, reason])
            .inc();
    }

    /// An answer of a route with a cache: "hit", "collapsed" or "miss".
    pub fn cache(&self, status: &'static str) {
        let [path, policy] = &self.labels;
        self.cache
            .with_label_values(&[&**path, policy, status])
            .inc();
    }

    /// A gather begins; its time is observed when the value is dropped.
    pub fn gather(&self) -> HistogramTimer {
        self.duration.start_timer()
    }
}

/// Path and policy.
type RouteName = (Arc<str>, Arc<str>);

/// All routes.
#[derive(Debug)]
pub(super) struct Vectors {
    requests: IntCounterVec,
    durations: HistogramVec,
    timeouts: GaugeVec,
    hedges: IntCounterVec,
    held_back: IntCounterVec,
    saved: CounterVec,
    cache: IntCounterVec,
    /// Of routes that hedge, by path and policy.
    tails: Mutex<HashMap<RouteName, Arc<Tail>>>,
    configured: Mutex<Vec<Configured>>,
}

/// A route of the configuration that holds.
#[derive(Debug)]
struct Configured {
    path: Arc<str>,
    policy: Arc<str>,
    timeout: Duration,
    metrics: RouteMetrics,
}

const ROUTE: [&str; 2] = ["route", "policy"];
const HEDGE_EVENTS: [&str; 3] = ["started", "won", "held_back"];

impl Vectors {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            requests: register::counters(
                registry,
                "gatherd_requests_total",
                "Requests that are over, by the first digit of the status; left: the client went before the answer.",
                &[ROUTE[0], ROUTE[1], "status_class"],
            ),
            durations: register::histograms(
                registry,
                "gatherd_request_duration_seconds",
                "Time from the start of a gather to the head of its answer, in seconds; refused requests are not in it.",
                &ROUTE,
            ),
            timeouts: register::float_gauges(
                registry,
                "gatherd_request_timeout_seconds",
                "Time after which a request's deadline comes when it names no timeout, in seconds.",
                &ROUTE,
            ),
            hedges: register::counters(
                registry,
                "gatherd_hedges_total",
                "Branches for a slow gather: started, won (part of the answer), held_back (no budget or no free call).",
                &[ROUTE[0], ROUTE[1], "event"],
            ),
            held_back: register::counters(
                registry,
                "gatherd_hedges_held_back_total",
                "Hedges not started: budget (it is used up), permits (four fifths of max_calls are taken), late (this process is), upstream (it asked for patience, or its breaker is open).",
                &[ROUTE[0], ROUTE[1], "reason"],
            ),
            saved: register::seconds_counters(
                registry,
                "gatherd_hedges_saved_seconds_total",
                "Time that hedges which won came before the calls that they outran, in seconds.",
                &ROUTE,
            ),
            cache: register::counters(
                registry,
                "gatherd_cache_answers_total",
                "Answers of routes with a cache: hit (kept), collapsed (another request made the calls), miss (own calls).",
                &[ROUTE[0], ROUTE[1], "status"],
            ),
            tails: Mutex::default(),
            configured: Mutex::default(),
        }
    }

    pub(super) fn route(&self, path: &str, policy: &str) -> RouteMetrics {
        let hedges =
            HEDGE_EVENTS.map(|event| self.hedges.with_label_values(&[path, policy, event]));
        let [hedges_started, hedges_won, hedges_held_back] = hedges;
        RouteMetrics {
            requests: self.requests(path, policy),
            duration: self.durations.with_label_values(&[path, policy]),
            hedges_started,
            hedges_won,
            hedges_held_back,
            held_back: self.held_back.clone(),
            hedges_saved: self.saved.with_label_values(&[path, policy]),
            cache: self.cache.clone(),
            labels: [path.into(), policy.into()],
        }
    }

    /// The slowest answers of a route that hedges.
    pub(super) fn tail(&self, path: &str, policy: &str) -> Arc<Tail> {
        let mut tails = self.tails.lock();
        tails
            .entry((path.into(), policy.into()))
            .or_default()
            .clone()
    }

    pub(super) fn no_route(&self) -> RequestMetrics {
        self.requests(UNROUTED, UNROUTED)
    }

    fn requests(&self, path: &str, policy: &str) -> RequestMetrics {
        let counter = |class: StatusClass| {
            let labels = [path, policy, class.name()];
            self.requests.with_label_values(&labels)
        };
        RequestMetrics(StatusClass::ALL.map(counter))
    }

    /// Shows these routes from now on, and no others.
    pub(super) fn configure(&self, routes: &[RouteLimits<'_>]) {
        let configured = routes.iter().map(|route| {
            let labels = [route.path, route.policy];
            let gauge = self.timeouts.with_label_values(&labels);
            gauge.set(route.timeout.as_secs_f64());
            Configured {
                path: route.path.into(),
                policy: route.policy.into(),
                timeout: route.timeout,
                metrics: self.route(route.path, route.policy),
            }
        });
        *self.configured.lock() = configured.collect();
        let known: BTreeSet<_> = routes
            .iter()
            .map(|route| (route.path, route.policy))
            .collect();
        let keep = |labels: &HashMap<&str, &str>| {
            let route = (labels[ROUTE[0]], labels[ROUTE[1]]);
            route == (UNROUTED, UNROUTED) || known.contains(&route)
        };
        self.tails
            .lock()
            .retain(|(path, policy), _| known.contains(&(&**path, &**policy)));
        register::retain(&self.requests, keep);
        register::retain(&self.durations, keep);
        register::retain(&self.timeouts, keep);
        register::retain(&self.hedges, keep);
        register::retain(&self.held_back, keep);
        register::retain(&self.saved, keep);
        register::retain(&self.cache, keep);
    }

    /// What each configured route has counted.
    pub(super) fn counts(&self) -> Vec<RouteCounts> {
        let tails = self.tails.lock();
        let tail = |route: &Configured| tails.get(&(route.path.clone(), route.policy.clone()));
        let read = |route: &Configured| RouteCounts {
            tail: tail(route).map(|tail| tail.counts()),
            path: route.path.clone(),
            policy: route.policy.clone(),
            timeout: route.timeout,
            requests: route.metrics.requests.counts(),
            hedges: [
                &route.metrics.hedges_started,
                &route.metrics.hedges_won,
                &route.metrics.hedges_held_back,
            ]
            .map(IntCounter::get),
            durations: Durations::of(&route.metrics.duration),
        };
        self.configured.lock().iter().map(read).collect()
    }
}
