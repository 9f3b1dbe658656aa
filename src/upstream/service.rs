//! One upstream service: its settings, connections, permits and breaker.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::breaker::Breaker;
use super::buffers::Buffers;
use super::complaints::Complaints;
use super::connections::Connections;
use super::failure::Kind;
use super::permits::Permits;
use super::request::Template;
use crate::config::{Problem, UpstreamSettings};
use crate::metrics::{Metrics, UpstreamMetrics};
use crate::names::Names;
use crate::trust::fingerprint;

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
    pub(super) settings: UpstreamSettings,
    /// Changes with its certificate authorities.
    pub(super) authorities: Option<u64>,
    pub(super) template: Template,
    pub(super) connections: Arc<Connections>,
    pub(super) complaints: Complaints,
    pub(super) permits: Permits,
    pub(super) breaker: Option<Arc<Breaker>>,
    /// Until then it has asked for patience (`retry-after`).
    pub(super) patience: Mutex<Option<Instant>>,
    pub(super) metrics: Arc<UpstreamMetrics>,
    pub(super) common: SharedByUpstreams,
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
