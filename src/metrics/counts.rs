//! Everything as it is at one moment, as numbers: what the status is made of.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Histogram;
use prometheus::core::Metric;

use super::addresses::AddressCounts;
use super::register::SECONDS;
use super::tail::TailCounts;

/// What was counted, and what there is.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Configured routes, in the order of the configuration.
    pub routes: Vec<RouteCounts>,
    /// Requests that no route answered, by status class.
    pub no_route: [u64; 5],
    /// Configured upstreams.
    pub upstreams: Vec<UpstreamCounts>,
    /// By limit, in the order of [`super::Limit::ALL`].
    pub refusals: Vec<u64>,
    /// The shared rate limit, where hosts count together.
    pub shared: Option<SharedCounts>,
    /// By result, in the order of [`super::Handshake::ALL`].
    pub handshakes: Vec<u64>,
    /// By state, in the order of [`super::ConnectionState::ALL`].
    pub connections: Vec<i64>,
    /// Connections that were given a place.
    pub accepted: u64,
    /// Bugs.
    pub panics: u64,
    /// Log lines that were lost.
    pub log_lines_lost: u64,
    /// Reloads that were applied, and that were refused.
    pub reloads: [u64; 2],
    /// CPU seconds of the process.
    pub cpu: f64,
    /// CPU seconds of the host in all modes, and in which it was idle.
    pub host: HostCpu,
    /// Connections that listeners dropped.
    pub listen_drops: u64,
    /// Seconds in which some task waited for a CPU, for memory, for a disk; none where the kernel does
    /// not say.
    pub pressure: Option<[f64; 3]>,
}

/// The shared rate limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SharedCounts {
    /// Whether Redis counts.
    pub up: bool,
    /// By result, in the order of [`super::SharedCheck::ALL`].
    pub checks: Vec<u64>,
}

/// CPU seconds of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostCpu {
    /// In all modes.
    pub all: f64,
    /// Idle or waiting for a disk.
    pub idle: f64,
    /// Given to others by the hypervisor.
    pub steal: f64,
}

/// What one route has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteCounts {
    /// Its path.
    pub path: Arc<str>,
    /// Its policy's name.
    pub policy: Arc<str>,
    /// When the deadline of a request that names none comes.
    pub timeout: Duration,
    /// Requests by status class.
    pub requests: [u64; 5],
    /// Hedges started, won, held back.
    pub hedges: [u64; 3],
    /// Times of gathers.
    pub durations: Durations,
    /// The slowest of them, where there are hedges; its branches since the start.
    pub tail: Option<TailCounts>,
}

/// What one upstream has counted.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamCounts {
    /// Its name.
    pub name: Arc<str>,
    /// Calls that may run or linger at once.
    pub max_calls: usize,
    /// Calls waiting, running, lingering now.
    pub calls: [i64; 3],
    /// Branches that succeeded.
    pub succeeded: u64,
    /// Branches that failed, by kind.
    pub failed: Vec<(&'static str, u64)>,
    /// Branches that ran when their gather was over.
    pub unfinished: u64,
    /// HTTP requests sent.
    pub requests: u64,
    /// Second tries.
    pub retries: u64,
    /// Of its breaker: 0 closed, 1 half open, 2 open.
    pub breaker: i64,
    /// Times of calls.
    pub durations: Durations,
    /// Its addresses; none while nothing was looked up.
    pub addresses: Vec<AddressCounts>,
    /// For how long its names have stood for them.
    pub addresses_age: Option<Duration>,
}

impl RouteCounts {
    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            requests: less(self.requests, before.requests),
            hedges: less(self.hedges, before.hedges),
            durations: self.durations.since(&before.durations),
            tail: self.tail.map(|tail| TailCounts {
                branches: tail.branches - before.tail.map_or(0, |tail| tail.branches),
                ..tail
            }),
            ..self.clone()
        }
    }
}

impl UpstreamCounts {
    /// What was counted since `before`; what there is now stays as it is.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let failed = self.failed.iter().zip(&before.failed);
        Self {
            succeeded: self.succeeded.saturating_sub(before.succeeded),
            failed: failed
                .map(|((kind, now), (_, before))| (*kind, now.saturating_sub(*before)))
                .collect(),
            unfinished: self.unfinished.saturating_sub(before.unfinished),
            requests: self.requests.saturating_sub(before.requests),
            retries: self.retries.saturating_sub(before.retries),
            durations: self.durations.since(&before.durations),
            ..self.clone()
        }
    }
}

fn less<const N: usize>(now: [u64; N], before: [u64; N]) -> [u64; N] {
    std::array::from_fn(|index| now[index].saturating_sub(before[index]))
}

/// How many observations took at most how long: the buckets of a histogram, each with all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    at_most: [u64; SECONDS.len()],
    all: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            at_most: [0; SECONDS.len()],
            all: 0,
        }
    }
}

impl Durations {
    /// What a histogram of this room holds.
    pub(super) fn of(histogram: &Histogram) -> Self {
        let metric = histogram.metric();
        let histogram = metric.get_histogram();
        let mut durations = Self {
            all: histogram.get_sample_count(),
            ..Self::default()
        };
        for (count, bucket) in durations.at_most.iter_mut().zip(histogram.get_bucket()) {
            *count = bucket.cumulative_count();
        }
        durations
    }

    /// How many observations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.all
    }

    /// What was observed since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            at_most: less(self.at_most, before.at_most),
            all: self.all.saturating_sub(before.all),
        }
    }

    /// Both together.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self {
            at_most: std::array::from_fn(|index| self.at_most[index] + other.at_most[index]),
            all: self.all + other.all,
        }
    }

    /// The time, in seconds, that this share of the observations took at most: evenly spread within a
    /// bucket, and 60 s when it is beyond all buckets. None when nothing was observed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.all == 0 {
            return None;
        }
        let rank = share * self.all as f64;
        let index = self.at_most.iter().position(|count| *count as f64 >= rank);
        let Some(index) = index else {
            return SECONDS.last().copied();
        };
        let (from, below) = match index.checked_sub(1) {
            Some(before) => (SECONDS[before], self.at_most[before] as f64),
            None => (0.0, 0.0),
        };
        let inside = self.at_most[index] as f64 - below;
        let part = if inside > 0.0 {
            (rank - below) / inside
        } else {
            1.0
        };
        Some(from + (SECONDS[index] - from) * part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_quantile_is_within_the_bucket_of_its_observation() {
        let metrics = Metrics::new();
        for milliseconds in 1..=1000_u64 {
            let lag = Duration::from_millis(milliseconds);
            metrics.service.loop_lag(lag);
        }
        let durations = metrics.service.loop_lags();
        let median = durations.quantile(0.5).unwrap();
        assert!((0.45..=0.55).contains(&median), "{median}");
        let high = durations.quantile(0.99).unwrap();
        assert!((0.95..=1.0).contains(&high), "{high}");
        assert_eq!(Durations::default().quantile(0.5), None);
        assert_eq!(durations.since(&durations).quantile(0.5), None);
    }

    #[test]
    fn what_is_beyond_all_buckets_is_a_minute() {
        let metrics = Metrics::new();
        metrics.service.loop_lag(Duration::from_secs(600));
        assert_eq!(metrics.service.loop_lags().quantile(0.99), Some(60.0));
    }
}
