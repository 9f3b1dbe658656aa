//! Which clients have a bucket of their own, so that memory is bounded.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Keys seen in this period and in the one before.
///
/// A bucket that was left alone for a period is full, so whoever was not seen for one has nothing
/// that is worth remembering. Keys are kept as 64-bit hashes, seeded for this process: a few bytes for
/// each, and two keys of one hash merely share a place.
#[derive(Debug)]
pub(super) struct Tracked<K> {
    key: PhantomData<K>,
    hasher: RandomState,
    period: Duration,
    generations: Mutex<Generations>,
}

#[derive(Debug)]
struct Generations {
    now: HashSet<u64>,
    before: HashSet<u64>,
    since: Instant,
}

impl<K: Copy + Eq + Hash> Tracked<K> {
    /// No keys yet; each is forgotten within two periods.
    pub(super) fn new(period: Duration) -> Self {
        let (now, before) = (HashSet::new(), HashSet::new());
        let generations = Generations {
            now,
            before,
            since: Instant::now(),
        };
        Self {
            key: PhantomData,
            hasher: RandomState::new(),
            period,
            generations: Mutex::new(generations),
        }
    }

    /// Whether `key` may have a bucket of its own, of at most `most`; notes that it was seen.
    pub(super) fn admit(&self, key: K, most: usize) -> bool {
        let key = self.hasher.hash_one(key);
        let mut generations = self.generations.lock();
        let Generations { now, before, .. } = &mut *generations;
        if now.contains(&key) {
            return true;
        }
        if before.remove(&key) || now.len() + before.len() < most {
            now.insert(key);
            return true;
        }
        false
    }

    /// Begins a new period when one is over; true when it did.
    pub(super) fn turn(&self) -> bool {
        let mut generations = self.generations.lock();
        if generations.since.elapsed() < self.period {
            return false;
        }
        generations.before = std::mem::take(&mut generations.now);
        generations.since = Instant::now();
        true
    }

    /// How many keys are tracked.
    #[cfg(test)]
    fn len(&self) -> usize {
        let generations = self.generations.lock();
        generations.now.len() + generations.before.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_limit_known_keys_stay_and_new_ones_find_no_place() {
        let tracked = Tracked::new(Duration::ZERO);
        assert!(tracked.admit(1, 2) && tracked.admit(2, 2));
        assert!(!tracked.admit(3, 2));
        assert!(tracked.admit(1, 2));
        assert!(tracked.turn());
        assert!(tracked.admit(1, 2), "seen in the period before");
        assert!(!tracked.admit(3, 2), "2 may still come back");
        assert!(tracked.turn());
        assert!(tracked.admit(3, 2), "2 has not been seen for a period");
        assert_eq!(tracked.len(), 2);
    }

    #[test]
    fn whoever_is_gone_is_forgotten_within_two_periods() {
        let tracked = Tracked::new(Duration::ZERO);
        for key in 0..1000 {
            assert!(tracked.admit(key, 1000));
        }
        assert!(tracked.turn() && tracked.turn());
        assert_eq!(tracked.len(), 0);
    }
}
