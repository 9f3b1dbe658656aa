//! How often a client may ask: a token bucket for each, kept by tower_governor.
//!
//! Its own layer is not used: it knows no exempt clients and no answers of ours. This one asks the
//! limiter that its configuration made, by a key of ours.

mod buckets;
mod tracked;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, StatusCode};

use self::buckets::{Buckets, Rooms};
use super::problem::{ProblemDetails, ProblemKind};
use crate::config::{RateLimitSettings, RouteRateLimit, Settings};

/// draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4.
pub(super) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The limiters of one snapshot: the shared one, and those of routes that have their own.
#[derive(Default)]
pub(super) struct Limiters {
    shared: Option<Limiter>,
    /// In the order of the settings.
    routes: Vec<RouteLimit>,
    /// The index of a path's route.
    paths: matchit::Router<usize>,
    rooms: Rooms,
}

/// What the requests of one route go by.
struct RouteLimit {
    path: Arc<str>,
    limit: Limit,
}

enum Limit {
    Shared,
    Own(Limiter),
    Off,
}

/// Whether a path is a route's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// A route's: GET and HEAD gather.
    Route,
    /// Nobody's.
    Unknown,
}

impl Limiters {
    /// The limiters that the settings name. What those `before` counted is kept where the quota is
    /// the same.
    pub(super) fn new(settings: &Settings, before: Option<&Self>) -> Self {
        let rooms = before
            .map(|before| before.rooms.clone())
            .unwrap_or_default();
        let limiter = |name: &str, limit, before| Limiter::new(name, limit, &rooms, before);
        let shared = before.and_then(|before| before.shared.as_ref());
        let shared = settings
            .rate_limit
            .as_ref()
            .map(|limit| limiter("client", limit, shared));
        let routes = settings.routes.iter().map(|route| RouteLimit {
            path: route.path.clone(),
            limit: match &route.rate_limit {
                RouteRateLimit::Shared => Limit::Shared,
                RouteRateLimit::Off => Limit::Off,
                RouteRateLimit::Own(limit) => {
                    let own = before.and_then(|before| before.own(&route.path));
                    Limit::Own(limiter(&route.path, limit, own))
                }
            },
        });
        let routes: Vec<_> = routes.collect();
        let mut paths = matchit::Router::new();
        for (index, route) in routes.iter().enumerate() {
            // Paths have been checked for conflicts.
            let _ = paths.insert(route.path.to_string(), index);
        }
        Self {
            shared,
            routes,
            paths,
            rooms,
        }
    }

    fn own(&self, path: &str) -> Option<&Limiter> {
        let route = self
            .routes
            .iter()
            .find(|route| route.path.as_ref() == path)?;
        route.limit.own()
    }

    /// Whose a request's path is, and its limiter: the route's own, or the shared one, which unknown
    /// paths go by too.
    pub(super) fn of(&self, path: &str) -> (Path, Option<&Limiter>) {
        let Ok(index) = self.paths.at(path) else {
            return (Path::Unknown, self.shared.as_ref());
        };
        let limiter = match &self.routes[*index.value].limit {
            Limit::Shared => self.shared.as_ref(),
            Limit::Own(own) => Some(own),
            Limit::Off => None,
        };
        (Path::Route, limiter)
    }

    /// Forgets clients whose bucket is full again.
    pub(super) fn sweep(&self) {
        let own = self.routes.iter().filter_map(|route| route.limit.own());
        self.shared.iter().chain(own).for_each(Limiter::sweep);
    }
}

impl Limit {
    fn own(&self) -> Option<&Limiter> {
        match self {
            Self::Own(limiter) => Some(limiter),
            Self::Shared | Self::Off => None,
        }
    }
}

/// One limiter; clones share what was counted.
#[derive(Clone)]
pub(super) struct Limiter {
    /// The policy's name: "client", or the route's path.
    name: Arc<str>,
    settings: RateLimitSettings,
    buckets: Arc<Buckets>,
}

impl Limiter {
    /// A limiter as configured, with the counts of `before` if its quota is the same.
    fn new(name: &str, settings: &RateLimitSettings, rooms: &Rooms, before: Option<&Self>) -> Self {
        let quota =
            |limit: &RateLimitSettings| (limit.requests_per_second, limit.burst, limit.ipv6_prefix);
        let kept = before.filter(|before| quota(&before.settings) == quota(settings));
        let buckets = kept.map(|kept| kept.buckets.clone());
        Self {
            name: name.into(),
            settings: settings.clone(),
            buckets: buckets.unwrap_or_else(|| Arc::new(Buckets::new(settings, rooms))),
        }
    }

    /// Takes a token of the client that asks.
    ///
    /// # Errors
    /// 429 with the time after which the same client is admitted.
    pub(super) fn admit(&self, client: IpAddr) -> Result<(), ProblemDetails> {
        if self.settings.is_exempt(client) {
            return Ok(());
        }
        match self.buckets.take(client, self.settings.max_clients) {
            Ok(()) => Ok(()),
            Err(_) if self.settings.dry_run => {
                self.buckets.log_dry_run(client, &self.name);
                Ok(())
            }
            Err(wait) => Err(self.refusal(wait)),
        }
    }

    fn sweep(&self) {
        self.buckets.sweep();
    }

    fn refusal(&self, wait: Duration) -> ProblemDetails {
        // Rounded up, so that a client that waits this long is admitted; never 0.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0 || wait.is_zero());
        let burst = self.settings.burst;
        let name = &self.name;
        let window = (f64::from(burst) / self.settings.requests_per_second)
            .ceil()
            .max(1.0);
        let detail = format!(
            "more than {} requests a second (at most {burst} at once) from this client",
            self.settings.requests_per_second
        );
        ProblemDetails::new(
            ProblemKind::RateLimited,
            StatusCode::TOO_MANY_REQUESTS,
            detail,
        )
        .with_retry_after(seconds)
        .with_header(
            RATELIMIT_POLICY,
            header(&format!("\"{name}\";q={burst};w={window}")),
        )
        .with_header(RATELIMIT, header(&format!("\"{name}\";r=0;t={seconds}")))
    }
}

/// A header of plain ASCII.
pub(super) fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("?"))
}
