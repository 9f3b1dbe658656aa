//! How many bytes of replies are held at once, everywhere (`max_buffered`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::{LoadMetrics, whole};

/// The account of all bytes of replies that are held.
#[derive(Debug)]
pub struct Buffers {
    most: usize,
    metrics: Arc<LoadMetrics>,
    held: AtomicUsize,
}

impl Buffers {
    /// At most `most` bytes at once.
    #[must_use]
    pub fn new(most: usize, metrics: Arc<LoadMetrics>) -> Arc<Self> {
        Arc::new(Self {
            most,
            metrics,
            held: AtomicUsize::new(0),
        })
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Bytes held by one reply, given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    buffers: Arc<Buffers>,
    bytes: usize,
}

impl Reservation {
    /// Holds nothing yet.
    #[must_use]
    pub fn new(buffers: &Arc<Buffers>) -> Self {
        Self {
            buffers: buffers.clone(),
            bytes: 0,
        }
    }

    /// Holds `bytes` more; false, and nothing changes, when that would be too many everywhere.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let most = self.buffers.most;
        let grown = |held: usize| held.checked_add(bytes).filter(|held| *held <= most);
        let held = &self.buffers.held;
        let fits = held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .is_ok();
        if fits {
            self.bytes += bytes;
            self.buffers.metrics.buffered.add(whole(bytes));
        }
        fits
    }

    /// Holds nothing any more.
    pub fn clear(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.buffers.held.fetch_sub(bytes, Ordering::Relaxed);
        self.buffers.metrics.buffered.sub(whole(bytes));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn what_a_reply_holds_is_given_back_and_what_does_not_fit_is_not_taken() {
        let metrics = Metrics::new().load.clone();
        let buffers = Buffers::new(10, metrics.clone());
        let mut one = Reservation::new(&buffers);
        let mut other = Reservation::new(&buffers);
        assert!(one.grow(6));
        assert!(!other.grow(5));
        assert!(other.grow(4));
        assert_eq!(buffers.held(), 10);
        drop(one);
        assert_eq!(buffers.held(), 4);
        assert_eq!(metrics.buffered.get(), 4);
        assert!(other.grow(6));
        other.clear();
        assert_eq!(buffers.held(), 0);
    }
}
