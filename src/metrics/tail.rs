//! What hedges do for the slowest answers of a route: how long they took, and would have taken without.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::Counter;
use tokio::time::Instant;

use super::recent::RecentTimes;

/// Answers of the last one to two of these are looked at.
const WINDOW: Duration = Duration::from_secs(150);

/// The slowest answers of one route that hedges.
#[derive(Debug)]
pub struct Tail {
    answered: RecentTimes,
    without: RecentTimes,
    branches: AtomicU64,
}

/// What is told of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TailCounts {
    /// p99 and p99.9 as answered.
    pub answered: [Duration; 2],
    /// p99 and p99.9 as they would have been without hedges.
    pub without: [Duration; 2],
    /// Branches that were started, hedges left out.
    pub branches: u64,
}

impl Default for Tail {
    fn default() -> Self {
        Self {
            answered: RecentTimes::new(WINDOW),
            without: RecentTimes::new(WINDOW),
            branches: AtomicU64::new(0),
        }
    }
}

impl Tail {
    /// A branch starts.
    pub fn branch(&self) {
        self.branches.fetch_add(1, Ordering::Relaxed);
    }

    /// A gather begins.
    #[must_use]
    pub fn gather(self: &Arc<Self>) -> Unhedged {
        let begun = Instant::now();
        Unhedged(Arc::new(Ends {
            tail: self.clone(),
            begun,
            last: Mutex::default(),
        }))
    }

    pub(super) fn counts(&self) -> TailCounts {
        let shares = [0.99, 0.999];
        TailCounts {
            answered: self.answered.quantiles(shares).0,
            without: self.without.quantiles(shares).0,
            branches: self.branches.load(Ordering::Relaxed),
        }
    }
}

/// A gather as it would have been without hedges: over with the last of the calls that were outrun.
#[derive(Clone, Debug)]
pub struct Unhedged(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    tail: Arc<Tail>,
    begun: Instant,
    /// None of a gather that was not run: the cache had its answer.
    last: Mutex<Option<Instant>>,
}

impl Unhedged {
    /// The gather is over.
    pub fn answered(&self) {
        self.0.tail.answered.record(self.0.begun.elapsed());
        self.ends_now();
    }

    /// A hedge has outrun a call: what it saved is the time until the value is dropped with the call.
    #[must_use]
    pub fn outrun(&self, saved: &Counter) -> Saving {
        Saving {
            saved: saved.clone(),
            since: Instant::now(),
            unhedged: self.clone(),
        }
    }

    fn ends_now(&self) {
        *self.0.last.lock() = Some(Instant::now());
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(last) = *self.last.get_mut() {
            self.tail.without.record(last.duration_since(self.begun));
        }
    }
}

/// The time that a hedge saves, counted when this is dropped.
#[derive(Debug)]
pub struct Saving {
    saved: Counter,
    since: Instant,
    unhedged: Unhedged,
}

impl Drop for Saving {
    fn drop(&mut self) {
        self.saved.inc_by(self.since.elapsed().as_secs_f64());
        self.unhedged.ends_now();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_gather_that_was_not_run_has_no_time() {
        let tail = Arc::new(Tail::default());
        drop(tail.gather());
        assert_eq!(tail.without.quantiles([0.5]).1, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn without_hedges_a_gather_would_have_been_over_with_the_last_call_that_was_outrun() {
        let (tail, saved) = (
            Arc::new(Tail::default()),
            Counter::new("saved", "s").unwrap(),
        );
        let ms = Duration::from_millis;
        for _ in 0..100 {
            let gather = tail.gather();
            advance(ms(10)).await;
            let outrun = [gather.outrun(&saved), gather.outrun(&saved)];
            advance(ms(5)).await;
            gather.answered();
            drop(gather);
            advance(ms(20)).await;
            drop(outrun);
        }
        let counts = tail.counts();
        let near =
            |time: Duration, expected: Duration| time >= expected && time <= expected * 102 / 100;
        assert!(near(counts.answered[0], ms(15)), "{counts:?}");
        assert!(near(counts.without[0], ms(35)), "{counts:?}");
        assert!((saved.get() - 2.0 * 100.0 * 0.025).abs() < 1e-6);
    }
}
