//! What upstreams count: calls by what they are doing, their time, what became of branches.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::addresses::{self, AddressCounts, Addresses};
use super::counts::{Durations, UpstreamCounts};
use super::edge::Held;
use super::limits::UpstreamLimits;
use super::register::{self, whole};

/// What a call is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CallState {
    /// It waits for one of `max_calls`.
    Waiting,
    /// It has its permit, and its reply is waited for.
    Running,
    /// It is read to its end, and its reply is not waited for.
    Lingering,
}

impl CallState {
    const ALL: [Self; 3] = [Self::Waiting, Self::Running, Self::Lingering];

    /// The label's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Lingering => "lingering",
        }
    }
}

/// Whether an upstream's breaker lets calls through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All of them.
    Closed,
    /// One at a time, to try the upstream.
    HalfOpen,
    /// None.
    Open,
}

/// The handles of one upstream.
#[derive(Debug)]
pub struct UpstreamMetrics {
    calls: [IntGauge; 3],
    duration: Histogram,
    succeeded: IntCounter,
    unfinished: IntCounter,
    /// In the order of the upstream's kinds of failure.
    failed: Vec<(&'static str, IntCounter)>,
    /// HTTP requests sent, retries among them.
    pub requests: IntCounter,
    /// Those that are a second try.
    pub retries: IntCounter,
    breaker: IntGauge,
    breaker_opened: IntCounter,
    addresses: Addresses,
}

impl UpstreamMetrics {
    /// A call begins; it is counted until the value is dropped.
    #[must_use]
    pub fn call(self: &Arc<Self>, state: CallState) -> StagedCall {
        self.calls[state as usize].inc();
        StagedCall {
            metrics: self.clone(),
            state: AtomicU8::new(state as u8),
            begun: Instant::now(),
        }
    }

    /// Counts what is read on for the sake of its connection only, until the value is dropped.
    #[must_use]
    pub fn lingering(&self) -> Held {
        Held::new(&self.calls[CallState::Lingering as usize])
    }

    /// A branch succeeded.
    pub fn branch_succeeded(&self) {
        self.succeeded.inc();
    }

    /// A branch ran when its gather was over.
    pub fn branch_unfinished(&self) {
        self.unfinished.inc();
    }

    /// A branch failed; `kind` is an index into the kinds that the upstream was made with.
    pub fn branch_failed(&self, kind: usize) {
        if let Some((_, counter)) = self.failed.get(kind) {
            counter.inc();
        }
    }

    /// Its breaker is in this state now.
    pub fn breaker(&self, state: BreakerState) {
        self.breaker.set(state as i64);
        if state == BreakerState::Open {
            self.breaker_opened.inc();
        }
    }

