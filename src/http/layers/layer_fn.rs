//! Layers made of a function of a request and of what is inside. Like axum's `from_fn`, but without a
//! boxed service and a boxed future for each layer of each request.
//!
//! The request is boxed: the future of each layer has two places for what it hands on, and 5,000 requests
//! at once would take 16 MB more.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::response::Response;
use futures_util::future::{FutureExt, Map};
use tower::{Layer, Service, ServiceExt};

/// What the layers hand on.
pub(super) type Request = Box<axum::extract::Request>;

/// A layer whose services are `function` around what is inside.
pub(super) fn layer_fn<F>(function: F) -> LayerFn<F> {
    LayerFn { function }
}

/// The layer that [`around`] makes.
#[derive(Clone)]
pub(super) struct LayerFn<F> {
    function: F,
}

/// One service around another.
#[derive(Clone)]
pub(super) struct LayerFnService<F, S> {
    function: F,
    inside: S,
}

/// What is inside of a layer, for one request.
pub(super) struct Next<S>(pub(super) S);

/// What a layer can be around.
pub(super) trait Inside:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + Sync
{
}

impl<S> Inside for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
{
}

impl<S: Inside> Next<S> {
    /// The answer of what is inside.
    pub(super) async fn run(self, request: Request) -> Response {
        let Ok(response) = self.0.oneshot(request).await;
        response
    }
}

impl<F: Clone, S> Layer<S> for LayerFn<F> {
    type Service = LayerFnService<F, S>;

    fn layer(&self, inside: S) -> Self::Service {
        LayerFnService {
            function: self.function.clone(),
            inside,
        }
    }
}

impl<F, S, Answer> Service<Request> for LayerFnService<F, S>
where
    F: Fn(Request, Next<S>) -> Answer,
    S: Inside,
    Answer: Future<Output = Response>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Map<Answer, fn(Response) -> Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        (self.function)(request, Next(self.inside.clone())).map(Ok)
    }
}
