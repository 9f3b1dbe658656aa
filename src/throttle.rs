//! Lets something happen at most once in a period, such as a log line that strangers can cause.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// When something that happens at most once in a period happened last.
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    last: Mutex<Option<Instant>>,
}

impl Throttle {
    /// A throttle that lets the first time pass.
    #[must_use]
    pub const fn new(period: Duration) -> Self {
        Self {
            period,
            last: Mutex::new(None),
        }
    }

    /// Whether the period has passed since this was last true.
    pub fn is_due(&self) -> bool {
        let mut last = self.last.lock();
        let is_due = last.is_none_or(|last| last.elapsed() >= self.period);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_due_at_first_and_again_after_each_period() {
        let throttle = Throttle::new(Duration::from_secs(10));
        assert!(throttle.is_due());
        assert!(!throttle.is_due());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(!throttle.is_due());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(throttle.is_due());
        assert!(!throttle.is_due());
    }
}
