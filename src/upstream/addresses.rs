//! The addresses of one upstream: which of them a call goes to, and which are left alone for a while.
//!
//! A call goes to the one of two random addresses that has fewer calls. An address that cannot be
//! connected to, or whose calls break several times in a row, is set aside; then it is tried with one call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::metrics::AddressCounts;

/// Calls in a row that break, after which an address is set aside.
const MOST_BROKEN_IN_A_ROW: u32 = 3;
/// How long an address is set aside at first; twice as long after each time that the one call fails.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One address of an upstream.
#[derive(Debug)]
pub(super) struct Address {
    /// Where to connect to.
    pub(super) socket: SocketAddr,
    /// Which of the upstream's URLs it belongs to, by its index.
    pub(super) host: usize,
    calls: AtomicUsize,
    /// Failures in a row.
    broken: AtomicU32,
    aside: Mutex<Option<Aside>>,
}

/// An address that is left alone.
#[derive(Clone, Copy, Debug)]
struct Aside {
    until: Instant,
    pause: Duration,
}

impl Address {
    /// An address of the URL `host` of which nothing is known.
    pub(super) fn new(socket: SocketAddr, host: usize) -> Arc<Self> {
        Arc::new(Self {
            socket,
            host,
            calls: AtomicUsize::new(0),
            broken: AtomicU32::new(0),
            aside: Mutex::new(None),
        })
    }

    /// Calls on it now.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// A call went well. That it can be connected to says little: what listens there may break every call.
    pub(super) fn succeeded(&self) {
        if self.broken.load(Ordering::Relaxed) > 0 {
            self.broken.store(0, Ordering::Relaxed);
            *self.aside.lock() = None;
        }
    }

    /// Whether a call may go to it now; when its pause is over, one at a time.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        if self.broken.load(Ordering::Relaxed) == 0 {
            return true;
        }
        match *self.aside.lock() {
            Some(aside) => aside.until <= now && self.calls() == 0,
            None => true,
        }
    }

    /// Whether it rests.
    fn is_aside(&self, now: Instant) -> bool {
        self.aside.lock().is_some_and(|aside| aside.until > now)
    }

    fn set_aside(&self, now: Instant) {
        let mut aside = self.aside.lock();
        let pause = match *aside {
            // Calls that were under way break too, and are no news.
            Some(aside) if aside.until > now => return,
            Some(aside) => (aside.pause * 2).min(LONGEST_PAUSE),
            None => SHORTEST_PAUSE,
        };
        let until = now + pause;
        *aside = Some(Aside { until, pause });
    }
}

/// One call on an address, until it is dropped.
#[derive(Debug)]
pub(super) struct CallOn(Arc<Address>);

impl CallOn {
    /// One more call.
    pub(super) fn new(address: &Arc<Address>) -> Self {
        address.calls.fetch_add(1, Ordering::Relaxed);
        Self(address.clone())
    }

    /// The address.
    pub(super) fn address(&self) -> &Arc<Address> {
        &self.0
    }
}

impl Drop for CallOn {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The addresses that an upstream has now.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: Vec<Arc<Address>>,
}

impl Addresses {
    /// They are these from now on, each with the index of its URL. What is known of one that stays is kept.
    pub(super) fn update(&mut self, found: &[(usize, SocketAddr)]) {
        let is_same = |known: &Arc<Address>, (host, socket): &(usize, SocketAddr)| {
            known.host == *host && known.socket == *socket
        };
        let unchanged = self.known.len() == found.len()
            && found
                .iter()
                .zip(&self.known)
                .all(|(found, known)| is_same(known, found));
        if unchanged {
            return;
        }
        let kept =
            |it: &(usize, SocketAddr)| self.known.iter().find(|known| is_same(known, it)).cloned();
        let known = found
            .iter()
            .map(|it| kept(it).unwrap_or_else(|| Address::new(it.1, it.0)));
        self.known = known.collect();
    }

