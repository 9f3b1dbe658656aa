//! The count that all hosts share, in Redis or Valkey; with it, they admit together what one would.
//!
//! It only says what Redis says. Whoever asks decides what to do without it.

mod connection;
mod keeper;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use tokio_util::task::AbortOnDropHandle;

use self::connection::{Connection, Connector};
use super::buckets::Verdict;
use crate::config::{Problem, SharedLimitSettings};
use crate::names::Names;

pub(super) use self::connection::Quota;

/// The connection to Redis that the limiters of a snapshot share.
pub(super) struct SharedCount {
    settings: SharedLimitSettings,
    connector: Connector,
    /// None while Redis is away.
    connection: Arc<ArcSwapOption<Connection>>,
    keeper: OnceLock<AbortOnDropHandle<()>>,
}

/// Redis did not answer in time, or with an error, or there is no connection to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unavailable;

impl SharedCount {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read.
    pub(super) fn new(settings: &SharedLimitSettings, names: &Names) -> Result<Arc<Self>, Problem> {
        Ok(Arc::new(Self {
            settings: settings.clone(),
            connector: Connector::new(&settings.redis, names.clone())?,
            connection: Arc::default(),
            keeper: OnceLock::new(),
        }))
    }

    /// What it was made of.
    pub(super) fn settings(&self) -> &SharedLimitSettings {
        &self.settings
    }

    /// Begins to connect, and sees to it from now on. Needs the runtime.
    pub(super) fn start(&self) {
        self.keeper.get_or_init(|| {
            let (connector, connection) = (self.connector.clone(), self.connection.clone());
            let keeper = keeper::keep(connector, self.settings.clone(), connection);
            AbortOnDropHandle::new(tokio::spawn(keeper))
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
        let connection = self.connection.load_full().ok_or(Unavailable)?;
        if !connection.is_trusted() {
            return Err(Unavailable);
        }
        let key = format!("{}{limiter}:{bucket}", self.settings.key_prefix);
        let taken = connection.take(&key, quota, self.settings.timeout).await;
        taken.map_err(|error| {
            tracing::debug!(%error, "redis did not say");
            Unavailable
        })
    }
}
