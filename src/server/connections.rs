//! Who may have a connection, and who gives way when there are too many.

mod table;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use parking_lot::Mutex;

use self::table::Table;
use super::activity::{Activity, Timeouts};
use super::incidents::{Incidents, What};
use crate::client::ClientKey;
use crate::config::{AccessSettings, ClientSettings, RateLimitSettings, Settings};
use crate::metrics::{EdgeMetrics, Limit, Metrics};

/// Connections that are closed at once when the process has no descriptor left.
const CLOSED_FOR_DESCRIPTORS: usize = 16;

/// All connections of the process.
pub struct Connections {
    limits: ArcSwap<Limits>,
    metrics: Arc<EdgeMetrics>,
    incidents: Incidents,
    table: Mutex<Table>,
}

/// What of the settings they go by.
struct Limits {
    access: AccessSettings,
    trusted: Vec<IpNet>,
    clients: ClientSettings,
    most: usize,
    most_per_client: usize,
    rate: Option<Arc<Rate>>,
    timeouts: Timeouts,
    proxy_protocol: bool,
}

/// New connections of each peer.
struct Rate {
    quota: Quota,
    ipv6_prefix: u8,
    limiter: DefaultKeyedRateLimiter<ClientKey>,
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
    pub(super) fn limit(self) -> Limit {
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
        Arc::new(Self {
            limits: ArcSwap::from_pointee(Limits::new(settings, None)),
            metrics: metrics.edge.clone(),
            incidents: Incidents::default(),
            table: Mutex::new(Table::new(metrics.edge.clone())),
        })
    }

    /// Goes by these settings from now on. Connections that are there stay; what peers have opened
    /// counts on where the rate is the same.
    pub fn update(&self, settings: &Settings) {
        let before = self.limits.load();
        let limits = Limits::new(settings, before.rate.as_ref());
        self.limits.store(Arc::new(limits));
    }

    /// A place for a connection from `peer`.
    pub(super) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Result<Place, Refusal> {
        self.place(peer)
            .inspect_err(|refusal| self.metrics.refused(refusal.limit()))
    }

    fn place(self: &Arc<Self>, peer: SocketAddr) -> Result<Place, Refusal> {
        let limits = self.limits.load();
        let address = peer.ip().to_canonical();
        if !limits.access.admits(address) {
            return Err(Refusal::Access);
        }
        let client = limits.client(address);
        if let (Some(rate), Some(client)) = (&limits.rate, &client)
            && rate.limiter.check_key(client).is_err()
        {
            return Err(Refusal::Rate);
        }
        let most = limits.most_per_client;
        let client = client.map(|client| self.count(client, most)).transpose()?;
        let activity = self.table.lock().enter(limits.most);
        Ok(Place {
            connections: self.clone(),
            activity: activity.ok_or(Refusal::Full)?,
            _client: client,
        })
    }

    /// What a new connection has to keep to its end: its times, and whether it begins with a PROXY
    /// header.
    pub(super) fn terms(&self) -> (Timeouts, bool) {
        let limits = self.limits.load();
        (limits.timeouts, limits.proxy_protocol)
    }

    /// The longest idle connections give way, and then the oldest handshakes, since the process has no
    /// descriptor left: silent ones would keep everybody out until `handshake_timeout`.
    pub(super) fn spare_descriptors(&self) {
        let mut table = self.table.lock();
        for _ in 0..CLOSED_FOR_DESCRIPTORS {
            let idle = table.close_longest_idle();
            if idle.or_else(|| table.close_oldest_handshake()).is_none() {
                break;
            }
        }
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
        let limits = self.limits.load();
        let source = source.to_canonical();
        if !limits.access.admits(source) {
            return Err(Refusal::Access);
        }
        let client = limits.client(source);
        client
            .map(|client| self.count(client, limits.most_per_client))
            .transpose()
    }

    /// What is counted of connections.
    pub(super) fn metrics(&self) -> &Arc<EdgeMetrics> {
        &self.metrics
    }

    /// Whether the PROXY header of `peer` is believed.
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.limits.load().trusts(peer.to_canonical())
    }

    /// Has every response over HTTP/1 say that it is its connection's last.
    pub(super) fn drain(&self) {
        self.table.lock().drain();
    }

    /// Whether `condition` holds for every connection.
    pub(super) fn all(&self, condition: impl Fn(&Activity) -> bool) -> bool {
        self.table.lock().all(condition)
    }

    /// A request came that the HTTP library has answered or ended by itself.
    pub(super) fn malformed(&self, client: IpAddr) {
        self.metrics.malformed.inc();
        self.incidents.note(What::Malformed, "http", client, "");
    }

    /// What is told once a second.
    pub(super) fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// Forgets peers that have opened no connection lately, and tells of those that were refused.
    pub fn sweep(&self) {
        self.incidents.tell();
        if let Some(rate) = &self.limits.load().rate {
            rate.limiter.retain_recent();
            rate.limiter.shrink_to_fit();
        }
    }

    fn count(self: &Arc<Self>, client: ClientKey, most: usize) -> Result<Counted, Refusal> {
        let mut table = self.table.lock();
        let count = table.per_client.entry(client).or_default();
        if *count >= most {
            return Err(Refusal::PerClient);
        }
        *count += 1;
        Ok(Counted {
            connections: self.clone(),
            client,
        })
    }
}

impl Limits {
    fn new(settings: &Settings, before: Option<&Arc<Rate>>) -> Self {
        let ipv6_prefix = settings.clients.ipv6_prefix;
        let quota = settings.rate_limit.as_ref().and_then(quota);
        let rate = quota.map(|quota| match before {
            Some(rate) if rate.quota == quota && rate.ipv6_prefix == ipv6_prefix => rate.clone(),
            _ => Arc::new(Rate {
                quota,
                ipv6_prefix,
                limiter: RateLimiter::keyed(quota),
            }),
        });
        Self {
            access: settings.access.clone(),
            trusted: settings.server.trusted_proxies.clone(),
            clients: settings.clients.clone(),
            most: settings.server.max_connections,
            most_per_client: settings.server.max_connections_per_client,
            rate,
            timeouts: Timeouts {
                handshake: settings.server.handshake_timeout,
                header: settings.server.header_timeout,
                idle: settings.server.idle_timeout,
                write: settings.server.write_timeout,
            },
            proxy_protocol: settings.server.proxy_protocol,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// Whose limits hold for a peer or source; none for those that are free of them.
    fn client(&self, address: IpAddr) -> Option<ClientKey> {
        let free = self.trusts(address) || self.clients.is_exempt(address);
        (!free).then(|| ClientKey::new(address, self.clients.ipv6_prefix))
    }
}

/// None when it is switched off by a rate of nothing.
fn quota(limit: &RateLimitSettings) -> Option<Quota> {
    let period = Duration::from_secs_f64(1.0 / limit.connections_per_second);
    let burst = NonZeroU32::new(limit.connection_burst)?;
    Some(Quota::with_period(period)?.allow_burst(burst))
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
        self.activity.uncount();
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
