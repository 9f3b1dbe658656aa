//! How long the recent replies to one branch took: what a slow one is measured by.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::metrics::RecentTimes;

/// Replies are forgotten after one to two of these.
const WINDOW: Duration = Duration::from_secs(30);
/// Fewer replies say nothing.
const ENOUGH: u64 = 100;
/// How long a quantile holds until it is computed anew.
const FRESH: Duration = Duration::from_millis(100);

/// The times of recent replies, in two windows of 30 s.
#[derive(Debug)]
pub struct Latencies {
    share: f64,
    times: RecentTimes,
    known: Mutex<Option<Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    quantile: Option<Duration>,
    at: Instant,
}

impl Latencies {
    /// No replies yet; what is asked is the time that this share of them took at most.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Self {
            share,
            times: RecentTimes::new(WINDOW),
            known: Mutex::default(),
        }
    }

    /// A reply took so long, or was cut off after that.
    pub fn record(&self, time: Duration) {
        self.times.record(time);
    }

    /// The time that the share of recent replies took at most; none while there are fewer than 100.
    #[must_use]
    pub fn quantile(&self) -> Option<Duration> {
        let mut known = self.known.lock();
        if let Some(known) = *known
            && known.at.elapsed() < FRESH
        {
            return known.quantile;
        }
        let ([quantile], count) = self.times.quantiles([self.share]);
        let quantile = (count >= ENOUGH).then_some(quantile);
        let at = Instant::now();
        *known = Some(Known { quantile, at });
        quantile
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
