//! Which clients were refused, and until when, so that a flood is answered here without asking Redis.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// More clients than this are not remembered, but asked for again.
const MOST: usize = 100_000;

/// Refusals that have not ended.
#[derive(Debug)]
pub(super) struct Refusals<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Refusals<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Refusals<K> {
    /// How long `key` is still refused.
    pub(super) fn of(&self, key: &K) -> Option<Duration> {
        let until = *self.0.lock().get(key)?;
        until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }

    /// Refuses `key` from now on, for so long.
    pub(super) fn remember(&self, key: K, wait: Duration) {
        let mut refusals = self.0.lock();
        if refusals.len() < MOST || refusals.contains_key(&key) {
            refusals.insert(key, Instant::now() + wait);
        }
    }

    /// Forgets what has ended.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut refusals = self.0.lock();
        refusals.retain(|_, until| *until > now);
        if refusals.capacity() > 4 * refusals.len() {
            refusals.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_refusal_holds_for_its_client_until_it_ends() {
        let refusals = Refusals::default();
        refusals.remember("a", LONG);
        refusals.remember("b", Duration::ZERO);
        assert!(refusals.of(&"a").is_some_and(|left| left <= LONG));
        assert_eq!((refusals.of(&"b"), refusals.of(&"c")), (None, None));
        refusals.sweep();
        assert_eq!(refusals.0.lock().len(), 1);
    }

    #[test]
    fn a_million_clients_do_not_fill_the_memory() {
        let refusals = Refusals::default();
        (0..1_000_000).for_each(|client| refusals.remember(client, LONG));
        assert_eq!(refusals.0.lock().len(), MOST);
        assert_eq!(refusals.of(&(MOST + 1)), None);
    }
}
