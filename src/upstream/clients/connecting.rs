//! Stands in the connector of every client: notes that the present call opens a connection.

use std::sync::Arc;
use std::task::{Context, Poll};

use tower::util::Oneshot;
use tower::{Service, ServiceExt};

use super::CONNECTED;

/// A connector that says when it is used. Each call clones its client's connector several times, and
/// what reqwest stacks up there is costly to clone, so this shares it until there is a connection to open.
#[derive(Debug)]
pub(super) struct Connecting<S> {
    connector: Arc<S>,
}

impl<S> Connecting<S> {
    /// In front of `connector`.
    pub(super) fn new(connector: S) -> Self {
        Self {
            connector: Arc::new(connector),
        }
    }
}

impl<S> Clone for Connecting<S> {
    fn clone(&self) -> Self {
        Self {
            connector: self.connector.clone(),
        }
    }
}

impl<S: Service<R> + Clone, R> Service<R> for Connecting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Oneshot<S, R>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        // Connects that no call waits for any more run in tasks of their own.
        let _ = CONNECTED.try_with(|connected| connected.set(true));
        S::clone(&self.connector).oneshot(request)
    }
}
