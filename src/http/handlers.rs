//! What each URL does: extract, call one function, respond.

use std::sync::Arc;

use ::http::header::ALLOW;
use ::http::{HeaderValue, StatusCode};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use tokio::time::Instant;

use super::answer::answer;
use super::branches::RouteCalls;
use super::context::Context;
use super::cors;
use super::in_flight::Places;
use super::parameters::Parameters;
use super::problem::{ProblemDetails, ProblemKind};
use super::route::Route;
use crate::gather;
use crate::metrics::Limit;

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
        route.hedge_budget.deposit();
        let _observed = route.metrics.gather();
        let gathered = tokio::select! {
            biased;
            gathered = gather::run(&route.plan, deadline, calls) => gathered,
            () = context.readiness.last_call() => return Err(ProblemDetails::draining()),
        };
        answer(&route, gathered, places)
    }
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
