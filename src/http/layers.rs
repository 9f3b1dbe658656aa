//! Every layer on one screen, outermost first.

mod layer_fn;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use ::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, ORIGIN, STRICT_TRANSPORT_SECURITY,
    TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use ::http::{Extensions, HeaderValue, Method, StatusCode, Version};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http_body::Body as _;
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use self::layer_fn::{Inside, Next, Request, layer_fn};
use super::access_log::OpenRequest;
use super::challenges;
use super::context::{Answers, Context, Door, Scheme, X_REQUEST_ID, apart};
use super::cors::allow_origin;
use super::handlers::refused_method;
use super::host::check_host;
use super::in_flight::Places;
use super::limiter::{Path, Rate};
use super::problem::ProblemDetails;
use super::redirect::redirect;
use super::refusal_pace::{CostsNothing, RefusalPace, is_hasty};
use crate::client::Peer;
use crate::metrics::Limit;
use crate::readiness;

/// How long browsers remember to come by HTTPS only (RFC 6797 section 6.1.1).
const A_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

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
    let pace = Arc::new(RefusalPace::new());
    let inside = ServiceBuilder::new()
        // Inside of `arrive`, so that a panic is answered with a request id.
        .layer(layer_fn(catch_panic))
        // Before the limiter: what is no request costs the client nothing.
        .layer(layer_fn(refuse_malformed))
        // Before the limiter: probes come often, and from few addresses.
        .layer(layer_fn(health))
        // Last before the routes: a refusal must cost as little as possible.
        .layer(layer_fn(limit))
        .service(service_fn(dispatch));
    service_fn(move |request: ::http::Request<Incoming>| {
        // No handler reads a body, so none is waited for.
        let request = Box::new(request.map(|_| Body::empty()));
        // Outermost, since deadlines count from here, and every answer gets its headers here. Boxed as
        // a whole, so that a connection without a request is small.
        arrive(door.clone(), pace.clone(), request, Next(inside.clone()))
            .map(Ok)
            .boxed()
    })
}

/// Notes when the request came, from which client, and what it will use to its end.
async fn arrive(
    door: Door,
    pace: Arc<RefusalPace>,
    mut request: Request,
    next: Next<impl Inside>,
) -> Response {
    let peer = request.extensions().get::<Peer>();
    let peer = peer.map(|peer| (peer.address, peer.refusals.clone()));
    let Some((address, refusals)) = peer else {
        return ProblemDetails::internal().into_response();
    };
    let context = Context::new(door, address.ip(), request.headers());
    // From here on, a request that is dropped has its line in the log.
    let open = OpenRequest::new(&context, &request);
    let origin = request.headers().get(ORIGIN).map(apart);
    let is_head = request.method() == Method::HEAD;
    context.note_client();
    request.extensions_mut().insert(context.clone());
    let mut response = next.run(request).await;
    if response.extensions_mut().remove::<CostsNothing>().is_some() {
        pace.hold(&refusals).await;
    }
    if is_head {
        response = without_body(response);
    }
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, context.request_id.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if context.snapshot.hsts && context.scheme == Scheme::Https {
        headers.insert(STRICT_TRANSPORT_SECURITY, A_YEAR);
    }
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

/// A bug costs one request. What it was, the panic hook has told.
async fn catch_panic(request: Request, next: Next<impl Inside>) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    let caught = |_| ProblemDetails::internal().into_response();
    answer.await.unwrap_or_else(caught)
}

