//! The whole way of a request on one screen, outermost first.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use ::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, ORIGIN, STRICT_TRANSPORT_SECURITY,
    TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use ::http::request::Parts;
use ::http::{HeaderValue, Method, StatusCode, Version};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http_body::Body as _;
use hyper::body::Incoming;
use tower::{Service, service_fn};

use super::access_log::OpenRequest;
use super::challenges;
use super::context::{Answers, Context, Door, Scheme, X_REQUEST_ID, apart};
use super::cors::{self, allow_origin};
use super::handlers;
use super::host::check_host;
use super::in_flight::Places;
use super::limiter::Rate;
use super::problem::ProblemDetails;
use super::redirect::redirect;
use super::refusal_pace::{RefusalPace, is_hasty};
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
    service_fn(move |request: ::http::Request<Incoming>| {
        // No body of a request is read, so none is waited for.
        let (head, _) = request.into_parts();
        // Boxed as a whole, so that a connection without a request is small.
        serve(door.clone(), pace.clone(), Box::new(head))
            .map(Ok)
            .boxed()
    })
}

/// Answers one request, whatever becomes of it: every answer has its headers and its line in the log.
async fn serve(door: Door, pace: Arc<RefusalPace>, mut head: Box<Parts>) -> Response {
    let Some(peer) = head.extensions.remove::<Peer>() else {
        return ProblemDetails::internal().into_response();
    };
    // Deadlines count from here; the path is looked up here and nowhere else.
    let context = Context::new(door, peer, &head);
    // From here on, a request that is dropped has its line in the log.
    let open = OpenRequest::new(&context, &head);
    let origin = head.headers.get(ORIGIN).map(apart);
    let is_head = head.method == Method::HEAD;
    context.note_client();
    // A bug costs one request. What it was, the panic hook has told.
    let answered = AssertUnwindSafe(answer(&context, head))
        .catch_unwind()
        .await;
    let Answered {
        mut response,
        costs_nothing,
    } = answered.unwrap_or_else(|_| ProblemDetails::internal().into_response().into());
    if costs_nothing {
        pace.hold(&context.peer.refusals).await;
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

/// An answer, and whether it cost its client nothing: a refusal, or the answer to one of a flood of probes.
struct Answered {
    response: Response,
    costs_nothing: bool,
}

impl From<Response> for Answered {
    fn from(response: Response) -> Self {
        Self {
            response,
            costs_nothing: false,
        }
    }
}

impl Answered {
    /// A refusal before the request cost its client a token.
    fn refusal(problem: ProblemDetails) -> Self {
        Self {
            response: problem.into_response(),
            costs_nothing: true,
        }
    }
}

/// Refuses what is malformed, answers probes, takes what the limits give, and hands on to the route.
async fn answer(context: &Arc<Context>, head: Box<Parts>) -> Answered {
    // Before the limiter: what is no request costs the client nothing.
    let checked = check_host(&head).and_then(|()| check_framing(&head));
    // What follows may be a body, and none of its bytes may be taken for a request (RFC 9112 section 9.3).
    let closes = head.version <= Version::HTTP_11 && (has_body(&head) || checked.is_err());
    let mut answered = match checked {
        Ok(()) => well_formed(context, head).await,
        Err(problem) => Answered::refusal(problem),
    };
    if closes {
        let close = HeaderValue::from_static("close");
        answered.response.headers_mut().insert(CONNECTION, close);
    }
    answered
}

async fn well_formed(context: &Arc<Context>, head: Box<Parts>) -> Answered {
    // Before the limiter: probes come often, and from few addresses.
    if context.snapshot.server.health_path.as_deref() == Some(head.uri.path()) {
        return Answered {
            response: answer_probe(context.readiness.state(), &head.method),
            costs_nothing: is_unpaid(context).await,
        };
    }
    // Last before the routes: a refusal must cost as little as possible.
    let places = match admit(context, &head.method, head.version).await {
        Ok(places) => places,
        Err(problem) => return Answered::refusal(problem),
    };
    dispatch(context, head, places).await.into()
}

fn has_body(head: &Parts) -> bool {
    let length = head.headers.get(CONTENT_LENGTH);
    head.headers.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

/// A body of unknown length is refused: a request may be hidden in it.
/// CONNECT names no path, and this is no proxy.
fn check_framing(head: &Parts) -> Result<(), ProblemDetails> {
    if head.method == Method::CONNECT {
        return Err(handlers::refused_method());
    }
    if head.headers.contains_key(TRANSFER_ENCODING) {
        return Err(ProblemDetails::bad_request(
            "a request must not have a Transfer-Encoding",
        ));
    }
    Ok(())
}

/// The answer to a HEAD: as long as that to a GET, and without a byte of it (RFC 9110 section 9.3.2).
/// Over HTTP/2, a body after all would be an error of the stream.
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        let length = HeaderValue::from(length);
        parts.headers.entry(CONTENT_LENGTH).or_insert(length);
    }
    Response::from_parts(parts, Body::empty())
}

fn answer_probe(state: readiness::State, method: &Method) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return handlers::refused_method().into_response();
    }
    let mut response = Response::new(Body::empty());
    if state != readiness::State::Ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

/// A probe costs nothing, and none comes twice a second over one connection. Of a flood, each takes a
/// token of its client's; those that find none may cost together what refusals may.
async fn is_unpaid(context: &Context) -> bool {
    match context.limiter() {
        Some(limiter) if is_hasty(&context.peer.refusals) => {
            limiter.admit(context.client).await.is_err()
        }
        _ => false,
    }
}

/// What a request may have of the service: a token of its client's, and places if it gathers.
async fn admit(
    context: &Context,
    method: &Method,
    version: Version,
) -> Result<Option<Places>, ProblemDetails> {
    let metrics = &context.snapshot.metrics;
    if !context.snapshot.access.admits(context.client) {
        metrics.edge.refused(Limit::Access);
        return Err(ProblemDetails::forbidden());
    }
    let gathers = context.answers == Answers::Routes
        && context.route.is_some()
        && matches!(*method, Method::GET | Method::HEAD);
    // Before a token is taken: a request without a place must not cost one.
    let places = gathers.then(|| context.enter(version)).transpose()?;
    if let Some(limiter) = context.limiter() {
        let refused = |_: &_| metrics.edge.refused(Limit::RequestsPerSecond);
        match limiter.admit(context.client).await.inspect_err(refused)? {
            Rate::Within => {}
            Rate::OverInDryRun => metrics.load.dry_run.inc(),
        }
    }
    Ok(places)
}

/// To the request's route, or to HTTPS.
async fn dispatch(context: &Arc<Context>, head: Box<Parts>, places: Option<Places>) -> Response {
    if context.scheme == Scheme::Http
        && let Some(answer) = challenges::answer(context, &head.method, &head.uri).await
    {
        return answer;
    }
    if let Answers::Redirect(https_port) = context.answers {
        return redirect(&head, https_port).into_response();
    }
    let Some(routed) = &context.route else {
        return handlers::not_found().into_response();
    };
    match (&head.method, places) {
        (&Method::GET | &Method::HEAD, Some(places)) => {
            // It holds nothing of the request: then its connection has its buffer back.
            let gather = handlers::gather(context, routed, &head, places);
            drop(head);
            gather.await.into_response()
        }
        (&Method::OPTIONS, _) => {
            let allowed = &context.snapshot.server.cors_allow_origins;
            let preflight = cors::preflight(allowed, &head.headers);
            preflight.unwrap_or_else(|| handlers::refused_method().into_response())
        }
        _ => handlers::refused_method().into_response(),
    }
}
