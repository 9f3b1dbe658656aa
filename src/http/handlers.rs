//! What a route does: parse, gather, answer.

use std::sync::Arc;

use ::http::header::{AGE, ALLOW};
use ::http::request::Parts;
use ::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::FutureExt;
use tokio::time::Instant;

use super::answer::{Part, answer};
use super::branches::RouteCalls;
use super::cache::{AnswerCache, CACHE_STATUS, Gathered, Identical, Source};
use super::context::Context;
use super::in_flight::Places;
use super::parameters::Parameters;
use super::problem::{ProblemDetails, ProblemKind};
use super::route::{Route, Routed};
use super::server_timing::{SERVER_TIMING, server_timing};
use super::shared_calls::gather_for_all;
use crate::gather;
use crate::metrics::Limit;
use crate::upstream::{Failure, Stages};

/// Gathers, and answers with what the policy makes of the replies. The future holds nothing of `head`.
pub(super) fn gather<'a>(
    context: &'a Arc<Context>,
    routed: &'a Routed,
    head: &Parts,
    places: Places,
) -> impl Future<Output = Result<Response, ProblemDetails>> + use<'a> {
    let prepared = prepare(context, routed, head, &places);
    async move {
        let (calls, deadline) = prepared?;
        let route = &routed.route;
        let _observed = route.metrics.gather();
        if let Some(cache) = &route.cache {
            let cached = Box::pin(cached(route, cache, calls, deadline, context, places));
            return cached.await;
        }
        let stages = calls.stages();
        let gathered = tokio::select! {
            biased;
            gathered = gather::run(&route.plan, deadline, calls) => gathered,
            () = context.readiness.last_call() => return Err(ProblemDetails::draining()),
        };
        timed_answer(route, gathered, places, &stages)
    }
}

/// What a request asks for: its calls, and its deadline.
fn prepare(
    context: &Arc<Context>,
    routed: &Routed,
    head: &Parts,
    places: &Places,
) -> Result<(RouteCalls, Instant), ProblemDetails> {
    let route = &routed.route;
    let refused = |_: &_| context.snapshot.metrics.edge.refused(Limit::RouteEnabled);
    route.check_enabled().inspect_err(refused)?;
    let parameters = Parameters::parse(context, routed, head)?;
    let calls = RouteCalls::new(route, context, &parameters, places.client.clone())?;
    Ok((calls, parameters.deadline))
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
    let request = Identical {
        key: calls.key(),
        plan: &route.plan,
        deadline,
        max_timeout: route.settings.max_timeout,
    };
    let begin = |ends_by, board| gather_for_all(route.clone(), calls, ends_by, board).boxed();
    let (gathered, source) = tokio::select! {
        biased;
        gathered = cache.gather(request, begin) => gathered,
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

/// Any other path.
pub(super) fn not_found() -> ProblemDetails {
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
