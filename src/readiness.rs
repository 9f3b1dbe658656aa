//! Where the process is in its life, and by when a drain must be over: one value that `app` sets and
//! that probes, listeners and gathers read.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// A handle on the one state of the process; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: AtomicU8,
    /// When gathers that still run are given up; set by the drain.
    last_call: OnceLock<Instant>,
    draining: CancellationToken,
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// The listeners do not accept yet.
    Starting,
    /// Traffic is welcome.
    Ready,
    /// It was told to stop: what runs is finished, new traffic should go elsewhere.
    Draining,
}

impl Readiness {
    /// A process that is starting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The listeners accept.
    pub fn ready(&self) {
        self.set(State::Ready);
    }

    /// The process was told to stop, and gives up gathers that still run at `last_call`. Only the
    /// first call counts.
    pub fn drain(&self, last_call: Instant) {
        let _ = self.0.last_call.set(last_call);
        self.set(State::Draining);
        self.0.draining.cancel();
    }

    /// What it is now.
    #[must_use]
    pub fn state(&self) -> State {
        match self.0.state.load(Ordering::Acquire) {
            0 => State::Starting,
            1 => State::Ready,
            _ => State::Draining,
        }
    }

    /// Ends when gathers that still run must be given up: never, as long as the process is not
    /// told to stop.
    pub async fn last_call(&self) {
        self.0.draining.cancelled().await;
        match self.0.last_call.get() {
            Some(last_call) => sleep_until(*last_call).await,
            None => std::future::pending().await,
        }
    }

    fn set(&self, state: State) {
        self.0.state.store(state as u8, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn clones_share_one_state_that_begins_with_starting() {
        let readiness = Readiness::new();
        let seen = readiness.clone();
        assert_eq!(seen.state(), State::Starting);
        readiness.ready();
        assert_eq!(seen.state(), State::Ready);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_call_comes_only_with_a_drain_and_at_its_time() {
        let readiness = Readiness::new();
        let last_call = readiness.last_call();
        tokio::pin!(last_call);
        assert!(last_call.as_mut().now_or_never().is_none());
        let begun = Instant::now();
        readiness.drain(begun + Duration::from_secs(3));
        assert_eq!(readiness.state(), State::Draining);
        last_call.await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }
}
