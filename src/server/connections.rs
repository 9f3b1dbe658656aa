//! The table of all connections: who may have one, and who gives way when there are too many.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::activity::Activity;
use crate::client::ClientKey;
use crate::config::{AccessSettings, ClientSettings, RateLimitSettings, Settings};
use crate::metrics::{EdgeMetrics, Limit, Metrics};

/// Handshakes at once. They cost most of what a connection costs, and a stalled one lasts long.
/// As many as the kernel queues, so that a burst of honest newcomers is let in whole.
const MOST_HANDSHAKES: usize = 4096;
/// Idle connections that are picked in one pass over the table.
const PICKED_AT_ONCE: usize = 64;

/// All connections of the process.
pub struct Connections {
    access: AccessSettings,
    trusted: Vec<IpNet>,
    clients: ClientSettings,
    most: usize,
    most_per_client: usize,
    rate: Option<DefaultKeyedRateLimiter<ClientKey>>,
    metrics: Arc<EdgeMetrics>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    open: HashMap<u64, Arc<Activity>>,
    next: u64,
    per_client: HashMap<ClientKey, usize>,
    /// Idle ones to give way, the longest idle first, each with since when it was when picked.
    picked: VecDeque<(Instant, Arc<Activity>)>,
    /// In the order of accept; those that are past their handshake are skipped.
    handshakes: VecDeque<Arc<Activity>>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `[access]`.
    Access,
    /// `connections_per_second`.
    Rate,
    /// `max_connections_per_client`.
    PerClient,
    /// `max_connections`, and none is idle.
    Full,
}

impl Refusal {
    /// What it is counted as.
    fn limit(self) -> Limit {
        match self {
            Self::Access => Limit::Access,
            Self::Rate => Limit::ConnectionsPerSecond,
            Self::PerClient => Limit::MaxConnectionsPerClient,
            Self::Full => Limit::MaxConnections,
        }
    }
}

impl Connections {
    /// An empty table with the limits of these settings.
    #[must_use]
    pub fn new(settings: &Settings, metrics: &Metrics) -> Arc<Self> {
        let limit = settings.rate_limit.as_ref();
        Arc::new(Self {
            access: settings.access.clone(),
            trusted: settings.server.trusted_proxies.clone(),
            clients: settings.clients.clone(),
            most: settings.server.max_connections,
            most_per_client: settings.server.max_connections_per_client,
            rate: limit.and_then(quota).map(RateLimiter::keyed),
            metrics: metrics.edge.clone(),
            table: Mutex::default(),
        })
    }

    /// A place for a connection from `peer`.
    pub(super) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Result<Place, Refusal> {
        self.place(peer)
            .inspect_err(|refusal| self.metrics.refused(refusal.limit()))
    }

    fn place(self: &Arc<Self>, peer: SocketAddr) -> Result<Place, Refusal> {
        let address = peer.ip().to_canonical();
        if !self.access.admits(address) {
            return Err(Refusal::Access);
        }
        let client = if self.is_free(address) {
            None
        } else {
            Some(self.key(address))
        };
        if let (Some(rate), Some(client)) = (&self.rate, &client)
            && rate.check_key(client).is_err()
        {
            return Err(Refusal::Rate);
        }
        let client = client.map(|client| self.count(client)).transpose()?;
        let activity = self.table.lock().enter(self.most).ok_or(Refusal::Full)?;
        Ok(Place {
            connections: self.clone(),
            activity,
            _client: client,
        })
    }

    /// Counts a connection whose source a PROXY header names.
    pub(super) fn admit_source(
        self: &Arc<Self>,
        source: IpAddr,
    ) -> Result<Option<Counted>, Refusal> {
        self.place_of_source(source)
            .inspect_err(|refusal| self.metrics.refused(refusal.limit()))
    }

    fn place_of_source(self: &Arc<Self>, source: IpAddr) -> Result<Option<Counted>, Refusal> {
        let source = source.to_canonical();
        if !self.access.admits(source) {
            return Err(Refusal::Access);
        }
        if self.is_free(source) {
            return Ok(None);
        }
        self.count(self.key(source)).map(Some)
    }

