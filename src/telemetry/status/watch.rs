//! Looks each second, on the admin thread, and publishes what it sees.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::MissedTickBehavior;

use super::compute::{self, Surroundings};
use super::window::{Sample, Samples};
use super::{Feed, Timeline};
use crate::metrics::Metrics;
use crate::readiness::{Readiness, State};
use crate::telemetry::resources;

/// From one look to the next.
const PERIOD: Duration = Duration::from_secs(1);
/// Looks whose greatest loop lag is shown.
const LAGS: usize = 10;

/// Who looks.
pub(in crate::telemetry) struct Watch {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    last_stop: Option<String>,
    feed: Arc<Feed>,
    samples: Samples,
    lags: VecDeque<Duration>,
    listen_drops_before: u64,
    looks: u32,
}

impl Watch {
    /// Looks for the first time.
    pub(in crate::telemetry) fn new(
        metrics: Arc<Metrics>,
        readiness: Readiness,
        last_stop: Option<String>,
        feed: Arc<Feed>,
    ) -> Self {
        resources::sample(&metrics.resources);
        let listen_drops_before = metrics.resources.listen_drops.get();
        Self {
            samples: Samples::new(sample(&metrics)),
            metrics,
            readiness,
            last_stop,
            feed,
            lags: VecDeque::new(),
            listen_drops_before,
            looks: 0,
        }
    }

    /// Looks for as long as it is polled.
    pub(in crate::telemetry) async fn run(mut self) -> Infallible {
        let mut interval = tokio::time::interval(PERIOD);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.look();
        }
    }

    fn look(&mut self) {
        resources::sample(&self.metrics.resources);
        let sample = sample(&self.metrics);
        self.samples.push(&sample);
        self.lags
            .push_back(self.metrics.service.take_most_loop_lag());
        if self.lags.len() > LAGS {
            self.lags.pop_front();
        }
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let surroundings = Surroundings {
            at: since_1970.as_secs_f64(),
            state: word(self.readiness.state()),
            last_stop: self.last_stop.clone(),
            listen_drops_before: self.listen_drops_before,
            loop_lag: self.lags.iter().max().copied().unwrap_or_default(),
        };
        let status = compute::status(&self.metrics, &self.samples, &sample, &surroundings);
        self.looks += 1;
        if self.looks.is_multiple_of(Timeline::STEP) {
            let step = PERIOD * Timeline::STEP;
            let point = compute::point(&self.samples, &sample, surroundings.at, step);
            self.feed.add(point);
        }
        self.feed.publish(status);
    }
}

fn sample(metrics: &Metrics) -> Sample {
    Sample {
        at: Instant::now(),
        counts: Arc::new(metrics.counts()),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Ready => "ready",
        State::Draining => "draining",
    }
}
