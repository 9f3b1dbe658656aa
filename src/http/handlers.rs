//! What each URL does: extract, call one function, respond.

use std::sync::Arc;

use ::http::header::{AGE, ALLOW};
use ::http::{HeaderValue, StatusCode};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use tokio::time::Instant;

use super::answer::{Part, answer};
use super::branches::RouteCalls;
use super::cache::{AnswerCache, CACHE_STATUS, Gathered, Source};
use super::context::Context;
use super::cors;
use super::in_flight::Places;
use super::parameters::Parameters;
use super::problem::{ProblemDetails, ProblemKind};
use super::route::Route;
use super::server_timing::{SERVER_TIMING, server_timing};
use crate::gather;
use crate::metrics::Limit;
use crate::upstream::{Failure, Stages};

/// Gathers, and answers with what the policy makes of the replies.
pub(super) fn gather(
    State(route): State<Arc<Route>>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> impl Future<Output = Result<Response, ProblemDetails>> {
    // Outside of the future, since it must hold nothing of the request: then its connection has its
    // buffer back.
    let prepared = Prepared::new(&route, &path, request);
    async move {
        let Prepared {
            calls,
            deadline,
            context,
            places,
        } = prepared?;
        let _observed = route.metrics.gather();
        if let Some(cache) = &route.cache {
            let cached = Box::pin(cached(&route, cache, calls, deadline, &context, places));
            return cached.await;
        }
        let stages = calls.stages();
        let gathered = tokio::select! {
            biased;
            gathered = gather::run(&route.plan, deadline, calls) => gathered,
            () = context.readiness.last_call() => return Err(ProblemDetails::draining()),
        };
        timed_answer(&route, gathered, places, &stages)
    }
}

/// An answer, which tells where its time went if `stages` do.
fn timed_answer<R: Part>(
    route: &Arc<Route>,
    gathered: gather::Gathered<R, Failure>,
    places: Places,
    stages: &[Arc<Stages>],
) -> Result<Response, ProblemDetails> {
    if stages.is_empty() {
        return answer(route, gathered, places);
    }
    let timing = server_timing(route, &gathered.branches, stages);
    let answer = answer(route, gathered, places);
    let mut response = answer.map_err(|it| it.with_header(SERVER_TIMING, timing.clone()))?;
    response.headers_mut().insert(SERVER_TIMING, timing);
    Ok(response)
}

/// The same on a route with a cache.
async fn cached(
    route: &Arc<Route>,
    cache: &AnswerCache,
    calls: RouteCalls,
    deadline: Instant,
    context: &Context,
    places: Places,
) -> Result<Response, ProblemDetails> {
    let stages = calls.stages();
    let (gathered, source) = tokio::select! {
        biased;
        gathered = cache.gather(route, calls, deadline) => gathered,
        () = context.readiness.last_call() => return Err(ProblemDetails::draining()),
    };
    context.notes.cache(source.word());
    route.metrics.cache(source.word());
    let status = cache.status(source);
    let own = matches!(source, Source::Upstream(_));
    let stages = if own { &stages[..] } else { &[] };
    let answer = timed_answer(route, Gathered::clone(&gathered), places, stages);
    let mut response = answer.map_err(|it| it.with_header(CACHE_STATUS, status.clone()))?;
    let headers = response.headers_mut();
    headers.insert(CACHE_STATUS, status);
    if let Source::Kept(since) = source {
        headers.insert(AGE, HeaderValue::from(since.elapsed().as_secs()));
    }
    Ok(response)
}

/// What a request asks for, and may have.
struct Prepared {
    calls: RouteCalls,
    deadline: Instant,
    context: Arc<Context>,
    places: Places,
}

impl Prepared {
    fn new(
        route: &Arc<Route>,
        path: &Result<RawPathParams, RawPathParamsRejection>,
        request: Request,
    ) -> Result<Self, ProblemDetails> {
        let (mut parts, _) = request.into_parts();
        // Found by the layer of limits.
        let places = parts.extensions.remove::<Places>();
        let places = places.ok_or_else(ProblemDetails::internal)?;
        let context = Context::of(&parts.extensions)?.clone();
        let refused = |_: &_| context.snapshot.metrics.edge.refused(Limit::RouteEnabled);
        route.check_enabled().inspect_err(refused)?;
        let parameters = Parameters::parse(&route.settings, path, &parts)?;
        let calls = RouteCalls::new(route, &context, &parameters, places.client.clone())?;
        let deadline = parameters.deadline;
        Ok(Self {
            calls,
            deadline,
            context,
            places,
        })
    }
}

/// OPTIONS: lets a browser ask whether its page may call.
pub(super) async fn preflight(request: Request) -> Result<Response, ProblemDetails> {
    let (parts, _) = request.into_parts();
    let allowed = &Context::of(&parts.extensions)?
        .snapshot
        .server
        .cors_allow_origins;
    cors::preflight(allowed, &parts.headers).ok_or_else(refused_method)
}

/// Any other method of a path that exists.
pub(super) async fn method_not_allowed() -> ProblemDetails {
    refused_method()
}

/// Any other path.
pub(super) async fn not_found() -> ProblemDetails {
    let detail = "no route has this path";
    ProblemDetails::new(ProblemKind::NotFound, StatusCode::NOT_FOUND, detail)
}

/// 405, with what is allowed.
pub(super) fn refused_method() -> ProblemDetails {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let detail = "this path answers GET and HEAD";
    ProblemDetails::new(ProblemKind::MethodNotAllowed, status, detail)
        .with_header(ALLOW, HeaderValue::from_static("GET, HEAD"))
}
