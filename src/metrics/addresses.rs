//! The addresses of upstreams: calls on each, and which are set aside.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{IntGaugeVec, Registry};

use super::register::{self, whole};

/// The most addresses of an upstream that are shown.
const MOST_SHOWN: usize = 32;

const UPSTREAM: &str = "upstream";
const ADDRESS: &str = "address";

/// One address of an upstream at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressCounts {
    /// Where it is.
    pub address: SocketAddr,
    /// Calls on it now.
    pub calls: usize,
    /// Whether it is left alone for a while, since it failed.
    pub is_aside: bool,
}

/// The addresses of one upstream, as it last had them.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Each of them, up to 32, in order.
    pub(super) addresses: Vec<AddressCounts>,
    /// For how long they have been the same; none where nothing was looked up.
    pub(super) since: Option<Instant>,
}

impl Seen {
    /// For how long they have been the same.
    pub(super) fn age(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }
}

/// The addresses of one upstream.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    upstream: Arc<str>,
    vectors: Vectors,
    seen: Arc<Mutex<Seen>>,
}

impl Addresses {
    /// They are these now. `is_looked_up` says whether a name stands for them.
    pub(super) fn show(&self, addresses: &[AddressCounts], is_looked_up: bool) {
        let mut addresses: Vec<_> = addresses.iter().copied().take(MOST_SHOWN).collect();
        addresses.sort_unstable_by_key(|it| it.address);
        let mut seen = self.seen.lock();
        let is_same =
            |(now, before): (&AddressCounts, &AddressCounts)| now.address == before.address;
        let unchanged = seen.addresses.len() == addresses.len()
            && addresses.iter().zip(&seen.addresses).all(is_same);
        if !unchanged {
            seen.since = is_looked_up.then(Instant::now);
            let now: BTreeSet<_> = addresses.iter().map(|it| it.address).collect();
            let gone = seen
                .addresses
                .iter()
                .filter(|it| !now.contains(&it.address));
            gone.for_each(|it| self.vectors.remove(&self.upstream, it.address));
        }
        for one in &addresses {
            self.vectors.set(&self.upstream, one);
        }
        seen.addresses = addresses;
    }

    /// As they were last shown.
    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }
}

/// What an upstream of a name last had.
type Named = (Arc<str>, Arc<Mutex<Seen>>);

/// Those of all upstreams.
#[derive(Clone, Debug)]
pub(super) struct Vectors {
    calls: IntGaugeVec,
    aside: IntGaugeVec,
    all: Arc<Mutex<Vec<Named>>>,
}

impl Vectors {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauges = |name, help| register::gauges(registry, name, help, &[UPSTREAM, ADDRESS]);
        Self {
            calls: gauges(
                "gatherd_upstream_address_calls",
                "Calls on each address of an upstream, the first 32.",
            ),
            aside: gauges(
                "gatherd_upstream_address_set_aside",
                "1 while an address of an upstream gets no calls, since it failed; else 0.",
            ),
            all: Arc::default(),
        }
    }

    /// The addresses of the upstream `name`, which survive reloads.
    pub(super) fn of(&self, name: &str) -> Addresses {
        let mut all = self.all.lock();
        let known = all.iter().find(|(known, _)| &**known == name).cloned();
        let (upstream, seen) = known.unwrap_or_else(|| {
            let new: Named = (name.into(), Arc::default());
            all.push(new.clone());
            new
        });
        Addresses {
            upstream,
            vectors: self.clone(),
            seen,
        }
    }

    /// Forgets the upstreams that are not among these.
    pub(super) fn retain(&self, upstreams: &BTreeSet<&str>) {
        let keep = |labels: &HashMap<&str, &str>| upstreams.contains(labels[UPSTREAM]);
        register::retain(&self.calls, keep);
        register::retain(&self.aside, keep);
        self.all
            .lock()
            .retain(|(name, _)| upstreams.contains(&**name));
    }

    fn set(&self, upstream: &str, one: &AddressCounts) {
        let labels = [upstream, &one.address.to_string()];
        self.calls.with_label_values(&labels).set(whole(one.calls));
        let aside = i64::from(one.is_aside);
        self.aside.with_label_values(&labels).set(aside);
    }

    fn remove(&self, upstream: &str, address: SocketAddr) {
        let labels = [upstream, &address.to_string()];
        // Nothing else removes them, and if something did, they are gone.
        let _ = self.calls.remove_label_values(&labels);
        let _ = self.aside.remove_label_values(&labels);
    }
}
