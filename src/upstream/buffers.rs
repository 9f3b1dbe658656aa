//! How many bytes of replies are held at once, everywhere (`max_buffered`), and what of it is one
//! client's.
//!
//! A client holds the bytes of its answers for as long as it takes them slowly. So that few clients
//! do not hold everything, what is left at last is for those who hold little, and answers that
//! are not taken give way.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::metrics::{LoadMetrics, whole};

/// A client with several gathers has one of this many shares of the last part of `max_buffered`.
const SHARES_OF_THE_LAST: usize = 64;

/// What of a limit of the whole service is there for any client: the last quarter is kept for those who
/// hold little.
#[must_use]
pub fn for_every_client(most: usize) -> usize {
    most - most / 4
}

/// Has something give way to a client of this share; false when there is nothing.
type Relief = dyn Fn(Option<&Share>) -> bool + Send + Sync;

/// The account of all bytes of replies that are held.
pub struct Buffers {
    most: usize,
    metrics: Arc<LoadMetrics>,
    held: AtomicUsize,
    relief: OnceLock<Box<Relief>>,
}

impl Buffers {
    /// At most `most` bytes at once.
    #[must_use]
    pub fn new(most: usize, metrics: Arc<LoadMetrics>) -> Arc<Self> {
        Arc::new(Self {
            most,
            metrics,
            held: AtomicUsize::new(0),
            relief: OnceLock::new(),
        })
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// When they are full, `relief` has something give way: it drops a reservation and says true, or
    /// says false. There is one, the first.
    pub fn relieved_by(&self, relief: impl Fn(Option<&Share>) -> bool + Send + Sync + 'static) {
        let _ = self.relief.set(Box::new(relief));
    }

    fn relieve(&self, share: Option<&Share>) -> bool {
        self.relief.get().is_some_and(|relief| relief(share))
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers")
            .field("most", &self.most)
            .field("held", &self.held)
            .finish_non_exhaustive()
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

    /// Gathers of the client.
    #[must_use]
    pub fn gathers(&self) -> usize {
        self.gathers.load(Ordering::Relaxed)
    }

    /// Bytes of replies that it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether it may hold so many bytes more of what is left at last: a client with one gather may,
    /// which has nothing else to wait for.
    fn is_small(&self, bytes: usize, most: usize) -> bool {
        let kept = most - for_every_client(most);
        self.gathers() < 2 || self.held() + bytes <= kept / SHARES_OF_THE_LAST
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
    /// many for this client, and nothing gives way.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        while !self.fits(bytes) {
            if !self.buffers.relieve(self.share.as_deref()) {
                return false;
            }
        }
        self.bytes += bytes;
        if let Some(share) = &self.share {
            share.held.fetch_add(bytes, Ordering::Relaxed);
        }
        self.buffers.metrics.buffered.add(whole(bytes));
        true
    }

    /// Takes so many bytes of what there is, if they are there.
    fn fits(&self, bytes: usize) -> bool {
        let whole_of = self.buffers.most;
        let most = match &self.share {
            Some(share) if !share.is_small(bytes, whole_of) => for_every_client(whole_of),
            _ => whole_of,
        };
        let grown = |held: usize| held.checked_add(bytes).filter(|held| *held <= most);
        let held = &self.buffers.held;
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .is_ok()
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
        let buffers = Buffers::new(2560, Metrics::new().load.clone());
        let (large, small) = (Arc::new(Share::default()), Arc::new(Share::default()));
        assert!(large.enter(2) && large.enter(2) && !large.enter(2));
        assert!(small.enter(2) && small.enter(2));
        let mut slow = Reservation::new(&buffers, Some(&large));
        assert!(slow.grow(1920));
        assert!(!slow.grow(1));
        let mut others = Reservation::new(&buffers, Some(&small));
        assert!(others.grow(10));
        assert!(!others.grow(1));
        // With a single gather, only clients that come later need the rest.
        assert!(!large.leave());
        assert!(slow.grow(10));
        drop(slow);
        assert!(others.grow(50));
        assert!(large.leave());
    }

    #[test]
    fn when_it_is_full_something_gives_way_until_there_is_nothing_more() {
        let buffers = Buffers::new(30, Metrics::new().load.clone());
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut one = Reservation::new(&buffers, None);
            assert!(one.grow(10));
            held.push(one);
        }
        let held = parking_lot::Mutex::new(held);
        buffers.relieved_by(move |share| {
            assert!(share.is_none());
            let next = held.lock().pop();
            next.is_some()
        });
        let mut one = Reservation::new(&buffers, None);
        assert!(one.grow(15));
        assert_eq!(buffers.held(), 25);
        assert!(one.grow(10));
        assert!(!one.grow(10));
        assert_eq!(buffers.held(), 25);
    }
}
