//! One connection to Redis, which all requests share.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::aio::{AsyncStream, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Problem, RedisSettings};
use crate::http::limiter::buckets::Verdict;
use crate::names::Names;
use crate::trust::client_config;

const SCRIPT: &str = include_str!("gcra.lua");
/// From a name to a connection that has loaded the script.
const CONNECT: Duration = Duration::from_secs(1);
/// Often enough for the networks in between, which forget quiet connections after minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Requests that wait to be written at once; each waits for no longer than its own limit.
const WAITING: usize = 1024;
/// So many failures in a row are no accident.
const FAILURES: u32 = 3;

/// What moves the bytes of a connection.
pub(super) type Driver = AbortOnDropHandle<()>;

/// How a connection to Redis is made.
#[derive(Clone)]
pub(super) struct Connector {
    settings: RedisSettings,
    tls: Option<Arc<ClientConfig>>,
    names: Names,
}

/// A connection that has loaded the script.
pub(super) struct Connection {
    redis: MultiplexedConnection,
    /// The digest by which Redis knows the script.
    script: String,
    /// Failures in a row.
    failures: AtomicU32,
    given_up: Notify,
}

/// A token bucket in whole microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http::limiter) struct Quota {
    /// From one token to the next.
    interval: u64,
    /// How far ahead of its rate a client may be.
    ahead: u64,
}

impl Quota {
    /// Rounded so that never more than the rate is admitted.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is 0.001 to 1000000, so there are 1 to 1000000000 microseconds"
    )]
    pub(in crate::http::limiter) fn new(requests_per_second: f64, burst: u32) -> Self {
        let interval = (1e6 / requests_per_second).ceil() as u64;
        Self {
            interval,
            ahead: interval * u64::from(burst.saturating_sub(1)),
        }
    }
}

impl Connector {
    /// How to connect as `settings` say.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read.
    pub(super) fn new(settings: &RedisSettings, names: Names) -> Result<Self, Problem> {
        let trusted = |ca| client_config("rate_limit.shared", ca);
        let tls = settings.tls.as_ref().map(trusted).transpose()?;
        Ok(Self {
            settings: settings.clone(),
            tls: tls.map(Arc::new),
            names,
        })
    }

    /// A connection, and the task that moves its bytes, which ends with it.
    pub(super) async fn connect(&self) -> Result<(Connection, Driver), RedisError> {
        timeout(CONNECT, self.try_connect())
            .await
            .unwrap_or_else(|_| Err(timed_out()))
    }

    async fn try_connect(&self) -> Result<(Connection, Driver), RedisError> {
        let stream = self.stream().await?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING);
        let (mut redis, driver) =
            MultiplexedConnection::new_with_config(&self.login(), stream, config).await?;
        let driver = Driver::new(tokio::spawn(driver));
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(SCRIPT);
        let connection = Connection {
            script: load.query_async(&mut redis).await?,
            redis,
            failures: AtomicU32::new(0),
            given_up: Notify::new(),
        };
        Ok((connection, driver))
    }

    fn login(&self) -> RedisConnectionInfo {
        let login = RedisConnectionInfo::default()
            .set_db(self.settings.database.into())
            .set_lib_name("gatherd", env!("CARGO_PKG_VERSION"));
        let login = match &self.settings.user {
            Some(user) => login.set_username(user),
            None => login,
        };
        match &self.settings.password {
            Some(password) => login.set_password(password),
            None => login,
        }
    }

    async fn stream(&self) -> io::Result<Pin<Box<dyn AsyncStream + Send + Sync>>> {
        let stream = self.tcp().await?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE))?;
        let Some(tls) = &self.tls else {
            return Ok(Box::pin(stream));
        };
        let host = self.settings.host.to_string();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let connector = TlsConnector::from(tls.clone());
        Ok(Box::pin(connector.connect(name, stream).await?))
    }

    /// To the first of the host's addresses that answers; none may use up the time of all.
    async fn tcp(&self) -> io::Result<TcpStream> {
        let RedisSettings { host, port, .. } = &self.settings;
        let addresses = match host.parse::<IpAddr>() {
            Ok(literal) => vec![literal],
            Err(_) => self.names.lookup(host).await.map_err(io::Error::other)?,
        };
        let each = CONNECT / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut failed = io::Error::other("the name has no address");
        for address in addresses {
            let connecting = TcpStream::connect(SocketAddr::new(address, *port));
            match timeout(each, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = error,
                Err(_) => failed = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failed)
    }
}

impl Connection {
    /// Takes a token of the bucket `key`, waiting no longer than `limit`.
    pub(super) async fn take(
        &self,
        key: &str,
        quota: Quota,
        limit: Duration,
    ) -> Result<Verdict, RedisError> {
        let taken = timeout(limit, self.run(key, quota)).await;
        let taken = taken.unwrap_or_else(|_| Err(timed_out()));
        if taken.is_ok() {
            self.failures.store(0, Ordering::Relaxed);
        } else if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            self.given_up.notify_one();
        }
        taken
    }

    /// Whether it has not failed too often in a row.
    pub(super) fn is_trusted(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < FAILURES
    }

    /// Waits until it has.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }

    async fn run(&self, key: &str, quota: Quota) -> Result<Verdict, RedisError> {
        let mut redis = self.redis.clone();
        let command = |name, script: &str| {
            let mut command = redis::cmd(name);
            let Quota { interval, ahead } = quota;
            command.arg(script).arg(1).arg(key).arg(interval).arg(ahead);
            command
        };
        let known = command("EVALSHA", &self.script);
        let wait: u64 = match known.query_async(&mut redis).await {
            // It forgets scripts when it restarts or is told to, and keeps one that it is given again.
            Err(error) if is_no_script(&error) => {
                command("EVAL", SCRIPT).query_async(&mut redis).await?
            }
            wait => wait?,
        };
        Ok(match wait {
            0 => Verdict::Admitted,
            wait => Verdict::Refused(Duration::from_micros(wait)),
        })
    }
}

fn is_no_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

fn timed_out() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}
