//! How often a client may ask: a token bucket for each, kept by tower_governor.
//!
//! Its own layer is not used: it knows no exempt clients and no answers of ours. This one asks the
//! limiter that its configuration made, by a key of ours.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Request, StatusCode};
use governor::clock::{Clock, DefaultClock, QuantaInstant};
use governor::middleware::NoOpMiddleware;
use tower_governor::GovernorError;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;

use super::context::Context;
use super::problem::{ProblemDetails, ProblemKind};
use crate::client::ClientKey;
use crate::config::RateLimitSettings;

/// draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4.
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The limiter of one snapshot; what it counted is shared with a later one of the same quota.
#[derive(Clone)]
pub(super) struct Limiter {
    settings: RateLimitSettings,
    governor: Arc<Governor>,
    clock: DefaultClock,
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
    pub(super) fn new(settings: &RateLimitSettings, before: Option<&Self>) -> Self {
        let same_quota = |before: &&Self| {
            RateLimitSettings {
                exempt: settings.exempt.clone(),
                ..before.settings.clone()
            } == *settings
        };
        match before.filter(same_quota) {
            Some(before) => Self {
                settings: settings.clone(),
                ..before.clone()
            },
            None => Self {
                governor: Arc::new(governor(settings)),
                clock: DefaultClock::default(),
                settings: settings.clone(),
            },
        }
    }

    /// Takes a token of the client that asks.
    ///
    /// # Errors
    /// 429 with the time after which the same client is admitted.
    pub(super) fn admit<T>(&self, request: &Request<T>) -> Result<(), ProblemDetails> {
        let context = request.extensions().get::<Arc<Context>>();
        let client = context.ok_or_else(ProblemDetails::internal)?.client;
        if self.settings.exempt.iter().any(|net| net.contains(&client)) {
            return Ok(());
        }
        let key = ByClient {
            ipv6_prefix: self.settings.ipv6_prefix,
        }
        .extract(request)
        .map_err(|_| ProblemDetails::internal())?;
        match self.governor.limiter().check_key(&key) {
            Ok(()) => Ok(()),
            Err(refused) => Err(self.refusal(refused.wait_time_from(self.clock.now()))),
        }
    }

    /// Forgets clients whose bucket is full again.
    pub(super) fn sweep(&self) {
        self.governor.limiter().retain_recent();
        self.governor.limiter().shrink_to_fit();
    }

    fn refusal(&self, wait: Duration) -> ProblemDetails {
        // Rounded up, so that a client that waits this long is admitted; never 0.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0 || wait.is_zero());
        let burst = self.settings.burst;
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
            header(&format!("\"client\";q={burst};w={window}")),
        )
        .with_header(RATELIMIT, header(&format!("\"client\";r=0;t={seconds}")))
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

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits and punctuation are a header value")
}