    /// Whether `peer` may say in a PROXY header whom it speaks for.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted
            .iter()
            .any(|net| net.contains(&peer.to_canonical()))
    }

    /// Forgets peers that have opened no connection lately.
    pub fn sweep(&self) {
        if let Some(rate) = &self.rate {
            rate.retain_recent();
            rate.shrink_to_fit();
        }
    }

    fn is_free(&self, address: IpAddr) -> bool {
        self.trusts(address) || self.clients.is_exempt(address)
    }

    fn key(&self, address: IpAddr) -> ClientKey {
        ClientKey::new(address, self.clients.ipv6_prefix)
    }

    fn count(self: &Arc<Self>, client: ClientKey) -> Result<Counted, Refusal> {
        let mut table = self.table.lock();
        let count = table.per_client.entry(client).or_default();
        if *count >= self.most_per_client {
            return Err(Refusal::PerClient);
        }
        *count += 1;
        Ok(Counted {
            connections: self.clone(),
            client,
        })
    }
}

/// None when it is switched off by a rate of nothing.
fn quota(limit: &RateLimitSettings) -> Option<Quota> {
    let period = Duration::from_secs_f64(1.0 / limit.connections_per_second);
    let burst = NonZeroU32::new(limit.connection_burst)?;
    Some(Quota::with_period(period)?.allow_burst(burst))
}

impl Table {
    fn enter(&mut self, most: usize) -> Option<Arc<Activity>> {
        if self.open.len() >= most {
            self.close_longest_idle()?;
        }
        self.bound_handshakes();
        let activity = Arc::new(Activity::new(self.next));
        self.next += 1;
        self.open.insert(activity.id, activity.clone());
        self.handshakes.push_back(activity.clone());
        Some(activity)
    }

    /// Closes the connection that has been idle for longest, if any is.
    fn close_longest_idle(&mut self) -> Option<()> {
        let idle = self.next_picked().or_else(|| self.pick())?;
        self.close(&idle);
        Some(())
    }

    /// Looks for idle connections, and gives the one that has been idle for longest.
    fn pick(&mut self) -> Option<Arc<Activity>> {
        // One pass picks several, so that a full table is not searched for every newcomer.
        let idle = self
            .open
            .values()
            .filter_map(|one| Some((one.idle_since()?, one.clone())));
        let mut idle: Vec<_> = idle.collect();
        idle.sort_unstable_by_key(|(since, one)| (*since, one.id));
        idle.truncate(PICKED_AT_ONCE);
        self.picked = idle.into();
        self.next_picked()
    }

    /// The next that is still idle since when it was picked.
    fn next_picked(&mut self) -> Option<Arc<Activity>> {
        while let Some((since, one)) = self.picked.pop_front() {
            if self.open.contains_key(&one.id) && one.idle_since() == Some(since) {
                return Some(one);
            }
        }
        None
    }

    /// Its place is free at once; its task ends it as soon as it runs.
    fn close(&mut self, activity: &Activity) {
        self.open.remove(&activity.id);
        activity.close();
    }

    /// The oldest handshake gives way when there are too many.
    fn bound_handshakes(&mut self) {
        let is_over = |one: &Arc<Activity>| !one.is_handshaking() || one.is_closing();
        while self.handshakes.front().is_some_and(is_over) {
            self.handshakes.pop_front();
        }
        if self.handshakes.len() >= MOST_HANDSHAKES {
            self.handshakes.retain(|one| !is_over(one));
        }
        if self.handshakes.len() >= MOST_HANDSHAKES
            && let Some(oldest) = self.handshakes.pop_front()
        {
            self.close(&oldest);
        }
    }
}

/// A connection's place in the table; free again when dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    /// What the connection is doing.
    pub(super) activity: Arc<Activity>,
    _client: Option<Counted>,
}

impl Place {
    /// The table it is in.
    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.activity.close();
        self.connections.table.lock().open.remove(&self.activity.id);
    }
}

/// One connection counted for its client.
pub(super) struct Counted {
    connections: Arc<Connections>,
    client: ClientKey,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut table = self.connections.table.lock();
        if let Some(count) = table.per_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                table.per_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_burst_of_newcomers_is_let_in_and_a_flood_of_them_costs_the_oldest_handshake() {
        let mut table = Table::default();
        let mut enter = || table.enter(10_000).expect("there is room");
        let burst: Vec<_> = (0..MOST_HANDSHAKES).map(|_| enter()).collect();
        assert!(burst.iter().all(|one| !one.is_closing()));
        enter();
        assert!(burst[0].is_closing());
        assert!(burst[1..].iter().all(|one| !one.is_closing()));
    }
}
