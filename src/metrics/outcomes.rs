//! What goes well or fails, and when.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounterVec, Registry};

use super::register;

/// The label's values.
pub(super) const OK: &str = "ok";
pub(super) const FAILED: &str = "failed";

/// One more of an outcome.
pub(super) fn count_outcome(counters: &IntCounterVec, good: bool) {
    let outcome = if good { OK } else { FAILED };
    counters.with_label_values(&[outcome]).inc();
}

/// Counters of both outcomes, which are shown from the start.
pub(super) fn outcomes(registry: &Registry, name: &str, help: &str) -> IntCounterVec {
    let counters = register::counters(registry, name, help, &["outcome"]);
    for outcome in [OK, FAILED] {
        let _ = counters.with_label_values(&[outcome]);
    }
    counters
}

/// As Prometheus writes instants.
pub(super) fn seconds_since_1970(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
