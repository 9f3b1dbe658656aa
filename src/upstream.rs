//! Calls to upstream services: one call is a request, a permit to make it, a connection, and a reply
//! that has been checked.
//!
//! What a reply is worth to a gather, and what a client is told, is decided elsewhere.

mod body;
mod buffers;
mod call;
mod clients;
mod failure;
mod json;
mod lookup;
mod permits;

use std::sync::Arc;

use ::http::HeaderMap;
use ::http::header::{ACCEPT, ACCEPT_ENCODING, HOST, HeaderValue, USER_AGENT};
use tokio_util::task::TaskTracker;

pub use self::buffers::{Buffers, Reservation, Share};
pub use self::call::{Call, Reply, Request};
use self::clients::Clients;
pub use self::failure::{Failure, Kind};
pub use self::json::is_document;
use self::lookup::Lookup;
pub use self::permits::Permit;
use self::permits::Permits;
use crate::config::{Problem, UpstreamSettings};
use crate::metrics::{Metrics, UpstreamMetrics};
use crate::names::Names;
use crate::trust::fingerprint;

/// Usual headers of a call besides the fixed ones.
const HEADERS_OF_A_CALL: usize = 6;

/// What every upstream of one process shares, across reloads.
#[derive(Clone)]
pub struct Common {
    /// Bytes of replies held at once.
    pub buffers: Arc<Buffers>,
    /// Names to addresses.
    pub names: Names,
    /// Where calls that linger run, so that drain knows of them.
    pub lingering: TaskTracker,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// One HTTP service that is called.
pub struct Upstream {
    settings: UpstreamSettings,
    /// Changes with its certificate authorities.
    authorities: Option<u64>,
    /// Sent with every call.
    headers: HeaderMap,
    clients: Clients,
    permits: Permits,
    metrics: Arc<UpstreamMetrics>,
    common: Common,
}

impl Upstream {
    /// An upstream as configured. Connects to nothing yet.
    ///
    /// # Errors
    /// When its certificate authorities cannot be read.
    pub fn new(settings: &UpstreamSettings, common: Common) -> Result<Arc<Self>, Problem> {
        let metrics = common.metrics.upstream(&settings.name, &Kind::NAMES);
        let lookup = Lookup {
            url: settings.url.clone(),
            names: common.names.clone(),
            metrics: metrics.clone(),
        };
        Ok(Arc::new(Self {
            headers: fixed_headers(settings),
            clients: Clients::new(settings, lookup)?,
            permits: Permits::new(settings.max_calls, settings.max_wait),
            metrics,
            authorities: authorities(settings),
            settings: settings.clone(),
            common,
        }))
    }

    /// Whether one made from `settings` now would be the same: files are looked at again.
    #[must_use]
    pub fn is_made_from(&self, settings: &UpstreamSettings) -> bool {
        self.settings == *settings && self.authorities == authorities(settings)
    }

    /// Whether its certificate authorities are other than those of `before`.
    #[must_use]
    pub fn trusts_others_than(&self, before: &Self) -> bool {
        self.authorities != before.authorities
    }

    /// What it was made from.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }
}

/// A number that changes with who vouches for the upstream over TLS.
fn authorities(settings: &UpstreamSettings) -> Option<u64> {
    let is_secure = settings.url.scheme() == "https";
    is_secure.then(|| fingerprint(&settings.ca)).flatten()
}

/// What every call to this upstream carries besides its own headers (contract, section 3).
fn fixed_headers(settings: &UpstreamSettings) -> HeaderMap {
    let agent = concat!("gatherd/", env!("CARGO_PKG_VERSION"));
    let ours = [
        (ACCEPT, HeaderValue::from_static("application/json")),
        (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        (USER_AGENT, HeaderValue::from_static(agent)),
    ];
    // HTTP/2 has it in the URLs.
    let host = settings.is_http1().then(|| {
        let host = HeaderValue::from_str(settings.url.authority());
        (
            HOST,
            host.expect("the host of a URL is made ASCII when it is read"),
        )
    });
    // Room for those of a call too, so that its copy need not grow.
    let mut headers =
        HeaderMap::with_capacity(ours.len() + settings.headers.len() + HEADERS_OF_A_CALL);
    headers.extend(host);
    headers.extend(ours.into_iter().chain(settings.headers.iter().cloned()));
    headers
}
