//! Which clients have a bucket of their own, so that memory is bounded.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How many keys there are in all that share a bound.
#[derive(Debug, Default)]
pub(super) struct Room {
    taken: AtomicUsize,
}

/// Keys seen in this period and in the one before.
///
/// A bucket that was left alone for a period is full, so a client that was not seen for one has nothing
/// that is worth remembering. Keys are kept as 64-bit hashes, seeded for this process: a few bytes for
/// each, and two keys of one hash merely share a place.
#[derive(Debug)]
pub(super) struct Tracked<K> {
    key: PhantomData<K>,
    hasher: RandomState,
    period: Duration,
    room: Arc<Room>,
    generations: Mutex<Generations>,
}

#[derive(Debug)]
struct Generations {
    now: HashSet<u64>,
    before: HashSet<u64>,
    since: Instant,
}

impl<K: Copy + Eq + Hash> Tracked<K> {
    /// No keys yet; each is forgotten within two periods, and takes a place in `room` until then.
    pub(super) fn new(period: Duration, room: Arc<Room>) -> Self {
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
            room,
            generations: Mutex::new(generations),
        }
    }

    /// Whether `key` may have a bucket of its own, of at most `most` in the room; notes that it was
    /// seen.
    pub(super) fn admit(&self, key: K, most: usize) -> bool {
        let key = self.hasher.hash_one(key);
        let mut generations = self.generations.lock();
        let Generations { now, before, .. } = &mut *generations;
        if now.contains(&key) {
            return true;
        }
        let known = before.remove(&key);
        if !known && !self.room.enter(most) {
            return false;
        }
        now.insert(key);
        true
    }

    /// Begins a new period when one is over; true when it did.
    pub(super) fn turn(&self) -> bool {
        let mut generations = self.generations.lock();
        if generations.since.elapsed() < self.period {
            return false;
        }
        self.room.leave(generations.before.len());
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

impl<K> Drop for Tracked<K> {
    fn drop(&mut self) {
        let generations = self.generations.get_mut();
        self.room
            .leave(generations.now.len() + generations.before.len());
    }
}

impl Room {
    /// How many there are.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn enter(&self, most: usize) -> bool {
        let one_more = |taken: usize| (taken < most).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    fn leave(&self, places: usize) {
        self.taken.fetch_sub(places, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_limit_known_keys_stay_and_new_ones_find_no_place() {
        let tracked = Tracked::new(Duration::ZERO, Arc::default());
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
    fn a_client_that_is_gone_is_forgotten_within_two_periods() {
        let tracked = Tracked::new(Duration::ZERO, Arc::default());
        for key in 0..1000 {
            assert!(tracked.admit(key, 1000));
        }
        assert!(tracked.turn() && tracked.turn());
        assert_eq!(tracked.len(), 0);
    }

    #[test]
    fn limiters_share_the_room_and_give_back_what_they_held() {
        let room = Arc::new(Room::default());
        let one = Tracked::new(Duration::ZERO, room.clone());
        let other = Tracked::new(Duration::ZERO, room);
        assert!(one.admit(1, 2) && other.admit(1, 2));
        assert!(!one.admit(2, 2) && !other.admit(2, 2));
        drop(one);
        assert!(other.admit(2, 2));
    }
}
