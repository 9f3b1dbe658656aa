//! How often a client may ask: a token bucket for each, kept by tower_governor.
//!
//! Its own layer is not used: it knows no exempt clients and no answers of ours. This one asks the
//! limiter that its configuration made, by a key of ours.

mod tracked;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::{HeaderName, HeaderValue, Request, StatusCode};
use governor::clock::{Clock, DefaultClock, QuantaInstant};
use governor::middleware::NoOpMiddleware;
use parking_lot::Mutex;
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

use self::tracked::Tracked;
use super::context::Context;
use super::problem::{ProblemDetails, ProblemKind};
use crate::client::ClientKey;
use crate::config::{RateLimitSettings, RouteRateLimit, Settings};

/// draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4.
pub(super) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How often at most the log tells of clients that a dry run would refuse.
const DRY_RUN_LOGGED: Duration = Duration::from_secs(1);
/// How many clients there are place for, for each network that late ones share buckets by.
const CLIENTS_PER_NETWORK: usize = 16;
/// Networks that new clients share buckets by when there are too many clients (bits).
const COARSE_IPV4: u8 = 24;
const COARSE_IPV6: u8 = 48;

/// The limiters of one snapshot: the shared one, and those of routes that have their own.
#[derive(Default)]
pub(super) struct Limiters {
    shared: Option<Limiter>,
    /// By path; none where a route has no limit.
    own: matchit::Router<Option<Limiter>>,
    /// The same, to be kept by a later snapshot.
    kept: Vec<(Arc<str>, Limiter)>,
}

impl Limiters {
    /// The limiters that the settings name. What those `before` counted is kept where the quota is
    /// the same.
    pub(super) fn new(settings: &Settings, before: Option<&Self>) -> Self {
        let shared = before.and_then(|before| before.shared.as_ref());
        let mut limiters = Self {
            shared: settings
                .rate_limit
                .as_ref()
                .map(|limit| Limiter::new("client", limit, shared)),
            ..Self::default()
        };
        for route in &settings.routes {
            let limiter = match &route.rate_limit {
                RouteRateLimit::Shared => continue,
                RouteRateLimit::Off => None,
                RouteRateLimit::Own(limit) => {
                    let own = before.and_then(|before| before.own(&route.path));
                    let limiter = Limiter::new(&route.path, limit, own);
                    limiters.kept.push((route.path.clone(), limiter.clone()));
                    Some(limiter)
                }
            };
            // Paths have been checked for conflicts.
            let _ = limiters.own.insert(route.path.to_string(), limiter);
        }
        limiters
    }

    fn own(&self, path: &str) -> Option<&Limiter> {
        self.kept
            .iter()
            .find(|(kept, _)| kept.as_ref() == path)
            .map(|(_, limiter)| limiter)
    }

    /// The limiter of a request's path: the route's own, or the shared one, which unknown paths go
    /// by too.
    pub(super) fn of(&self, path: &str) -> Option<&Limiter> {
        match self.own.at(path) {
            Ok(own) => own.value.as_ref(),
            Err(_) => self.shared.as_ref(),
        }
    }

    /// Forgets clients whose bucket is full again.
    pub(super) fn sweep(&self) {
        self.shared
            .iter()
            .chain(self.kept.iter().map(|(_, own)| own))
            .for_each(Limiter::sweep);
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

/// What one quota has counted.
struct Buckets {
    governor: Governor,
    tracked: Tracked<ClientKey>,
    /// For networks, when there are too many clients.
    coarse: Governor,
    tracked_networks: Tracked<ClientKey>,
    clock: DefaultClock,
    /// Admitted by a dry run since the log last said so, and when that was.
    dry_run: Mutex<(u64, Option<Instant>)>,
}

type Governor = GovernorConfig<ByClient, NoOpMiddleware<QuantaInstant>>;

/// The key of the client that the outermost layer found.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ByClient {
    ipv6_prefix: u8,
}

impl KeyExtractor for ByClient {
    type Key = ClientKey;

