//! What the process counts: cheap counters, gauges and histograms, one value for the whole process.
//!
//! Labels are bounded by the configuration. The code that counts holds its handles, resolved once; counting
//! is a few relaxed atomics and never a look-up. What a name has counted survives reloads, because
//! the same name gives the same handles. Nothing is read or rendered here: [`crate::telemetry`] does.

mod addresses;
mod busiest;
mod certificates;
mod counts;
mod edge;
mod labels;
mod limits;
mod load;
mod outcomes;
mod recent;
mod register;
mod requests;
mod resources;
mod service;
mod shared;
mod tail;
mod upstreams;

use std::sync::Arc;

use prometheus::Registry;
use prometheus::proto::MetricFamily;

pub use self::addresses::AddressCounts;
pub use self::busiest::Busiest;
pub use self::certificates::{CERTIFICATE_ENDS_SOON, CertificateMetrics};
pub use self::counts::{Counts, Durations, HostCpu, RouteCounts, SharedCounts, UpstreamCounts};
pub use self::edge::{CountedConnection, EdgeMetrics, Held};
pub use self::labels::{ConnectionState, Ending, Handshake, Limit, Refuses, SharedCheck};
pub use self::limits::{Limits, RouteLimits, UpstreamLimits};
pub use self::load::LoadMetrics;
pub use self::recent::RecentTimes;
pub use self::register::whole;
pub use self::requests::{RequestMetrics, RouteMetrics, StatusClass, UNROUTED};
pub use self::resources::ResourceMetrics;
pub use self::service::ServiceMetrics;
pub use self::shared::SharedLimitMetrics;
pub use self::tail::{Tail, TailCounts, Unhedged};
pub use self::upstreams::{BreakerState, CallState, StagedCall, UpstreamMetrics};

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Connections, and who is refused by which limit.
    pub edge: Arc<EdgeMetrics>,
    /// Gathers, bytes and clients at once.
    pub load: Arc<LoadMetrics>,
    /// Who asks most; not a metric, since clients make no labels.
    pub busiest: Busiest,
    /// The process itself.
    pub service: ServiceMetrics,
    /// What the process and its host use.
    pub resources: ResourceMetrics,
    routes: requests::Vectors,
    upstreams: upstreams::Vectors,
    shared: shared::Vectors,
}

impl Metrics {
    /// Metrics that have counted nothing.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        Arc::new(Self {
            busiest: Busiest::default(),
            edge: Arc::new(EdgeMetrics::new(&registry)),
            load: Arc::new(LoadMetrics::new(&registry)),
            service: ServiceMetrics::new(&registry),
            resources: ResourceMetrics::new(&registry),
            routes: requests::Vectors::new(&registry),
            upstreams: upstreams::Vectors::new(&registry),
            shared: shared::Vectors::new(&registry),
            registry,
        })
    }

    /// The handles of a route: its path and the name of its policy.
    #[must_use]
    pub fn route(&self, path: &str, policy: &str) -> RouteMetrics {
        self.routes.route(path, policy)
    }

    /// The slowest answers of a route that hedges.
    #[must_use]
    pub fn tail(&self, path: &str, policy: &str) -> Arc<Tail> {
        self.routes.tail(path, policy)
    }

    /// The handles of requests that no route answers.
    #[must_use]
    pub fn no_route(&self) -> RequestMetrics {
        self.routes.no_route()
    }

    /// The handles of the shared rate limit, which has no series before.
    #[must_use]
    pub fn shared_limit(&self) -> Arc<SharedLimitMetrics> {
        self.shared.handles()
    }

    /// The handles of an upstream, whose calls fail in `kinds` of ways.
    #[must_use]
    pub fn upstream(&self, name: &str, kinds: &[&'static str]) -> Arc<UpstreamMetrics> {
        self.upstreams.upstream(name, kinds)
    }

    /// Shows the limits of the configuration that holds from now on, and forgets the series of routes
    /// and upstreams that it does not have.
    pub fn configured(&self, limits: &Limits<'_>) {
        self.edge.max_connections.set(whole(limits.max_connections));
        self.load.max_in_flight.set(whole(limits.max_in_flight));
        self.load.max_buffered.set(whole(limits.max_buffered));
        self.routes.configure(&limits.routes);
        self.upstreams.configure(&limits.upstreams, limits.kinds);
        if !limits.shared_limit {
            self.shared.forget();
        }
    }

    /// All that the status is made of, as it is now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let resources = &self.resources;
        Counts {
            routes: self.routes.counts(),
            no_route: self.routes.no_route().counts(),
            upstreams: self.upstreams.counts(),
            refusals: self.edge.refusals(),
            shared: self.shared.counts(),
            handshakes: self.edge.handshakes(),
            connections: self.edge.connections(),
            accepted: self.edge.accepted.get(),
            panics: self.service.panics.get(),
            log_lines_lost: self.service.log_lines_lost.get(),
            reloads: self.service.reloads(),
            cpu: resources.cpu.get(),
            host: resources.host(),
            listen_drops: resources.listen_drops.get(),
            pressure: resources.pressure(),
        }
    }

    /// All of it as it is now, sorted by name.
    #[must_use]
    pub fn families(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}
