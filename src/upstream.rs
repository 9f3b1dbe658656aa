//! Calls to upstream services: one call is a request, a permit to make it, a connection, and a reply
//! that has been checked.
//!
//! What a reply is worth to a gather, and what a client is told, is decided elsewhere.

mod addresses;
mod body;
mod breaker;
mod buffers;
mod call;
mod complaints;
mod connections;
mod dial;
mod exchange;
mod failure;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http1;
mod http2;
mod json;
mod latencies;
mod permits;
mod progress;
mod request;
mod stream;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::breaker::Breaker;
pub use self::buffers::{Buffers, Reservation, Share, for_every_client};
pub use self::call::{Call, HeldBack, Reply};
use self::complaints::Complaints;
use self::connections::Connections;
pub use self::failure::{Failure, Kind};
pub use self::json::is_document;
pub use self::latencies::Latencies;
pub use self::permits::Permit;
use self::permits::Permits;
use self::request::Template;
pub use self::request::{Request, Stages};
use crate::config::{Problem, UpstreamSettings};
use crate::metrics::{Metrics, UpstreamMetrics};
use crate::names::Names;
use crate::trust::fingerprint;

/// Bytes of a reply's head, over either protocol.
const MAX_HEAD: usize = 128 * 1024;
/// Interim replies (1xx) before a reply.
const MAX_INTERIM: usize = 32;

/// What every upstream of one process shares, across reloads.
#[derive(Clone)]
pub struct SharedByUpstreams {
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
    template: Template,
    connections: Arc<Connections>,
    complaints: Complaints,
    permits: Permits,
    breaker: Option<Arc<Breaker>>,
    /// Until then it has asked for patience (`retry-after`).
    patience: Mutex<Option<Instant>>,
    metrics: Arc<UpstreamMetrics>,
    common: SharedByUpstreams,
}

impl Upstream {
    /// An upstream as configured. Connects to nothing yet.
    ///
    /// # Errors
    /// When its certificate authorities cannot be read.
    pub fn new(
        settings: &UpstreamSettings,
        common: SharedByUpstreams,
    ) -> Result<Arc<Self>, Problem> {
        let metrics = common.metrics.upstream(&settings.name, &Kind::NAMES);
        let names = common.names.clone();
        Ok(Arc::new(Self {
            template: Template::new(settings),
            connections: Connections::new(settings, names, metrics.clone())?,
            complaints: Complaints::default(),
            permits: Permits::new(settings.max_calls, settings.max_wait),
            breaker: settings
                .breaker
                .as_ref()
                .map(|it| Breaker::new(it, metrics.clone())),
            patience: Mutex::default(),
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
    let is_secure = settings.is_secure();
    is_secure.then(|| fingerprint(&settings.ca)).flatten()
}
