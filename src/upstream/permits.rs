//! How many calls of an upstream there are at once (`max_calls`), and how long a branch waits to
//! make one (`max_wait`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Failure, Kind};

/// The permits of one upstream.
#[derive(Debug)]
pub(super) struct Permits {
    permits: Arc<Semaphore>,
    max_wait: Duration,
}

/// The right to make one call; given back when dropped.
pub type Permit = OwnedSemaphorePermit;

impl Permits {
    /// `max_calls` permits.
    pub(super) fn new(max_calls: usize, max_wait: Duration) -> Self {
        let most = max_calls.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(most)),
            max_wait,
        }
    }

    /// A permit that is there now.
    pub(super) fn try_acquire(&self) -> Option<Permit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    /// Waits for a permit, first come, first served.
    pub(super) async fn acquire(&self) -> Result<Permit, Failure> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        match timeout(self.max_wait, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed, so the other case is the time that is over.
            _ => Err(Failure::of(Kind::Overloaded)),
        }
    }
}
