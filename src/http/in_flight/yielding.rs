//! Which answers give way: those that are not taken, of the client that holds most, the longest
//! untaken first.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::gather::Gather;
use crate::upstream::Share;

/// An answer of which nothing was taken for so long may give way: far above what a slow line needs for
/// a piece of it, and far below `write_timeout`.
const PATIENCE: Duration = Duration::from_secs(1);
/// Answers that are picked in one pass over all gathers.
const PICKED_AT_ONCE: usize = 256;
/// When all there was has been picked, the next pass comes so much later, so that a service that is full
/// of running gathers is not searched at every refusal.
const NEXT_PASS: Duration = Duration::from_millis(50);

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    /// Of `max_in_flight`.
    Places,
    /// Of `max_buffered`.
    Bytes,
}

/// All gathers, by number.
#[derive(Debug, Default)]
pub(super) struct Gathers {
    open: HashMap<u64, Weak<Gather>>,
    next: u64,
    places: Picked,
    bytes: Picked,
}

/// Answers to give way, in order, each with since when it waited when picked.
#[derive(Debug, Default)]
struct Picked {
    answers: VecDeque<(Instant, Weak<Gather>)>,
    /// None where there may be more than were picked.
    next_pass: Option<Instant>,
}

impl Gathers {
    /// One more; gives its number.
    pub(super) fn insert(&mut self, gather: &Arc<Gather>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number, Arc::downgrade(gather));
        number
    }

    /// It is over.
    pub(super) fn remove(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// The next answer that gives way to a client with this number of gathers: none of a client with fewer.
    pub(super) fn next_to_yield(&mut self, short: Short, gathers: usize) -> Option<Arc<Gather>> {
        let picked = match short {
            Short::Places => &mut self.places,
            Short::Bytes => &mut self.bytes,
        };
        let next = picked.next(gathers);
        if next.is_some() || picked.next_pass.is_some_and(|pass| Instant::now() < pass) {
            return next;
        }
        picked.pick(self.open.values(), short);
        picked.next(gathers)
    }
}

impl Picked {
    /// The next that has waited ever since it was picked.
    fn next(&mut self, gathers: usize) -> Option<Arc<Gather>> {
        while let Some((since, gather)) = self.answers.pop_front() {
            let Some(gather) = gather.upgrade() else {
                continue;
            };
            let holds_less = gather.share().is_some_and(|it| it.gathers() < gathers);
            if gather.waits_since() == Some(since) && !holds_less {
                return Some(gather);
            }
        }
        None
    }

    fn pick<'a>(&mut self, open: impl Iterator<Item = &'a Weak<Gather>>, short: Short) {
        let now = Instant::now();
        let waiting = open.filter_map(|gather| {
            let gather = gather.upgrade()?;
            let since = gather.waits_since()?;
            let holds = gather.share().map_or(0, |share| holds(share, short));
            let picked = (Reverse(holds), since, Arc::downgrade(&gather));
            (now.duration_since(since) >= PATIENCE).then_some(picked)
        });
        let mut waiting: Vec<_> = waiting.collect();
        let has_more = waiting.len() > PICKED_AT_ONCE;
        waiting.sort_unstable_by_key(|(holds, since, _)| (*holds, *since));
        waiting.truncate(PICKED_AT_ONCE);
        let answers = waiting.into_iter();
        self.answers = answers.map(|(_, since, gather)| (since, gather)).collect();
        self.next_pass = (!has_more).then(|| now + NEXT_PASS);
    }
}

/// How much of what is short a client holds.
fn holds(share: &Share, short: Short) -> usize {
    match short {
        Short::Places => share.gathers(),
        Short::Bytes => share.held(),
    }
}
