//! What the process counts of itself, and what it and its host use.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, Registry};

use super::certificates::CertificateMetrics;
use super::outcomes::{FAILED, OK, count_outcome, outcomes, seconds_since_1970};
use super::register;

/// A serving runtime whose timers are so late has too much to do.
const LATE: Duration = Duration::from_millis(10);

/// The life of the process.
#[derive(Debug)]
pub struct ServiceMetrics {
    reloads: IntCounterVec,
    reload_succeeded: IntGauge,
    reload_at: Gauge,
    /// The certificates that clients are shown.
    pub certificates: CertificateMetrics,
    /// Log lines that could not be written.
    pub log_lines_lost: IntCounter,
    /// Log lines that came too often to be written each.
    pub log_lines_left_out: IntCounter,
    /// Bugs that cost one request or task.
    pub panics: IntCounter,
    loop_lag: Histogram,
    /// In nanoseconds, since it was last read.
    most_loop_lag: AtomicU64,
    /// Timers in a row that were late.
    late: AtomicU32,
}

impl ServiceMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let build = register::gauges(
            registry,
            "gatherd_build_info",
            "1, with the version of the program.",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let reloads = outcomes(
            registry,
            "gatherd_reloads_total",
            "Reloads of the configuration by their outcome.",
        );
        Self {
            reloads,
            reload_succeeded: reload_succeeded(registry),
            reload_at: register::float_gauge(
                registry,
                "gatherd_config_last_reload_timestamp_seconds",
                "When the configuration was last read again, in seconds since 1970; 0 when it never was.",
            ),
            certificates: CertificateMetrics::new(registry),
            log_lines_lost: register::counter(
                registry,
                "gatherd_log_lines_lost_total",
                "Log lines that could not be written.",
            ),
            log_lines_left_out: register::counter(
                registry,
                "gatherd_log_lines_left_out_total",
                "Log lines that came too often to be written each.",
            ),
            panics: register::counter(
                registry,
                "gatherd_panics_total",
                "Bugs that ended a request or a task.",
            ),
            loop_lag: register::histogram(
                registry,
                "gatherd_event_loop_lag_seconds",
                "How late a timer of the serving runtime fires, in seconds.",
            ),
            most_loop_lag: AtomicU64::new(0),
            late: AtomicU32::new(0),
        }
    }

    /// The configuration was read again, and applied or refused.
    pub fn reloaded(&self, applied: bool) {
        count_outcome(&self.reloads, applied);
        self.reload_succeeded.set(i64::from(applied));
        self.reload_at.set(seconds_since_1970(SystemTime::now()));
    }

    /// A timer of the serving runtime was late by so much.
    pub fn loop_lag(&self, lag: Duration) {
        self.loop_lag.observe(lag.as_secs_f64());
        let nanoseconds = u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX);
        self.most_loop_lag.fetch_max(nanoseconds, Ordering::Relaxed);
        let before = self.late.load(Ordering::Relaxed);
        let late = if lag >= LATE {
            before.saturating_add(1)
        } else {
            0
        };
        self.late.store(late, Ordering::Relaxed);
    }

    /// Whether timers of the serving runtime are late: more than once, since a single one is chance.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed) > 1
    }

    /// How late timers were.
    #[cfg(test)]
    pub(super) fn loop_lags(&self) -> super::Durations {
        super::Durations::of(&self.loop_lag)
    }

    /// Reloads that were applied, and that were refused.
    pub(super) fn reloads(&self) -> [u64; 2] {
        [OK, FAILED].map(|outcome| self.reloads.with_label_values(&[outcome]).get())
    }

    /// When the configuration was last read again, and whether it was applied; none when it never was.
    #[must_use]
    pub fn last_reload(&self) -> Option<(f64, bool)> {
        let at = self.reload_at.get();
        (at > 0.0).then(|| (at, self.reload_succeeded.get() == 1))
    }

    /// The most that a timer was late since this was last asked.
    #[must_use]
    pub fn take_most_loop_lag(&self) -> Duration {
        Duration::from_nanos(self.most_loop_lag.swap(0, Ordering::Relaxed))
    }
}

fn reload_succeeded(registry: &Registry) -> IntGauge {
    let gauge = register::gauge(
        registry,
        "gatherd_config_last_reload_successful",
        "1 when the last reload was applied or there was none; 0 when it was refused.",
    );
    gauge.set(1);
    gauge
}