    /// Its addresses are these now. `is_looked_up` says whether a name stands for them.
    pub fn addresses(&self, addresses: &[AddressCounts], is_looked_up: bool) {
        self.addresses.show(addresses, is_looked_up);
    }
}

/// One call, counted by its state; its time is observed when it is dropped.
#[derive(Debug)]
pub struct StagedCall {
    metrics: Arc<UpstreamMetrics>,
    state: AtomicU8,
    begun: Instant,
}

impl StagedCall {
    /// The call is now in another state.
    pub fn enter(&self, state: CallState) {
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        if before != state as u8 {
            self.metrics.calls[usize::from(before)].dec();
            self.metrics.calls[state as usize].inc();
        }
    }
}

impl Drop for StagedCall {
    fn drop(&mut self) {
        self.metrics.calls[usize::from(*self.state.get_mut())].dec();
        let elapsed = self.begun.elapsed().as_secs_f64();
        self.metrics.duration.observe(elapsed);
    }
}

/// All upstreams.
#[derive(Debug)]
pub(super) struct Vectors {
    calls: IntGaugeVec,
    max_calls: IntGaugeVec,
    durations: HistogramVec,
    branches: IntCounterVec,
    requests: IntCounterVec,
    retries: IntCounterVec,
    breakers: IntGaugeVec,
    breakers_opened: IntCounterVec,
    addresses: addresses::Vectors,
    configured: Mutex<Vec<Configured>>,
}

/// An upstream of the configuration that holds.
#[derive(Debug)]
struct Configured {
    name: Arc<str>,
    max_calls: usize,
    metrics: Arc<UpstreamMetrics>,
}

impl Configured {
    fn counts(&self) -> UpstreamCounts {
        let metrics = &*self.metrics;
        let failed = metrics.failed.iter();
        let seen = metrics.addresses.seen();
        UpstreamCounts {
            name: self.name.clone(),
            max_calls: self.max_calls,
            calls: metrics.calls.each_ref().map(IntGauge::get),
            succeeded: metrics.succeeded.get(),
            failed: failed.map(|(kind, count)| (*kind, count.get())).collect(),
            unfinished: metrics.unfinished.get(),
            requests: metrics.requests.get(),
            retries: metrics.retries.get(),
            breaker: metrics.breaker.get(),
            durations: Durations::of(&metrics.duration),
            addresses_age: seen.age(),
            addresses: seen.addresses,
        }
    }
}

const UPSTREAM: &str = "upstream";

impl Vectors {
    pub(super) fn new(registry: &Registry) -> Self {
        let counters = |name, help| register::counters(registry, name, help, &[UPSTREAM]);
        Self {
            calls: register::gauges(
                registry,
                "gatherd_upstream_calls",
                "Calls by what they do: waiting for a permit, running, lingering (read to their end, to keep the connection).",
                &[UPSTREAM, "state"],
            ),
            max_calls: register::gauges(
                registry,
                "gatherd_upstream_max_calls",
                "Calls that may run or linger at once (max_calls).",
                &[UPSTREAM],
            ),
            durations: register::histograms(
                registry,
                "gatherd_branch_duration_seconds",
                "Time from the start of a branch to the end of its call, waiting and lingering included, in seconds.",
                &[UPSTREAM],
            ),
            branches: register::counters(
                registry,
                "gatherd_branches_total",
                "Branches by what they were when their gather was over: ok, unfinished, or a kind of failure.",
                &[UPSTREAM, "outcome"],
            ),
            requests: counters(
                "gatherd_upstream_requests_total",
                "HTTP requests sent to the upstream, retries among them.",
            ),
            retries: counters(
                "gatherd_retries_total",
                "Second tries after a kept connection had ended.",
            ),
            breakers: register::gauges(
                registry,
                "gatherd_upstream_breaker_state",
                "The upstream's breaker: 0 closed (or none), 1 half open (one call tries the upstream), 2 open (no calls).",
                &[UPSTREAM],
            ),
            breakers_opened: counters(
                "gatherd_upstream_breaker_opened_total",
                "How often the upstream's breaker has opened.",
            ),
            addresses: addresses::Vectors::new(registry),
            configured: Mutex::default(),
        }
    }

    pub(super) fn upstream(&self, name: &str, kinds: &[&'static str]) -> Arc<UpstreamMetrics> {
        let outcome = |outcome: &str| self.branches.with_label_values(&[name, outcome]);
        Arc::new(UpstreamMetrics {
            calls: CallState::ALL.map(|state| self.calls.with_label_values(&[name, state.name()])),
            duration: self.durations.with_label_values(&[name]),
            succeeded: outcome("ok"),
            unfinished: outcome("unfinished"),
            failed: kinds.iter().map(|kind| (*kind, outcome(kind))).collect(),
            requests: self.requests.with_label_values(&[name]),
            retries: self.retries.with_label_values(&[name]),
            breaker: self.breakers.with_label_values(&[name]),
            breaker_opened: self.breakers_opened.with_label_values(&[name]),
            addresses: self.addresses.of(name),
        })
    }

    /// Shows these names and their `max_calls` from now on, and no others.
    pub(super) fn configure(&self, upstreams: &[UpstreamLimits<'_>], kinds: &[&'static str]) {
        let configured = upstreams.iter().map(|upstream| {
            let gauge = self.max_calls.with_label_values(&[upstream.name]);
            gauge.set(whole(upstream.max_calls));
            Configured {
                name: upstream.name.into(),
                max_calls: upstream.max_calls,
                metrics: self.upstream(upstream.name, kinds),
            }
        });
        *self.configured.lock() = configured.collect();
        let upstreams: BTreeSet<&str> = upstreams.iter().map(|upstream| upstream.name).collect();
        let keep = |labels: &HashMap<&str, &str>| upstreams.contains(labels[UPSTREAM]);
        register::retain(&self.calls, keep);
        register::retain(&self.max_calls, keep);
        register::retain(&self.durations, keep);
        register::retain(&self.branches, keep);
        register::retain(&self.requests, keep);
        register::retain(&self.retries, keep);
        register::retain(&self.breakers, keep);
        register::retain(&self.breakers_opened, keep);
        self.addresses.retain(&upstreams);
    }

    /// What each configured upstream has counted.
    pub(super) fn counts(&self) -> Vec<UpstreamCounts> {
        self.configured
            .lock()
            .iter()
            .map(Configured::counts)
            .collect()
    }
}
