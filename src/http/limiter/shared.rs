//! The count that all hosts share, in Redis or Valkey; with it, they admit together what one would.
//!
//! It says what Redis says. The caller decides what to do without it.

mod connection;
mod redis_reconnect;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio_util::task::AbortOnDropHandle;

use self::connection::{Connection, Connector};
use self::redis_reconnect::RedisReconnect;
use super::buckets::Verdict;
use crate::config::{Problem, SharedLimitSettings};
use crate::metrics::{SharedCheck, SharedLimitMetrics};
use crate::trust::fingerprint;
use crate::upstream::SharedByUpstreams;

pub(super) use self::connection::Quota;

/// The connection to Redis that the limiters of a snapshot share.
pub(super) struct SharedCount {
    settings: SharedLimitSettings,
    /// Changes with its certificate authorities.
    authorities: Option<u64>,
    connector: Connector,
    /// None while Redis is away.
    connection: Arc<ArcSwapOption<Connection>>,
    reconnect: OnceLock<AbortOnDropHandle<()>>,
    metrics: Arc<SharedLimitMetrics>,
}

/// Redis did not answer in time, or with an error, or there is no connection to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unavailable;

impl SharedCount {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read.
    pub(super) fn new(
        settings: &SharedLimitSettings,
        common: &SharedByUpstreams,
    ) -> Result<Arc<Self>, Problem> {
        Ok(Arc::new(Self {
            settings: settings.clone(),
            authorities: trusted(settings),
            connector: Connector::new(&settings.redis, common.names.clone())?,
            connection: Arc::default(),
            reconnect: OnceLock::new(),
            metrics: common.metrics.shared_limit(),
        }))
    }

    /// What it was made of.
    pub(super) fn settings(&self) -> &SharedLimitSettings {
        &self.settings
    }

    /// Whether one made from `settings` now would be the same: files are looked at again.
    pub(super) fn is_made_from(&self, settings: &SharedLimitSettings) -> bool {
        self.settings == *settings && self.authorities == trusted(settings)
    }

    /// What is counted of it.
    pub(super) fn metrics(&self) -> &SharedLimitMetrics {
        &self.metrics
    }

    /// Begins to connect, and sees to it from now on. Needs the runtime.
    pub(super) fn start(&self) {
        self.reconnect.get_or_init(|| {
            let reconnect = RedisReconnect {
                connector: self.connector.clone(),
                settings: self.settings.clone(),
                published: self.connection.clone(),
                metrics: self.metrics.clone(),
            };
            AbortOnDropHandle::new(tokio::spawn(reconnect.keep()))
        });
    }

    /// Takes a token of a client's bucket in the limiter of this name.
    ///
    /// # Errors
    /// When Redis cannot be asked, or does not answer within the limit of one request.
    pub(super) async fn take(
        &self,
        limiter: &str,
        bucket: impl std::fmt::Display,
        quota: Quota,
    ) -> Result<Verdict, Unavailable> {
        let connection = self.connection.load_full();
        let Some(connection) = connection.filter(|connection| connection.is_trusted()) else {
            self.metrics.checked(SharedCheck::Away);
            return Err(Unavailable);
        };
        let key = format!("{}{limiter}:{bucket}", self.settings.key_prefix);
        let began = Instant::now();
        let taken = connection.take(&key, quota, self.settings.timeout).await;
        self.metrics.waited(began.elapsed());
        self.metrics.checked(match &taken {
            Ok(Verdict::Admitted) => SharedCheck::Admitted,
            Ok(Verdict::Refused(_)) => SharedCheck::Refused,
            Err(error) if error.is_timeout() => SharedCheck::TimedOut,
            Err(_) => SharedCheck::Failed,
        });
        taken.map_err(|error| {
            tracing::debug!(%error, "redis did not say");
            Unavailable
        })
    }
}

/// A number that changes with who vouches for Redis over TLS.
fn trusted(settings: &SharedLimitSettings) -> Option<u64> {
    settings.redis.tls.as_ref().and_then(fingerprint)
}
