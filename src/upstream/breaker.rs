//! Stops calls to an upstream that fails too often, for a while, and then tries again with one call.
//!
//! Closed, it counts how calls end. Open, calls fail at once. When `open_for` has passed, one call at a time
//! is let through: its success closes the breaker, its failure opens it for as long again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::BreakerSettings;
use crate::metrics::{BreakerState, UpstreamMetrics};

/// Parts of the window that are forgotten one by one.
const PARTS: usize = 10;

/// Decides for one upstream whether calls are made.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: Mutex<State>,
    metrics: Arc<UpstreamMetrics>,
}

#[derive(Debug)]
enum State {
    Closed(Window),
    Open { until: Instant, is_probed: bool },
}

/// How a call ended, as far as it says something of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The upstream gave what it could.
    Well,
    /// The upstream failed.
    Badly,
    /// It says nothing of the upstream.
    Unknown,
}

/// A call that the breaker lets through, until it has ended.
#[derive(Debug)]
pub(super) struct Passage {
    breaker: Arc<Breaker>,
    is_probe: bool,
    /// From then on it has taken too long.
    late_at: Instant,
    ended: Option<Ended>,
}

impl Breaker {
    /// A closed breaker, which has counted nothing.
    pub(super) fn new(settings: &BreakerSettings, metrics: Arc<UpstreamMetrics>) -> Arc<Self> {
        metrics.breaker(BreakerState::Closed);
        Arc::new(Self {
            settings: settings.clone(),
            state: Mutex::new(State::Closed(Window::new(Instant::now()))),
            metrics,
        })
    }

    /// Lets a call through that is expected to take `expected` at most; none while the breaker is open, or
    /// another call tries the upstream.
    pub(super) fn pass(self: &Arc<Self>, expected: Duration) -> Option<Passage> {
        let now = Instant::now();
        let is_probe = match &mut *self.state.lock() {
            State::Closed(_) => false,
            State::Open { until, is_probed } if *until > now || *is_probed => return None,
            State::Open { is_probed, .. } => {
                *is_probed = true;
                self.metrics.breaker(BreakerState::HalfOpen);
                true
            }
        };
        Some(Passage {
            breaker: self.clone(),
            is_probe,
            late_at: now + expected,
            ended: None,
        })
    }

    /// For how long no call is made.
    pub(super) fn is_open_for(&self) -> Duration {
        match &*self.state.lock() {
            State::Closed(_) => Duration::ZERO,
            State::Open { until, .. } => until.saturating_duration_since(Instant::now()),
        }
    }

    fn ended(&self, is_probe: bool, ended: Ended) {
        let now = Instant::now();
        let mut state = self.state.lock();
        match (&mut *state, ended) {
            (State::Closed(window), Ended::Well | Ended::Badly) => {
                window.count(now, self.settings.window, ended == Ended::Badly);
                let (calls, failures) = window.sums();
                let share = f64::from(failures) / f64::from(calls);
                if calls >= self.settings.min_calls && share >= self.settings.failures {
                    self.open(&mut state, now);
                }
            }
            // Calls from before it opened are no news.
            (State::Open { .. }, Ended::Well) if is_probe => {
                *state = State::Closed(Window::new(now));
                self.metrics.breaker(BreakerState::Closed);
            }
            (State::Open { .. }, Ended::Badly) if is_probe => self.open(&mut state, now),
            (State::Open { is_probed, .. }, Ended::Unknown) if is_probe => *is_probed = false,
            _ => {}
        }
    }

    fn open(&self, state: &mut State, now: Instant) {
        *state = State::Open {
            until: now + self.settings.open_for,
            is_probed: false,
        };
        self.metrics.breaker(BreakerState::Open);
    }
}

impl Passage {
    /// Notes how the call ended. One that is dropped before has taken too long, or says nothing.
    pub(super) fn ended(&mut self, ended: Ended) {
        self.ended = Some(ended);
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let ended = match self.ended {
            None | Some(Ended::Well) if Instant::now() >= self.late_at => Ended::Badly,
            None => Ended::Unknown,
            Some(ended) => ended,
        };
        self.breaker.ended(self.is_probe, ended);
    }
}

/// How the calls of the last `window` ended.
#[derive(Debug)]
struct Window {
    parts: [Part; PARTS],
    at: usize,
    since: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    calls: u32,
    failures: u32,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self {
            parts: [Part::default(); PARTS],
            at: 0,
            since: now,
        }
    }

    fn count(&mut self, now: Instant, window: Duration, has_failed: bool) {
        let length = window / 10;
        for _ in 0..PARTS {
            if now.duration_since(self.since) < length {
                break;
            }
            self.since += length;
            self.at = (self.at + 1) % PARTS;
            self.parts[self.at] = Part::default();
        }
        // Nothing is left of a window that is over for longer.
        if now.duration_since(self.since) >= length {
            self.since = now;
        }
        let part = &mut self.parts[self.at];
        part.calls += 1;
        part.failures += u32::from(has_failed);
    }

    fn sums(&self) -> (u32, u32) {
        let sum = |of: fn(&Part) -> u32| self.parts.iter().map(of).sum();
        (sum(|part| part.calls), sum(|part| part.failures))
    }
}

#[cfg(test)]
mod tests;