    fn extract<T>(&self, request: &Request<T>) -> Result<Self::Key, GovernorError> {
        let context = request.extensions().get::<Arc<Context>>();
        let context = context.ok_or(GovernorError::UnableToExtractKey)?;
        Ok(ClientKey::new(context.client, self.ipv6_prefix))
    }
}

impl Limiter {
    /// A limiter as configured, with the counts of `before` if its quota is the same.
    fn new(name: &str, settings: &RateLimitSettings, before: Option<&Self>) -> Self {
        let quota =
            |limit: &RateLimitSettings| (limit.requests_per_second, limit.burst, limit.ipv6_prefix);
        let kept = before.filter(|before| quota(&before.settings) == quota(settings));
        let buckets = kept.map(|kept| kept.buckets.clone());
        Self {
            name: name.into(),
            settings: settings.clone(),
            buckets: buckets.unwrap_or_else(|| Arc::new(Buckets::new(settings))),
        }
    }

    /// Takes a token of the client that asks.
    ///
    /// # Errors
    /// 429 with the time after which the same client is admitted.
    pub(super) fn admit<T>(&self, request: &Request<T>) -> Result<(), ProblemDetails> {
        let context = request.extensions().get::<Arc<Context>>();
        let client = context.ok_or_else(ProblemDetails::internal)?.client;
        if self.settings.is_exempt(client) {
            return Ok(());
        }
        let by_client = ByClient {
            ipv6_prefix: self.settings.ipv6_prefix,
        };
        let key = by_client
            .extract(request)
            .map_err(|_| ProblemDetails::internal())?;
        match self.buckets.take(key, client, self.settings.max_clients) {
            Ok(()) => Ok(()),
            Err(_) if self.settings.dry_run => {
                self.buckets.log_dry_run(key, &self.name);
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

impl Buckets {
    fn new(settings: &RateLimitSettings) -> Self {
        // By then an empty bucket is full.
        let period =
            Duration::from_secs_f64(f64::from(settings.burst) / settings.requests_per_second);
        Self {
            governor: governor(settings),
            tracked: Tracked::new(period),
            coarse: governor(settings),
            tracked_networks: Tracked::new(period),
            clock: DefaultClock::default(),
            dry_run: Mutex::default(),
        }
    }

    /// Takes a token, or says how long to wait for one.
    fn take(&self, key: ClientKey, client: IpAddr, most: usize) -> Result<(), Duration> {
        let taken = if self.tracked.admit(key, most) {
            self.governor.limiter().check_key(&key)
        } else {
            let network = ClientKey::network(client, COARSE_IPV4, COARSE_IPV6);
            let known = self
                .tracked_networks
                .admit(network, most.div_ceil(CLIENTS_PER_NETWORK));
            // With as many networks as clients too, those that are left over are one.
            let network = if known {
                network
            } else {
                ClientKey::network(client, 0, 0)
            };
            self.coarse.limiter().check_key(&network)
        };
        taken.map_err(|refused| refused.wait_time_from(self.clock.now()))
    }

    fn log_dry_run(&self, key: ClientKey, limiter: &str) {
        let mut dry_run = self.dry_run.lock();
        dry_run.0 += 1;
        if dry_run
            .1
            .is_none_or(|logged| logged.elapsed() >= DRY_RUN_LOGGED)
        {
            let requests = std::mem::take(&mut dry_run.0);
            dry_run.1 = Some(Instant::now());
            tracing::warn!(client.key = %key, limiter, requests, "over their rate, admitted by dry_run");
        }
    }

    fn sweep(&self) {
        if self.tracked.turn() {
            self.governor.limiter().retain_recent();
            self.governor.limiter().shrink_to_fit();
        }
        if self.tracked_networks.turn() {
            self.coarse.limiter().retain_recent();
            self.coarse.limiter().shrink_to_fit();
        }
    }
}

fn governor(settings: &RateLimitSettings) -> Governor {
    let key = ByClient {
        ipv6_prefix: settings.ipv6_prefix,
    };
    // The builder's own `per_second(n)` means one token every n seconds.
    let period = Duration::from_secs_f64(1.0 / settings.requests_per_second);
    GovernorConfigBuilder::default()
        .period(period)
        .burst_size(settings.burst)
        .key_extractor(key)
        .finish()
        .expect("settings have a burst of at least 1 and a rate of at most a million")
}

/// A header of plain ASCII.
pub(super) fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("?"))
}
