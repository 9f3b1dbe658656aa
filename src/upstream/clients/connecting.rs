//! Stands in the connector of every client: some connections at a time, and only those that a call
//! waits for.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tower::{BoxError, Service, ServiceExt};

use super::CONNECTED;

/// The most connections of one client that are being opened at once: half of what servers keep in the
/// queue of their listener (nginx: 511), and of `max_calls` as it is. Those behind wait, and most of a
/// burst's find another's connection free before it is their turn.
const MOST_AT_ONCE: usize = 256;

/// A connector for some connections at a time. Each call clones its client's connector several times, and
/// what reqwest stacks up there is costly to clone, so this shares it until there is a connection to open.
#[derive(Debug)]
pub(super) struct Connecting<S>(Arc<Shared<S>>);

#[derive(Debug)]
struct Shared<S> {
    connector: S,
    places: Semaphore,
}

impl<S> Connecting<S> {
    /// In front of `connector`.
    pub(super) fn new(connector: S) -> Self {
        Self(Arc::new(Shared {
            connector,
            places: Semaphore::new(MOST_AT_ONCE),
        }))
    }
}

impl<S> Clone for Connecting<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, R> Service<R> for Connecting<S>
where
    S: Service<R, Error = BoxError, Response: Send, Future: Send> + Clone + Send + Sync + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let Self(shared) = self.clone();
        Box::pin(async move {
            let _place = shared.places.acquire().await?;
            // Of a call that found a connection meanwhile, the client goes on with this in a task of its own.
            if CONNECTED.try_with(|connected| connected.set(true)).is_err() {
                return Err("no call waits for this connection any more".into());
            }
            shared.connector.clone().oneshot(request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::identity;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use tower::service_fn;

    use super::*;

    /// Connections that are never there, and how many have begun.
    fn endless() -> (
        impl Fn() -> BoxFuture<'static, Result<(), BoxError>>,
        Arc<AtomicUsize>,
    ) {
        let begun = Arc::new(AtomicUsize::new(0));
        let count = begun.clone();
        let connector = Connecting::new(service_fn(move |()| {
            count.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<Result<(), BoxError>>()
        }));
        (move || connector.clone().call(()), begun)
    }

    /// As many as may be, begun.
    fn full(
        connect: &impl Fn() -> BoxFuture<'static, Result<(), BoxError>>,
    ) -> Vec<BoxFuture<'static, Result<(), BoxError>>> {
        let mut places: Vec<_> = (0..MOST_AT_ONCE).map(|_| connect()).collect();
        assert!(places.iter_mut().all(poll_in_a_call));
        places
    }

    fn poll_in_a_call(connect: &mut BoxFuture<'_, Result<(), BoxError>>) -> bool {
        let polled = CONNECTED.scope(Cell::new(false), async {
            assert!(connect.now_or_never().is_none());
            CONNECTED.with(Cell::get)
        });
        polled.now_or_never().is_some_and(identity)
    }

    #[test]
    fn some_connections_are_opened_at_once_and_the_next_when_one_of_them_is_over() {
        let (connect, begun) = endless();
        let mut places = full(&connect);
        let mut next = connect();
        assert!(!poll_in_a_call(&mut next), "its call has opened none");
        assert_eq!(begun.load(Ordering::Relaxed), MOST_AT_ONCE);
        places.pop();
        assert!(poll_in_a_call(&mut next));
        assert_eq!(begun.load(Ordering::Relaxed), MOST_AT_ONCE + 1);
    }

    #[test]
    fn a_connection_that_no_call_waits_for_is_not_opened() {
        let (connect, begun) = endless();
        let mut places = full(&connect);
        let mut left = connect();
        poll_in_a_call(&mut left);
        places.clear();
        // As a task of its own: out of the call.
        assert!(left.now_or_never().is_some_and(|result| result.is_err()));
        assert_eq!(begun.load(Ordering::Relaxed), MOST_AT_ONCE);
    }
}
