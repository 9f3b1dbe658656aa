//! Whether new traffic may come: one word that `app` sets and probes read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A handle on the one state of the process; clones share it.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<AtomicU8>);

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
        Self(Arc::new(AtomicU8::new(State::Starting as u8)))
    }

    /// From now on it is `state`.
    pub fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Release);
    }

    /// What it is now.
    #[must_use]
    pub fn state(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            0 => State::Starting,
            1 => State::Ready,
            _ => State::Draining,
        }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_state_that_begins_with_starting() {
        let readiness = Readiness::new();
        let seen = readiness.clone();
        assert_eq!(seen.state(), State::Starting);
        for state in [State::Ready, State::Draining, State::Starting] {
            readiness.set(state);
            assert_eq!(seen.state(), state);
        }
    }
}
