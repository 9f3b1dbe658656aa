//! The times of recent replies or answers: enough of them to tell a percentile of.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Microseconds that are told apart: longer times count as these.
const LONGEST: u64 = 3_600_000_000;

/// Times in two windows: what is older than two of them is forgotten.
pub struct RecentTimes {
    window: Duration,
    state: Mutex<State>,
}

struct State {
    current: Histogram<u32>,
    previous: Histogram<u32>,
    since: Instant,
}

impl RecentTimes {
    /// No times yet, in two windows of this length.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        // To one in a hundred, which takes few KB.
        let empty = Histogram::new_with_bounds(1, LONGEST, 2).expect("the bounds are constants");
        Self {
            window,
            state: Mutex::new(State {
                previous: empty.clone(),
                current: empty,
                since: Instant::now(),
            }),
        }
    }

    /// Notes a time.
    pub fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST);
        let mut state = self.state.lock();
        state.turn(self.window);
        state.current.saturating_record(micros.clamp(1, LONGEST));
    }

    /// The times that these shares of all took at most, and how many there are.
    #[must_use]
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> ([Duration; N], u64) {
        let mut state = self.state.lock();
        state.turn(self.window);
        let mut both = state.previous.clone();
        // Both have the same bounds.
        let _ = both.add(&state.current);
        drop(state);
        let time = |share| Duration::from_micros(both.value_at_quantile(share));
        (shares.map(time), both.len())
    }
}

impl State {
    /// Begins another window when its time has come.
    fn turn(&mut self, window: Duration) {
        let now = Instant::now();
        let age = now.duration_since(self.since);
        if age < window {
            return;
        }
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.reset();
        if age >= 2 * window {
            self.previous.reset();
        }
        self.since = now;
    }
}

impl fmt::Debug for RecentTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecentTimes")
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
