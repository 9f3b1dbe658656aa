//! Every layer on one screen, outermost first.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;

use ::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, ORIGIN, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use ::http::request::Parts;
use ::http::{Extensions, HeaderName, HeaderValue, Method, StatusCode, Version};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;

use super::context::{Answers, Context, Door};
use super::cors::allow_origin;
use super::handlers::refused_method;
use super::host::check_host;
use super::in_flight::Places;
use super::limiter::{Path, Rate};
use super::problem::ProblemDetails;
use super::record::Open;
use super::redirect::redirect;
use crate::client::Peer;
use crate::metrics::Limit;
use crate::readiness;

/// The header that names a request in answers, calls and logs.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The service behind every connection: answers requests by the snapshot that is current when they
/// arrive.
#[must_use]
pub fn edge(
    door: Door,
) -> impl Service<
    ::http::Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    ServiceBuilder::new()
        // No handler reads a body, so none is waited for.
        .map_request(|request: ::http::Request<Incoming>| request.map(|_| Body::empty()))
        // Outermost, since deadlines count from here, and every answer gets its headers here.
        .layer(from_fn_with_state(door, arrive))
        // Inside of the above, so that a panic is answered with a request id.
        .layer(CatchPanicLayer::custom(caught))
        // Before the limiter: what is no request costs the client nothing.
        .layer(from_fn(refuse_malformed))
        // Before the limiter: probes come often, and from few addresses.
        .layer(from_fn(health))
        // Last before the routes: a refusal must cost as little as possible.
        .layer(from_fn(limit))
        .service(service_fn(dispatch))
}

/// Notes when and from whom the request came, and what it will use to its end.
async fn arrive(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let Some(Peer(peer)) = request.extensions().get().copied() else {
        return ProblemDetails::internal().into_response();
    };
    let context = Context::new(door, peer.ip(), request.headers());
    // From here on, a request that is dropped has its line in the log.
    let open = Open::new(&context, &request);
    let origin = request.headers().get(ORIGIN).cloned();
    let is_head = request.method() == Method::HEAD;
    context.note_client();
    request.extensions_mut().insert(context.clone());
    let mut response = next.run(request).await;
    if is_head {
        response = without_body(response);
    }
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, context.request_id.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    allow_origin(
        &context.snapshot.server.cors_allow_origins,
        origin.as_ref(),
        headers,
    );
    open.answer(response)
}

/// The answer to a HEAD: as long as that to a GET, and without a byte of it (RFC 9110 section 9.3.2).
/// The router sees to its own answers, but refusals of these layers never pass it, and over HTTP/2 a
/// body after all would be an error of the stream.
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        let length = HeaderValue::from(length);
        parts.headers.entry(CONTENT_LENGTH).or_insert(length);
    }
    Response::from_parts(parts, Body::empty())
}

/// What it was, the panic hook has told.
fn caught(_panic: Box<dyn Any + Send>) -> Response {
    ProblemDetails::internal().into_response()
}

/// Refuses what is no proper request, and ends a connection whose client may still send a body:
/// nothing reads bodies, and none of their bytes may be taken for a request (RFC 9112 section 9.3).
async fn refuse_malformed(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let http1 = parts.version <= Version::HTTP_11;
    let has_body = parts.headers.contains_key(TRANSFER_ENCODING)
        || parts
            .headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length != "0");
    let checked = check_host(&parts).and_then(|()| check_framing(&parts));
    let closes = http1 && (has_body || checked.is_err());
    let mut response = match checked {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    };
    if closes {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body of unknown length has no business here: whoever sends one tries to hide a request in it.
/// CONNECT names no path, and this is no proxy.
fn check_framing(parts: &Parts) -> Result<(), ProblemDetails> {
    if parts.method == Method::CONNECT {
        return Err(refused_method());
    }
    if parts.headers.contains_key(TRANSFER_ENCODING) {
        return Err(ProblemDetails::bad_request(
            "a request must not have a Transfer-Encoding",
        ));
    }
    Ok(())
}

/// Whether the service is ready, where `health_path` says that probes may ask.
async fn health(request: Request, next: Next) -> Response {
    let state = request
        .extensions()
        .get::<Arc<Context>>()
        .filter(|context| {
            context.snapshot.server.health_path.as_deref() == Some(request.uri().path())
        })
        .map(|context| context.readiness.state());
    match (state, request.method()) {
        (Some(state), &Method::GET | &Method::HEAD) => {
            let mut response = Response::new(Body::empty());
            if state != readiness::State::Ready {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().insert(CACHE_CONTROL, no_store);
            response
        }
        (Some(_), _) => refused_method().into_response(),
        (None, _) => next.run(request).await,
    }
}

/// By the client's address: `[access]`, where a proxy stands between, and the limits of the path.
async fn limit(mut request: Request, next: Next) -> Response {
    match admit(request.extensions(), request.uri().path(), request.method()).await {
        Ok(Some(places)) => {
            request.extensions_mut().insert(places);
        }
        Ok(None) => {}
        Err(problem) => return problem.into_response(),
    }
    next.run(request).await
}

/// What a request may have of the service: a token of its client's, and places if it gathers.
async fn admit(
    extensions: &Extensions,
    path: &str,
    method: &Method,
) -> Result<Option<Places>, ProblemDetails> {
    let context = extensions.get::<Arc<Context>>();
    let context = context.ok_or_else(ProblemDetails::internal)?;
    let metrics = &context.snapshot.metrics;
    if !context.snapshot.access.admits(context.client) {
        metrics.edge.refused(Limit::Access);
        return Err(ProblemDetails::forbidden());
    }
    let (path, limiter) = context.snapshot.limiters.of(path);
    let gathers = context.answers == Answers::Routes
        && path == Path::Route
        && matches!(*method, Method::GET | Method::HEAD);
    // Before a token is taken: whoever finds no place has had nothing for it.
    let places = gathers.then(|| context.enter()).transpose()?;
    if let Some(limiter) = limiter {
        let refused = |_: &_| metrics.edge.refused(Limit::RequestsPerSecond);
        match limiter.admit(context.client).await.inspect_err(refused)? {
            Rate::Within => {}
            Rate::OverInDryRun => metrics.load.dry_run.inc(),
        }
    }
    Ok(places)
}

/// To the routes of the request's own snapshot, or to HTTPS.
async fn dispatch(request: Request) -> Result<Response, Infallible> {
    let context = request.extensions().get::<Arc<Context>>();
    if let Some(Answers::Redirect(https_port)) = context.map(|context| context.answers) {
        let (parts, _) = request.into_parts();
        return Ok(redirect(&parts, https_port).into_response());
    }
    match context {
        Some(context) => {
            let router = context.snapshot.router.clone();
            router.oneshot(request).await
        }
        None => Ok(ProblemDetails::internal().into_response()),
    }
}
