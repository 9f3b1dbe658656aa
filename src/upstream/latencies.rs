//! How long the recent replies to one branch took: what a slow one is measured by.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Replies are forgotten after one to two of these.
const WINDOW: Duration = Duration::from_secs(30);
/// Fewer replies say nothing.
const ENOUGH: u64 = 100;
/// How long a quantile holds until it is computed anew.
const FRESH: Duration = Duration::from_millis(100);
/// Microseconds that are told apart: longer ones count as these.
const LONGEST: u64 = 3_600_000_000;

/// The times of recent replies, in two windows of 30 s.
pub struct Latencies {
    quantile: f64,
    state: Mutex<State>,
}

struct State {
    current: Histogram<u32>,
    previous: Histogram<u32>,
    since: Instant,
    known: Option<Duration>,
    known_at: Option<Instant>,
}

impl Latencies {
    /// No replies yet; what is asked is the time that a share of `quantile` of them took at most.
    #[must_use]
    pub fn new(quantile: f64) -> Self {
        // To one in a hundred, which takes few KB.
        let empty = Histogram::new_with_bounds(1, LONGEST, 2).expect("the bounds are constants");
        Self {
            quantile,
            state: Mutex::new(State {
                previous: empty.clone(),
                current: empty,
                since: Instant::now(),
                known: None,
                known_at: None,
            }),
        }
    }

    /// A reply took so long, or was cut off after that.
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(LONGEST);
        let mut state = self.state.lock();
        state.turn(Instant::now());
        state.current.saturating_record(micros.clamp(1, LONGEST));
    }

    /// The time that the share of recent replies took at most; none while there are fewer than 100.
    #[must_use]
    pub fn quantile(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state
            .known_at
            .is_none_or(|at| now.duration_since(at) >= FRESH)
        {
            state.turn(now);
            state.known = state.value_at(self.quantile);
            state.known_at = Some(now);
        }
        state.known
    }
}

impl State {
    /// Begins another window when its time has come.
    fn turn(&mut self, now: Instant) {
        let age = now.duration_since(self.since);
        if age < WINDOW {
            return;
        }
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.reset();
        if age >= 2 * WINDOW {
            self.previous.reset();
        }
        self.since = now;
    }

    fn value_at(&self, quantile: f64) -> Option<Duration> {
        let mut both = self.previous.clone();
        both.add(&self.current).ok()?;
        let micros = both.value_at_quantile(quantile);
        (both.len() >= ENOUGH).then(|| Duration::from_micros(micros))
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies")
            .field("quantile", &self.quantile)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_quantile_is_known_from_the_hundredth_reply_on_and_forgotten_with_them() {
        let latencies = Latencies::new(0.95);
        for _ in 0..99 {
            latencies.record(Duration::from_millis(5));
        }
        assert_eq!(latencies.quantile(), None);
        latencies.record(seconds(1));
        advance(FRESH).await;
        let known = latencies.quantile().unwrap();
        assert!(
            (Duration::from_millis(5)..Duration::from_micros(5100)).contains(&known),
            "{known:?}"
        );
        advance(WINDOW).await;
        assert_eq!(
            latencies.quantile(),
            Some(known),
            "the window before counts"
        );
        advance(WINDOW).await;
        assert_eq!(latencies.quantile(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_cut_off_keeps_the_quantile_from_drifting_down() {
        let latencies = Latencies::new(0.9);
        for _ in 0..85 {
            latencies.record(Duration::from_millis(5));
        }
        for _ in 0..15 {
            latencies.record(seconds(2));
        }
        assert!(latencies.quantile().unwrap() >= seconds(2));
    }
}
