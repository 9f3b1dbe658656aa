//! What the shared rate limit counts: what Redis said, and how often it said nothing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::counts::SharedCounts;
use super::labels::SharedCheck;
use super::register;

/// Series that are there only where hosts count together.
#[derive(Debug)]
pub(super) struct Vectors {
    checks: IntCounterVec,
    attempts: IntCounterVec,
    seconds: HistogramVec,
    up: IntGaugeVec,
    /// The last that were given out.
    handles: Mutex<Option<Arc<SharedLimitMetrics>>>,
}

/// The handles of the shared rate limit.
#[derive(Debug)]
pub struct SharedLimitMetrics {
    checks: Vec<IntCounter>,
    seconds: Histogram,
    /// 1 while Redis counts, 0 while it is away.
    pub up: IntGauge,
    /// Connections to Redis that were made and answered in time.
    pub connected: IntCounter,
    /// Attempts to make one that failed.
    pub not_connected: IntCounter,
}

impl Vectors {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            checks: register::counters(
                registry,
                "gatherd_shared_limit_checks_total",
                "Requests that the shared rate limit was asked about, by what came of it.",
                &["result"],
            ),
            attempts: register::counters(
                registry,
                "gatherd_shared_limit_connects_total",
                "Attempts to connect to Redis, by how they went.",
                &["result"],
            ),
            seconds: register::histograms(
                registry,
                "gatherd_shared_limit_check_seconds",
                "How long requests waited for Redis.",
                &[],
            ),
            up: register::gauges(
                registry,
                "gatherd_shared_limit_up",
                "Whether Redis counts for all hosts: 1, or 0 while it is away.",
                &[],
            ),
            handles: Mutex::default(),
        }
    }

    /// Takes the series out.
    pub(super) fn forget(&self) {
        *self.handles.lock() = None;
        self.checks.reset();
        self.attempts.reset();
        self.seconds.reset();
        self.up.reset();
    }

    /// What was counted, if anything is.
    pub(super) fn counts(&self) -> Option<SharedCounts> {
        let metrics = self.handles.lock().clone()?;
        Some(SharedCounts {
            up: metrics.up.get() == 1,
            checks: metrics.checks.iter().map(IntCounter::get).collect(),
        })
    }

    pub(super) fn handles(&self) -> Arc<SharedLimitMetrics> {
        let check = |check: &SharedCheck| self.checks.with_label_values(&[check.name()]);
        let attempt = |result| self.attempts.with_label_values(&[result]);
        let handles = Arc::new(SharedLimitMetrics {
            checks: SharedCheck::ALL.iter().map(check).collect(),
            seconds: self.seconds.with_label_values::<&str>(&[]),
            up: self.up.with_label_values::<&str>(&[]),
            connected: attempt("connected"),
            not_connected: attempt("failed"),
        });
        *self.handles.lock() = Some(handles.clone());
        handles
    }
}

impl SharedLimitMetrics {
    /// A request was asked about.
    pub fn checked(&self, result: SharedCheck) {
        self.checks[result as usize].inc();
    }

    /// A request waited so long for Redis.
    pub fn waited(&self, waited: Duration) {
        self.seconds.observe(waited.as_secs_f64());
    }
}
