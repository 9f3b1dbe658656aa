//! What one request uses from its start to its end, whatever is reloaded meanwhile.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use parking_lot::Mutex;

use super::in_flight::InFlight;
use super::limiter::Limiters;
use super::route::Route;
use super::routes::router;
use crate::config::{
    AccessLog, AccessSettings, ClientSettings, Problems, ServerSettings, Settings,
};
use crate::metrics::{Metrics, RequestMetrics, whole};
use crate::upstream::{Common, Upstream};

/// How often at most the log warns of forwarding headers that are not believed.
const FORWARDING_WARNED: Duration = Duration::from_secs(60);

/// The snapshot that new requests load.
pub type Current = Arc<ArcSwap<Snapshot>>;

/// Routes, upstreams and limits: one immutable value.
pub struct Snapshot {
    pub(super) server: ServerSettings,
    pub(super) access: AccessSettings,
    pub(super) clients: ClientSettings,
    pub(super) limiters: Limiters,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) router: Router,
    pub(super) access_log: AccessLog,
    /// Whether responses over HTTPS say that there is no other way.
    pub(super) hsts: bool,
    /// By path, for requests that never reach the router.
    routes: matchit::Router<Arc<Route>>,
    pub(super) metrics: Arc<Metrics>,
    /// For requests that no route answers.
    pub(super) no_route: RequestMetrics,
    upstreams: Vec<Arc<Upstream>>,
    /// When the log last warned of forwarding headers that are not believed.
    warned: Arc<Mutex<Option<Instant>>>,
}

impl Snapshot {
    /// A snapshot of these settings. What did not change since `before` is shared with it, so that
    /// connections and counts survive.
    ///
    /// # Errors
    /// When an upstream cannot be made.
    pub fn new(
        settings: &Settings,
        common: &Common,
        before: Option<&Self>,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut upstreams = Vec::new();
        for upstream in &settings.upstreams {
            let kept = before.and_then(|before| {
                before
                    .upstreams
                    .iter()
                    .find(|kept| kept.is_made_from(upstream))
                    .cloned()
            });
            match kept.map_or_else(|| Upstream::new(upstream, common.clone()), Ok) {
                Ok(upstream) => upstreams.push(upstream),
                Err(problem) => problems.push(problem),
            }
        }
        let before_limiters = before.map(|before| &before.limiters);
        let limiters = Limiters::new(settings, common, before_limiters);
        let limiters = limiters.map_err(|problem| problems.push(problem)).ok();
        let (Some(limiters), true) = (limiters, problems.is_empty()) else {
            return Err(problems.into_iter().collect());
        };
        let routes = settings.routes.iter();
        let failure_status = settings.server.failure_status;
        let metrics = &common.metrics;
        let route = |route| Arc::new(Route::new(route, &upstreams, failure_status, metrics));
        let routes: Vec<_> = routes.map(route).collect();
        Ok(Self {
            router: router(routes.iter().cloned()),
            access_log: settings.log.access,
            hsts: settings.tls.as_ref().is_some_and(|tls| tls.hsts),
            routes: by_path(&routes),
            access: settings.access.clone(),
            clients: settings.clients.clone(),
            limiters,
            in_flight: match before {
                Some(before) => before.in_flight.clone(),
                None => InFlight::new(&common.buffers),
            },
            server: settings.server.clone(),
            metrics: common.metrics.clone(),
            no_route: common.metrics.no_route(),
            upstreams,
            warned: before
                .map(|before| before.warned.clone())
                .unwrap_or_default(),
        })
    }

    /// `[server]`.
    #[must_use]
    pub fn server(&self) -> &ServerSettings {
        &self.server
    }

    /// The keys of the authorities that are other ones since `before`, though the file says the same.
    pub fn changed_authorities<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = String> + 'a {
        let pairs = self.upstreams.iter().filter_map(|new| {
            let same = |old: &&Arc<Upstream>| old.settings() == new.settings();
            Some((new, before.upstreams.iter().find(same)?))
        });
        let changed = pairs.filter(|(new, old)| new.trusts_others_than(old));
        changed.map(|(new, _)| format!("upstreams.{}.ca", new.settings().name))
    }

    /// The route that has this path.
    pub(super) fn route(&self, path: &str) -> Option<&Arc<Route>> {
        self.routes.at(path).ok().map(|found| found.value)
    }

    /// Says now and then that somebody sends `X-Forwarded-For` who is not believed: an attacker, or
    /// a proxy that is missing in `trusted_proxies`, all of whose clients are one then.
    pub(super) fn warn_of_forwarding(&self, peer: IpAddr) {
        let mut warned = self.warned.lock();
        if warned.is_none_or(|warned| warned.elapsed() >= FORWARDING_WARNED) {
            *warned = Some(Instant::now());
            tracing::warn!(client.address = %peer, "X-Forwarded-For of a peer that is not in trusted_proxies");
        }
    }

    /// Takes a token of `client` as a request of `path` does; false when there is none. What requests
    /// do besides is not measured by the bench that asks here.
    pub async fn admits(&self, path: &str, client: IpAddr) -> bool {
        match self.limiters.of(path).1 {
            Some(limiter) => limiter.admit(client).await.is_ok(),
            None => true,
        }
    }

    /// Once a second, in the runtime: forgets clients that have been quiet long enough to be like new,
    /// and sees to the connection to Redis.
    pub fn sweep(&self) {
        self.limiters.sweep();
        let tracked = whole(self.limiters.tracked());
        self.metrics.load.clients_tracked.set(tracked);
    }
}

fn by_path(routes: &[Arc<Route>]) -> matchit::Router<Arc<Route>> {
    let mut by_path = matchit::Router::new();
    for route in routes {
        // Paths have been checked for conflicts.
        let _ = by_path.insert(route.settings.path.to_string(), route.clone());
    }
    by_path
}
