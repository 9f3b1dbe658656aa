//! How often a client may ask: a token bucket for each, kept by tower_governor.
//!
//! Its layer is not used: it can neither exempt a client, nor count without refusing (`dry_run`), nor share
//! buckets when there are too many clients. This one asks the limiter that its configuration made. Where hosts share a quota, Redis decides, and
//! this host's buckets are charged alongside, so that they are warm when Redis is away.

mod buckets;
mod refusals;
mod shared;
mod tracked;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;

use self::buckets::{Bucket, Buckets, Rooms, Verdict};
use self::shared::{Quota, SharedCount, Unavailable};
use super::problem::{ProblemDetails, ProblemKind, RATELIMIT, RATELIMIT_POLICY, header};
use crate::config::{Problem, RateLimitSettings, RouteRateLimit, Settings, WithoutRedis};
use crate::metrics::SharedCheck;
use crate::upstream::SharedByUpstreams;

/// The limiters of one snapshot: the shared one, and those of routes that have their own.
#[derive(Default)]
pub(super) struct Limiters {
    shared: Option<Limiter>,
    /// In the order of the settings.
    routes: Vec<RouteLimit>,
    rooms: Rooms,
    /// Counts for all hosts, if one does.
    redis: Option<Arc<SharedCount>>,
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

/// How an admitted request stands to its client's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// Within it, or there is none.
    Within,
    /// Over it; `dry_run` admits it all the same.
    OverInDryRun,
}

impl Limiters {
    /// The limiters that the settings name. What those `before` counted is kept where the quota is
    /// the same, and so is the connection to Redis where it is the same.
    ///
    /// # Errors
    /// When the certificate authorities for Redis cannot be read.
    pub(super) fn new(
        settings: &Settings,
        common: &SharedByUpstreams,
        before: Option<&Self>,
    ) -> Result<Self, Problem> {
        let redis = redis(settings, common, before)?;
        let rooms = before
            .map(|before| before.rooms.clone())
            .unwrap_or_default();
        let limiter = |name: &str, limit, before| {
            Limiter::new(name, limit, &rooms, before).counting_in(redis.as_ref())
        };
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
        Ok(Self {
            shared,
            routes,
            rooms,
            redis,
        })
    }

    fn own(&self, path: &str) -> Option<&Limiter> {
        let route = self
            .routes
            .iter()
            .find(|route| route.path.as_ref() == path)?;
        route.limit.own()
    }

    /// The limiter of paths that no route has.
    pub(super) fn shared(&self) -> Option<&Limiter> {
        self.shared.as_ref()
    }

    /// The limiter of a route by its index: its own, or the shared one.
    pub(super) fn of_route(&self, index: usize) -> Option<&Limiter> {
        match &self.routes.get(index)?.limit {
            Limit::Shared => self.shared.as_ref(),
            Limit::Own(own) => Some(own),
            Limit::Off => None,
        }
    }

    /// How many clients and networks have a bucket.
    pub(super) fn tracked(&self) -> usize {
        self.rooms.taken()
    }

    /// Forgets clients whose bucket is full again, and sees to it that Redis is connected.
    pub(super) fn sweep(&self) {
        if let Some(redis) = &self.redis {
            redis.start();
        }
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

/// The connection to Redis that the settings name: the one of before, if it is the same.
fn redis(
    settings: &Settings,
    common: &SharedByUpstreams,
    before: Option<&Limiters>,
) -> Result<Option<Arc<SharedCount>>, Problem> {
    let Some(shared) = &settings.shared_limits else {
        return Ok(None);
    };
    let before = before.and_then(|before| before.redis.clone());
    match before.filter(|before| before.is_made_from(shared)) {
        Some(kept) => Ok(Some(kept)),
        None => SharedCount::new(shared, common).map(Some),
    }
}

/// One limiter; clones share what was counted.
#[derive(Clone)]
pub(super) struct Limiter {
    /// The policy's name: "client", or the route's path.
    name: Arc<str>,
    settings: RateLimitSettings,
    buckets: Arc<Buckets>,
    /// Where all hosts count together, and by which quota.
    redis: Option<(Arc<SharedCount>, Quota)>,
}

impl Limiter {
    /// A limiter as configured, with the counts of `before` if its quota is the same.
    fn new(name: &str, settings: &RateLimitSettings, rooms: &Rooms, before: Option<&Self>) -> Self {
        let quota = |limit: &RateLimitSettings| {
            let whole = (limit.requests_per_second, limit.burst, limit.instances);
            (whole, limit.ipv6_prefix)
        };
        let kept = before.filter(|before| quota(&before.settings) == quota(settings));
        let buckets = kept.map(|kept| kept.buckets.clone());
        Self {
            name: name.into(),
            settings: settings.clone(),
            buckets: buckets.unwrap_or_else(|| Arc::new(Buckets::new(settings, rooms))),
            redis: None,
        }
    }

    /// The same, for all hosts that count there.
    fn counting_in(self, redis: Option<&Arc<SharedCount>>) -> Self {
        let quota = Quota::new(self.settings.requests_per_second, self.settings.burst);
        Self {
            redis: redis.map(|redis| (redis.clone(), quota)),
            ..self
        }
    }

    /// Takes a token of the client that asks.
    ///
    /// # Errors
    /// 429 with the time after which the same client is admitted; 503 when Redis is away and no request is
    /// admitted without it.
    pub(super) async fn admit(&self, client: IpAddr) -> Result<Rate, ProblemDetails> {
        if self.settings.is_exempt(client) {
            return Ok(Rate::Within);
        }
        let bucket = self.buckets.of(client, self.settings.max_clients);
        match self.decide(bucket).await {
            Ok(Verdict::Admitted) => Ok(Rate::Within),
            _ if self.settings.dry_run => {
                self.buckets.log_dry_run(client, &self.name);
                Ok(Rate::OverInDryRun)
            }
            Ok(Verdict::Refused(wait)) => Err(self.refusal(wait)),
            Err(Unavailable) => {
                let detail = "the rate limit of this client cannot be checked now";
                Err(ProblemDetails::overloaded(detail))
            }
        }
    }

    async fn decide(&self, bucket: Bucket) -> Result<Verdict, Unavailable> {
        let Some((redis, quota)) = &self.redis else {
            return Ok(self.buckets.take(bucket));
        };
        if let Some(left) = self.buckets.refusals.of(&bucket) {
            redis.metrics().checked(SharedCheck::Remembered);
            return Ok(Verdict::Refused(left));
        }
        // Boxed, so that requests are small where there is no Redis.
        let taken = Box::pin(redis.take(&self.name, bucket, *quota)).await;
        match (taken, redis.settings().on_error) {
            (Ok(Verdict::Refused(wait)), _) => {
                self.buckets.refusals.remember(bucket, wait);
                // What this host has not seen was used up at others. Without it, each would give a
                // client that is over its rate a burst of its own at every hiccup of Redis.
                self.buckets.empty(bucket);
                Ok(Verdict::Refused(wait))
            }
            (Ok(Verdict::Admitted), _) | (Err(Unavailable), WithoutRedis::Allow) => {
                // Charged only: what other hosts admitted is not known here.
                self.buckets.take(bucket);
                Ok(Verdict::Admitted)
            }
            (Err(Unavailable), WithoutRedis::Local) => Ok(self.buckets.take(bucket)),
            (Err(Unavailable), WithoutRedis::Deny) => Err(Unavailable),
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

#[cfg(test)]
mod tests;
