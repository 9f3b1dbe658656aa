//! What was counted, and what that was a while ago: rates and quantiles come of the difference.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::metrics::{Counts, RouteCounts, UpstreamCounts};

/// From one kept sample to the next.
const STEP: Duration = Duration::from_secs(5);
/// How far back samples are kept.
const KEPT: Duration = Duration::from_secs(300);

/// What was counted by some instant.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) counts: Arc<Counts>,
}

/// The samples of the last five minutes.
#[derive(Debug)]
pub(super) struct Samples {
    /// The oldest first.
    kept: VecDeque<Sample>,
}

impl Samples {
    /// Begins with a first sample.
    pub(super) fn new(first: Sample) -> Self {
        Self {
            kept: VecDeque::from([first]),
        }
    }

    /// Keeps `now` if it is time for one more, and forgets what is too old.
    pub(super) fn push(&mut self, now: &Sample) {
        let is_due = |last: &Sample| now.at.duration_since(last.at) >= STEP;
        if self.kept.back().is_none_or(is_due) {
            self.kept.push_back(now.clone());
        }
        // The first that is old enough is needed, those before it are not.
        while self
            .kept
            .get(1)
            .is_some_and(|second| now.at.duration_since(second.at) >= KEPT)
        {
            self.kept.pop_front();
        }
    }

    /// From about `back` ago to `now`; from the start when that is later.
    pub(super) fn window(&self, now: &Sample, back: Duration) -> Window {
        let is_old_enough = |sample: &&Sample| now.at.duration_since(sample.at) >= back;
        let before = self.kept.iter().rev().find(is_old_enough);
        let before = before.or(self.kept.front()).unwrap_or(now).clone();
        Window {
            seconds: now.at.duration_since(before.at).as_secs_f64().max(0.001),
            before: before.counts,
            now: now.counts.clone(),
        }
    }
}

/// Two samples and the time between them.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) seconds: f64,
    pub(super) before: Arc<Counts>,
    pub(super) now: Arc<Counts>,
}

impl Window {
    /// What a route has counted in it, and in how many of its observations which time.
    pub(super) fn route(&self, index: usize) -> RouteCounts {
        let now = &self.now.routes[index];
        let before = self
            .before
            .routes
            .iter()
            .find(|before| (&before.path, &before.policy) == (&now.path, &now.policy));
        before.map_or_else(|| now.clone(), |before| now.since(before))
    }

    /// What an upstream has counted in it.
    pub(super) fn upstream(&self, index: usize) -> UpstreamCounts {
        let now = &self.now.upstreams[index];
        let before = self
            .before
            .upstreams
            .iter()
            .find(|before| before.name == now.name);
        before.map_or_else(|| now.clone(), |before| now.since(before))
    }

    /// How much a counter rose in a second.
    pub(super) fn rate(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }

    /// How much a counter of seconds rose in a second.
    pub(super) fn share(&self, of: impl Fn(&Counts) -> f64) -> f64 {
        (of(&self.now) - of(&self.before)).max(0.0) / self.seconds
    }

    /// How much a counter rose.
    pub(super) fn rise(&self, of: impl Fn(&Counts) -> u64) -> u64 {
        of(&self.now).saturating_sub(of(&self.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(start: Instant, seconds: u64) -> Sample {
        let counts = Counts {
            panics: seconds,
            ..Counts::default()
        };
        Sample {
            at: start + Duration::from_secs(seconds),
            counts: Arc::new(counts),
        }
    }

    #[test]
    fn a_window_reaches_back_as_far_as_asked_or_to_the_start() {
        let start = Instant::now();
        let mut samples = Samples::new(sample(start, 0));
        let mut window = None;
        for second in 1..=400 {
            let now = sample(start, second);
            samples.push(&now);
            window = Some([60, 300].map(|back| samples.window(&now, Duration::from_secs(back))));
            if second == 30 {
                let [minute, _] = window.as_ref().unwrap();
                assert_eq!(minute.rise(|counts| counts.panics), 30);
            }
        }
        let [minute, five] = window.unwrap();
        assert_eq!(minute.rise(|counts| counts.panics), 60);
        assert_eq!(five.rise(|counts| counts.panics), 300);
        assert!(samples.kept.len() <= 62, "{}", samples.kept.len());
    }
}
