//! Keeps one connection to Redis: makes it, watches it, and makes it again.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::RedisError;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::{Connection, Connector, Driver, Quota};
use crate::config::SharedLimitSettings;
use crate::metrics::SharedLimitMetrics;

/// How often at most it tries. One second, so that Redis is found within seconds of its return and is
/// not kept busy by those who look.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How often at most the log says that Redis is away.
const LOGGED: Duration = Duration::from_secs(10);

/// Sees to the connection that requests use.
pub(super) struct RedisReconnect {
    pub(super) connector: Connector,
    pub(super) settings: SharedLimitSettings,
    /// None while Redis is away.
    pub(super) published: Arc<ArcSwapOption<Connection>>,
    pub(super) metrics: Arc<SharedLimitMetrics>,
}

impl RedisReconnect {
    /// Publishes a connection whenever there is one that answers; for ever.
    pub(super) async fn keep(self) {
        let mut attempts = interval(ATTEMPT);
        attempts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut log = Log::new(self.settings.clone());
        self.metrics.up.set(0);
        loop {
            attempts.tick().await;
            let (connection, mut driver) = match self.probed().await {
                Ok(connected) => connected,
                Err(error) => {
                    self.metrics.not_connected.inc();
                    log.away(&error);
                    continue;
                }
            };
            self.metrics.connected.inc();
            self.metrics.up.set(1);
            log.back();
            let connection = Arc::new(connection);
            self.published.store(Some(connection.clone()));
            tokio::select! {
                _ = &mut driver => log.away(&"it closed the connection"),
                () = connection.given_up() => log.away(&"three requests in a row failed"),
            }
            self.published.store(None);
            self.metrics.up.set(0);
        }
    }

    /// A connection on which the script has run as fast as it must for a request. A greeting is not
    /// enough: a Redis without memory, or one that only replicates, gives that too.
    async fn probed(&self) -> Result<(Connection, Driver), RedisError> {
        let (connection, driver) = self.connector.connect().await?;
        let key = format!("{}probe", self.settings.key_prefix);
        let quota = Quota::new(1.0, 1);
        connection.take(&key, quota, self.settings.timeout).await?;
        Ok((connection, driver))
    }
}

/// What the log says of it, and when it last did.
struct Log {
    settings: SharedLimitSettings,
    away_since: Option<Instant>,
    told: Option<Instant>,
    tells_return: bool,
}

impl Log {
    fn new(settings: SharedLimitSettings) -> Self {
        Self {
            settings,
            away_since: None,
            told: None,
            tells_return: true,
        }
    }

    fn away(&mut self, reason: &dyn std::fmt::Display) {
        let since = *self.away_since.get_or_insert_with(Instant::now);
        if self.told.is_some_and(|told| told.elapsed() < LOGGED) {
            return;
        }
        self.told = Some(Instant::now());
        self.tells_return = true;
        tracing::warn!(
            redis.host = %self.settings.redis.host,
            redis.port = self.settings.redis.port,
            away_ms = milliseconds(since),
            %reason,
            "redis is away: the shared rate limit does not hold"
        );
    }

    fn back(&mut self) {
        let away = self.away_since.take().map(milliseconds);
        if std::mem::take(&mut self.tells_return) {
            tracing::info!(
                redis.host = %self.settings.redis.host,
                redis.port = self.settings.redis.port,
                away_ms = away,
                "redis counts for all hosts: the shared rate limit holds"
            );
        }
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
