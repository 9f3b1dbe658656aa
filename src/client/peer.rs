//! The other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The peer of a connection; an extension of each of its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address: of TCP, or whom its PROXY header names.
    pub address: SocketAddr,
    /// When it was refused.
    pub refusals: Arc<Refusals>,
}

/// When requests of one connection were refused.
#[derive(Debug, Default)]
pub struct Refusals {
    last: Mutex<Option<Instant>>,
}

impl Peer {
    /// The peer of a new connection.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            refusals: Arc::default(),
        }
    }
}

impl Refusals {
    /// Notes a refusal. Gives how long ago the one before was, if there was one.
    pub fn note(&self) -> Option<Duration> {
        let now = Instant::now();
        let before = self.last.lock().replace(now);
        before.map(|before| now.saturating_duration_since(before))
    }
}
