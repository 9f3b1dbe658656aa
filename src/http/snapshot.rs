//! What one request uses from its start to its end, whatever is reloaded meanwhile.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::cache::AnswerCache;
use super::in_flight::InFlight;
use super::limiter::Limiters;
use super::route::{Route, Routed};
use crate::config::{
    AccessLog, AccessSettings, ClientSettings, Problems, RouteSettings, ServerSettings, Settings,
};
use crate::metrics::{Metrics, RequestMetrics, whole};
use crate::upstream::{SharedByUpstreams, Upstream};

/// How often at most the log warns of forwarding headers that are not believed.
const FORWARDING_WARNED: Duration = Duration::from_secs(60);

/// The part of `max_buffered` that the caches of all routes may hold together: one over this.
const CACHED: usize = 4;

/// The snapshot that new requests load.
pub type Current = Arc<ArcSwap<Snapshot>>;

/// Routes, upstreams and limits: one immutable value.
pub struct Snapshot {
    pub(super) server: ServerSettings,
    pub(super) access: AccessSettings,
    pub(super) clients: ClientSettings,
    pub(super) limiters: Limiters,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) access_log: AccessLog,
    /// Whether responses over HTTPS say that there is no other way.
    pub(super) hsts: bool,
    /// By path.
    routes: matchit::Router<Arc<Route>>,
    /// Those with a cache.
    cached: Vec<Arc<Route>>,
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
        common: &SharedByUpstreams,
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
        let routes = routes(settings, &upstreams, &limiters, &common.metrics, before);
        Ok(Self {
            access_log: settings.log.access,
            hsts: settings.tls.as_ref().is_some_and(|tls| tls.hsts),
            routes: by_path(&routes),
            cached: routes
                .iter()
                .filter(|it| it.cache.is_some())
                .cloned()
                .collect(),
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

    /// The route whose path is written so.
    fn route_of(&self, path: &str) -> Option<&Route> {
        let route = self.routes.at(path).ok()?.value;
        (*route.settings.path == *path).then_some(route)
    }

    /// The route that has this path, and the path's parameters.
    pub(super) fn route(&self, path: &str) -> Option<Routed> {
        let found = self.routes.at(path).ok()?;
        let parameters = found.params.iter();
        Some(Routed {
            route: found.value.clone(),
            parameters: parameters
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        })
    }

    /// Says now and then that a peer sends `X-Forwarded-For` that is not believed: an attacker, or
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
        let routed = self.route(path);
        let limiter = match &routed {
            Some(routed) => routed.route.limiter.as_ref(),
            None => self.limiters.shared(),
        };
        match limiter {
            Some(limiter) => limiter.admit(client).await.is_ok(),
            None => true,
        }
    }

    /// Once a second, in the runtime: forgets clients that have been quiet long enough to be like new,
    /// and sees to the connection to Redis.
    pub fn sweep(&self) {
        self.limiters.sweep();
        let caches = self.cached.iter().filter_map(|route| route.cache.as_ref());
        caches.for_each(AnswerCache::sweep);
        let tracked = whole(self.limiters.tracked());
        self.metrics.load.clients_tracked.set(tracked);
    }
}

/// The routes, each with what it shares with the same route of `before`.
fn routes(
    settings: &Settings,
    upstreams: &[Arc<Upstream>],
    limiters: &Limiters,
    metrics: &Metrics,
    before: Option<&Snapshot>,
) -> Vec<Arc<Route>> {
    let caching = settings.routes.iter().filter(|it| it.cache.is_some());
    let most_cached = settings.server.max_buffered / CACHED / caching.count().max(1);
    let failure_status = settings.server.failure_status;
    let route = |(index, route): (usize, &RouteSettings)| {
        Arc::new(Route::new(
            route,
            upstreams,
            failure_status,
            most_cached,
            limiters.of_route(index).cloned(),
            metrics,
            before.and_then(|before| before.route_of(&route.path)),
        ))
    };
    settings.routes.iter().enumerate().map(route).collect()
}

fn by_path(routes: &[Arc<Route>]) -> matchit::Router<Arc<Route>> {
    let mut by_path = matchit::Router::new();
    for route in routes {
        // Paths have been checked for conflicts.
        let _ = by_path.insert(route.settings.path.to_string(), route.clone());
    }
    by_path
}