    /// Whether `address` is still one of them.
    pub(super) fn has(&self, address: &Arc<Address>) -> bool {
        self.known.iter().any(|known| Arc::ptr_eq(known, address))
    }

    /// Each of them for the metrics.
    pub(super) fn counts(&self) -> Vec<AddressCounts> {
        let now = Instant::now();
        let count = |it: &Arc<Address>| AddressCounts {
            address: it.socket,
            calls: it.calls(),
            is_aside: it.is_aside(now),
        };
        self.known.iter().map(count).collect()
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Arc<Address>] {
        &self.known
    }

    /// Where the next call goes; to `avoid` only when there is no other. None when none is known.
    pub(super) fn choose(&self, avoid: Option<&Arc<Address>>) -> Option<Arc<Address>> {
        match &self.known[..] {
            [] => return None,
            [only] => return Some(only.clone()),
            _ => {}
        }
        let now = Instant::now();
        let may = |it: &&Arc<Address>| {
            it.is_usable(now) && avoid.is_none_or(|avoid| !Arc::ptr_eq(avoid, it))
        };
        let start = fastrand::usize(..self.known.len());
        let from = |start: usize| self.known.iter().cycle().skip(start).take(self.known.len());
        let Some(one) = from(start).find(may) else {
            // All others are set aside.
            let usable = self.known.iter().find(|it| it.is_usable(now));
            return usable.or_else(|| self.known.get(start)).cloned();
        };
        let other = start + 1 + fastrand::usize(..self.known.len() - 1);
        let is_other = |it: &&Arc<Address>| may(it) && !Arc::ptr_eq(it, one);
        let better = from(other % self.known.len()).find(is_other);
        Some(match better {
            Some(other) if other.calls() < one.calls() => other.clone(),
            _ => one.clone(),
        })
    }

    /// The order in which to try to connect: `first`, then the others with their families in turn
    /// (RFC 8305 section 4), those that are set aside at the end.
    pub(super) fn in_order(&self, first: Option<&Arc<Address>>) -> Vec<Arc<Address>> {
        let first = first.filter(|first| self.has(first)).cloned();
        let first = first.or_else(|| self.choose(None));
        let Some(first) = first else {
            return Vec::new();
        };
        let now = Instant::now();
        let is_ipv6 = |it: &Arc<Address>| it.socket.is_ipv6();
        let rest = self
            .known
            .iter()
            .filter(|it| !Arc::ptr_eq(it, &first))
            .cloned();
        let (usable, aside): (Vec<_>, Vec<_>) = rest.partition(|it| it.is_usable(now));
        let (same, other): (Vec<_>, Vec<_>) = usable
            .into_iter()
            .partition(|it| is_ipv6(it) == is_ipv6(&first));
        let (mut same, mut other) = (same.into_iter(), other.into_iter());
        let mut order = vec![first];
        loop {
            let before = order.len();
            order.extend(other.next());
            order.extend(same.next());
            if order.len() == before {
                break;
            }
        }
        order.extend(aside);
        order
    }

    /// `address` cannot be connected to: it is set aside, unless it is the last that is not.
    pub(super) fn cannot_connect(&self, address: &Arc<Address>) {
        address.broken.fetch_add(1, Ordering::Relaxed);
        self.set_aside(address);
    }

    /// A call to `address` broke.
    pub(super) fn broke(&self, address: &Arc<Address>) {
        if address.broken.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_BROKEN_IN_A_ROW {
            self.set_aside(address);
        }
    }

    fn set_aside(&self, address: &Arc<Address>) {
        let now = Instant::now();
        let is_other = |it: &&Arc<Address>| !Arc::ptr_eq(it, address);
        if self
            .known
            .iter()
            .filter(is_other)
            .any(|it| !it.is_aside(now))
        {
            address.set_aside(now);
        }
    }
}

#[cfg(test)]
mod tests;
