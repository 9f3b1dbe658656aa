//! How many bytes of replies are held at once, everywhere (`max_buffered`), and what of it is one
//! client's.
//!
//! A client holds the bytes of its answers for as long as it takes them slowly. So that one client
//! does not hold everything, what is left at last is for those who hold little.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::{LoadMetrics, whole};

/// Of so many parts of `max_buffered`, the last is for those alone who hold less than half of one.
const PARTS: usize = 4;

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

/// What one client holds.
#[derive(Debug, Default)]
pub struct Share {
    gathers: AtomicUsize,
    held: AtomicUsize,
}

impl Share {
    /// Counts one more gather of the client, if it has fewer than `most`.
    #[must_use]
    pub fn enter(&self, most: usize) -> bool {
        let one_more = |gathers: usize| (gathers < most).then_some(gathers + 1);
        let gathers = &self.gathers;
        gathers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// One gather is over. Gives whether the client has none any more.
    pub fn leave(&self) -> bool {
        self.gathers.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// Whether it may hold so many bytes more of what is left at last: a client with one gather may,
    /// which has nothing else to wait for.
    fn is_small(&self, bytes: usize, most: usize) -> bool {
        self.gathers.load(Ordering::Relaxed) < 2
            || self.held.load(Ordering::Relaxed) + bytes <= most / PARTS / 2
    }
}

/// Bytes held by one reply, given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    buffers: Arc<Buffers>,
    /// None of a client that is free of the limits of one client.
    share: Option<Arc<Share>>,
    bytes: usize,
}

impl Reservation {
    /// Holds nothing yet.
    #[must_use]
    pub fn new(buffers: &Arc<Buffers>, share: Option<&Arc<Share>>) -> Self {
        Self {
            buffers: buffers.clone(),
            share: share.cloned(),
            bytes: 0,
        }
    }

    /// Holds `bytes` more; false, and nothing changes, when that would be too many everywhere, or too
    /// many for this client.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let whole_of = self.buffers.most;
        let may_take_all = |share: &Arc<Share>| share.is_small(bytes, whole_of);
        let most = match &self.share {
            Some(share) if !may_take_all(share) => whole_of - whole_of / PARTS,
            _ => whole_of,
        };
        let grown = |held: usize| held.checked_add(bytes).filter(|held| *held <= most);
        let held = &self.buffers.held;
        let fits = held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .is_ok();
        if fits {
            self.bytes += bytes;
            if let Some(share) = &self.share {
                share.held.fetch_add(bytes, Ordering::Relaxed);
            }
            self.buffers.metrics.buffered.add(whole(bytes));
        }
        fits
    }

    /// Holds nothing any more.
    pub fn clear(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.buffers.held.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(share) = &self.share {
            share.held.fetch_sub(bytes, Ordering::Relaxed);
        }
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
        let mut one = Reservation::new(&buffers, None);
        let mut other = Reservation::new(&buffers, None);
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

    #[test]
    fn a_client_of_many_gathers_leaves_a_part_to_those_who_hold_little() {
        let buffers = Buffers::new(80, Metrics::new().load.clone());
        let (large, small) = (Arc::new(Share::default()), Arc::new(Share::default()));
        assert!(large.enter(2) && large.enter(2) && !large.enter(2));
        assert!(small.enter(2) && small.enter(2));
        let mut slow = Reservation::new(&buffers, Some(&large));
        assert!(slow.grow(60));
        assert!(!slow.grow(1));
        let mut others = Reservation::new(&buffers, Some(&small));
        assert!(others.grow(10));
        assert!(!others.grow(1));
        // With a single gather there is nobody to leave it to but others, who come later.
        assert!(!large.leave());
        assert!(slow.grow(10));
        drop(slow);
        assert!(others.grow(50));
        assert!(large.leave());
    }
}