/// Refuses what is no proper request, and ends a connection whose client may still send a body:
/// nothing reads bodies, and none of their bytes may be taken for a request (RFC 9112 section 9.3).
async fn refuse_malformed(request: Request, next: Next<impl Inside>) -> Response {
    let http1 = request.version() <= Version::HTTP_11;
    let has_body = request.headers().contains_key(TRANSFER_ENCODING)
        || request
            .headers()
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length != "0");
    let checked = check_host(&request).and_then(|()| check_framing(&request));
    let closes = http1 && (has_body || checked.is_err());
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => free(problem),
    };
    if closes {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body of unknown length is refused: a request may be hidden in it.
/// CONNECT names no path, and this is no proxy.
fn check_framing(request: &Request) -> Result<(), ProblemDetails> {
    if request.method() == Method::CONNECT {
        return Err(refused_method());
    }
    if request.headers().contains_key(TRANSFER_ENCODING) {
        return Err(ProblemDetails::bad_request(
            "a request must not have a Transfer-Encoding",
        ));
    }
    Ok(())
}

/// Whether the service is ready, where `health_path` says that probes may ask.
async fn health(request: Request, next: Next<impl Inside>) -> Response {
    let state = request
        .extensions()
        .get::<Arc<Context>>()
        .filter(|context| {
            context.snapshot.server.health_path.as_deref() == Some(request.uri().path())
        })
        .map(|context| context.readiness.state());
    match state {
        Some(state) => {
            let mut response = answer_probe(state, request.method());
            if is_unpaid(request.extensions(), request.uri().path()).await {
                response.extensions_mut().insert(CostsNothing);
            }
            response
        }
        None => next.run(request).await,
    }
}

/// A probe costs nothing, and none comes twice a second over one connection. Of a flood, each takes a
/// token of its client's; those that find none may cost together what refusals may.
async fn is_unpaid(extensions: &Extensions, path: &str) -> bool {
    let (peer, context) = (extensions.get::<Peer>(), extensions.get::<Arc<Context>>());
    let (Some(peer), Some(context)) = (peer, context) else {
        return false;
    };
    match context.snapshot.limiters.of(path).1 {
        Some(limiter) if is_hasty(&peer.refusals) => limiter.admit(context.client).await.is_err(),
        _ => false,
    }
}

fn answer_probe(state: readiness::State, method: &Method) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return refused_method().into_response();
    }
    let mut response = Response::new(Body::empty());
    if state != readiness::State::Ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

/// By the client's address: `[access]`, where a proxy stands between, and the limits of the path.
async fn limit(mut request: Request, next: Next<impl Inside>) -> Response {
    let (path, method) = (request.uri().path(), request.method());
    match admit(request.extensions(), path, method, request.version()).await {
        Ok(Some(places)) => {
            request.extensions_mut().insert(places);
        }
        Ok(None) => {}
        Err(problem) => return free(problem),
    }
    next.run(request).await
}

/// The answer to a request that was refused before it cost its client a token.
fn free(problem: ProblemDetails) -> Response {
    let mut response = problem.into_response();
    response.extensions_mut().insert(CostsNothing);
    response
}

/// What a request may have of the service: a token of its client's, and places if it gathers.
async fn admit(
    extensions: &Extensions,
    path: &str,
    method: &Method,
    version: Version,
) -> Result<Option<Places>, ProblemDetails> {
    let context = Context::of(extensions)?;
    let peer = extensions.get().ok_or_else(ProblemDetails::internal)?;
    let metrics = &context.snapshot.metrics;
    if !context.snapshot.access.admits(context.client) {
        metrics.edge.refused(Limit::Access);
        return Err(ProblemDetails::forbidden());
    }
    let (path, limiter) = context.snapshot.limiters.of(path);
    let gathers = context.answers == Answers::Routes
        && path == Path::Route
        && matches!(*method, Method::GET | Method::HEAD);
    // Before a token is taken: a request without a place must not cost one.
    let places = gathers.then(|| context.enter(peer, version)).transpose()?;
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
    let context = match Context::of(request.extensions()) {
        Ok(context) => context,
        Err(problem) => return Ok(problem.into_response()),
    };
    if context.scheme == Scheme::Http
        && let Some(answer) = challenges::answer(context, request.method(), request.uri()).await
    {
        return Ok(answer);
    }
    if let Answers::Redirect(https_port) = context.answers {
        return Ok(redirect(&request, https_port).into_response());
    }
    let router = context.snapshot.router.clone();
    router.oneshot(*request).await
}
