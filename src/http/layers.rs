//! Every layer on one screen, outermost first.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;

use ::http::header::{ORIGIN, X_CONTENT_TYPE_OPTIONS};
use ::http::{HeaderName, HeaderValue};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;

use super::context::Context;
use super::cors::allow_origin;
use super::host::check_host;
use super::problem::ProblemDetails;
use super::snapshot::Current;
use crate::client::Peer;

/// The header that names a request in answers, calls and logs.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The service behind every connection.
pub trait Edge:
    Service<
        ::http::Request<Incoming>,
        Response = Response,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Edge for S where
    S: Service<
            ::http::Request<Incoming>,
            Response = Response,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// Answers requests by the snapshot that is current when they arrive.
#[must_use]
pub fn edge(current: Current) -> impl Edge {
    ServiceBuilder::new()
        // No handler reads a body, so none is waited for.
        .map_request(|request: ::http::Request<Incoming>| request.map(|_| Body::empty()))
        // Outermost, since deadlines count from here, and every answer gets its headers here.
        .layer(from_fn_with_state(current, arrive))
        // Inside of the above, so that a panic is answered with a request id.
        .layer(CatchPanicLayer::custom(caught))
        // Before the limiter: what is no request costs the client nothing.
        .layer(from_fn(refuse_malformed))
        // Last before the routes: a refusal must cost as little as possible.
        .layer(from_fn(limit))
        .service(service_fn(dispatch))
}

/// Notes when and from whom the request came, and what it will use to its end.
async fn arrive(State(current): State<Current>, mut request: Request, next: Next) -> Response {
    let Some(Peer(peer)) = request.extensions().get().copied() else {
        return ProblemDetails::internal().into_response();
    };
    let context = Context::new(current.load_full(), peer.ip(), request.headers());
    let origin = request.headers().get(ORIGIN).cloned();
    request.extensions_mut().insert(context.clone());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, context.request_id.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    allow_origin(
        &context.snapshot.server.cors_allow_origins,
        origin.as_ref(),
        headers,
    );
    response
}

fn caught(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("of no text"), "a request met a bug");
    ProblemDetails::internal().into_response()
}

async fn refuse_malformed(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match check_host(&parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

async fn limit(request: Request, next: Next) -> Response {
    let context = request.extensions().get::<Arc<Context>>();
    let limiter = context.and_then(|context| context.snapshot.limiter.as_ref());
    match limiter.map_or(Ok(()), |limiter| limiter.admit(&request)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// To the routes of the request's own snapshot.
async fn dispatch(request: Request) -> Result<Response, Infallible> {
    match request.extensions().get::<Arc<Context>>() {
        Some(context) => {
            let router = context.snapshot.router.clone();
            router.oneshot(request).await
        }
        None => Ok(ProblemDetails::internal().into_response()),
    }
}
