//! What the mock has seen: tests of retries, lingering and permits read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers since the mock was bound. Each is exact; two of them may be a moment apart.
#[derive(Debug, Default)]
pub struct Counters {
    connections: AtomicU64,
    connections_open: AtomicU64,
    requests: AtomicU64,
    requests_open: AtomicU64,
    most_requests_open: AtomicU64,
}

impl Counters {
    /// Connections accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections_open(&self) -> u64 {
        self.connections_open.load(Ordering::SeqCst)
    }

    /// Requests whose head has come.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Requests whose reply is neither complete nor given up.
    #[must_use]
    pub fn requests_open(&self) -> u64 {
        self.requests_open.load(Ordering::SeqCst)
    }

    /// The most requests that ever were open at once.
    #[must_use]
    pub fn most_requests_open(&self) -> u64 {
        self.most_requests_open.load(Ordering::SeqCst)
    }
}

/// Counts a connection; open until dropped.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<Counters>);

impl OpenConnection {
    /// A connection that was just accepted.
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        counters.connections.fetch_add(1, Ordering::SeqCst);
        counters.connections_open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counters))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Counts a request; open until dropped.
#[derive(Debug)]
pub(super) struct OpenRequest(Arc<Counters>);

impl OpenRequest {
    /// A request whose head has just come.
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        counters.requests.fetch_add(1, Ordering::SeqCst);
        let open = counters.requests_open.fetch_add(1, Ordering::SeqCst) + 1;
        counters
            .most_requests_open
            .fetch_max(open, Ordering::SeqCst);
        Self(Arc::clone(counters))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.requests_open.fetch_sub(1, Ordering::SeqCst);
    }
}
