//! The other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The peer of a connection; an extension of each of its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address: of TCP, or the source that its PROXY header names.
    pub address: SocketAddr,
    /// When it was refused.
    pub refusals: Arc<Refusals>,
    /// Ends the connection.
    pub cut: Arc<Cut>,
}

/// When requests of one connection were refused.
#[derive(Debug, Default)]
pub struct Refusals {
    last: Mutex<Option<Instant>>,
}

impl Peer {
    /// The peer of a new connection, which ends when `cut` says so.
    #[must_use]
    pub fn new(address: SocketAddr, cut: Arc<Cut>) -> Self {
        Self {
            address,
            refusals: Arc::default(),
            cut,
        }
    }
}

/// What wakes the task of a connection, and lets those who answer its requests end it.
#[derive(Debug, Default)]
pub struct Cut {
    is_cut: AtomicBool,
    task: AtomicWaker,
}

impl Cut {
    /// Ends the connection with everything that is under way on it.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Whether it is to end.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        self.task.wake();
    }

    /// Notes which task to wake.
    pub fn watch(&self, waker: &Waker) {
        self.task.register(waker);
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
