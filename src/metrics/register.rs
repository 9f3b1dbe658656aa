//! Makes metrics and registers them.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Why making a metric cannot fail.
const SOUND: &str = "names and labels are constants of this room, each registered once";

/// Seconds; each step is at most half as much again up to 100 ms and then up to 60 s in wider ones.
pub(super) const SECONDS: [f64; 27] = [
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25,
    0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0,
];

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, IntCounter::new(name, help).expect(SOUND))
}

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> IntCounterVec {
    let vector = IntCounterVec::new(Opts::new(name, help), labels);
    registered(registry, vector.expect(SOUND))
}

pub(super) fn seconds_counter(registry: &Registry, name: &str, help: &str) -> Counter {
    registered(registry, Counter::new(name, help).expect(SOUND))
}

pub(super) fn seconds_counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> CounterVec {
    let vector = CounterVec::new(Opts::new(name, help), labels);
    registered(registry, vector.expect(SOUND))
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    registered(registry, IntGauge::new(name, help).expect(SOUND))
}

pub(super) fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let vector = IntGaugeVec::new(Opts::new(name, help), labels);
    registered(registry, vector.expect(SOUND))
}

pub(super) fn float_gauge(registry: &Registry, name: &str, help: &str) -> Gauge {
    registered(registry, Gauge::new(name, help).expect(SOUND))
}

pub(super) fn float_gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> GaugeVec {
    let vector = GaugeVec::new(Opts::new(name, help), labels);
    registered(registry, vector.expect(SOUND))
}

pub(super) fn histogram(registry: &Registry, name: &str, help: &str) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    registered(registry, Histogram::with_opts(options).expect(SOUND))
}

pub(super) fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    registered(registry, HistogramVec::new(options, labels).expect(SOUND))
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> C {
    registry.register(Box::new(metric.clone())).expect(SOUND);
    metric
}

/// Removes the series whose labels are not to be kept.
pub(super) fn retain<T: MetricVecBuilder>(
    vector: &MetricVec<T>,
    keep: impl Fn(&HashMap<&str, &str>) -> bool,
) {
    for family in vector.collect() {
        for metric in family.get_metric() {
            let labels = metric.get_label().iter();
            let labels: HashMap<&str, &str> =
                labels.map(|label| (label.name(), label.value())).collect();
            if !keep(&labels) {
                // It was there a moment ago; if it has been removed since, that is as well.
                let _ = vector.remove(&labels);
            }
        }
    }
}

/// As gauges have it.
#[must_use]
pub fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
