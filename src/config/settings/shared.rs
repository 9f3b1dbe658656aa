//! `[rate_limit.shared]`: one quota for several hosts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::CertificateAuthorities;

/// `[rate_limit.shared]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLimitSettings {
    /// Which Redis or Valkey counts.
    pub redis: RedisSettings,
    /// What every key begins with.
    pub key_prefix: Arc<str>,
    /// How long a request waits for it at most.
    pub timeout: Duration,
    /// What decides without it.
    pub on_error: WithoutRedis,
}

/// Where Redis is, and the user to log in as.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// A name or a literal address, without brackets.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// Who vouches for it; none: plain TCP.
    pub tls: Option<CertificateAuthorities>,
    /// The user of its access control list, if not the default one.
    pub user: Option<String>,
    /// Never shown.
    pub password: Option<String>,
    /// The number of its database.
    pub database: u32,
}

/// What decides about a request while Redis does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutRedis {
    /// The limiter of this host.
    Local,
    /// The request is admitted.
    Allow,
    /// The request is refused.
    Deny,
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "********"))
            .field("database", &self.database)
            .finish()
    }
}
