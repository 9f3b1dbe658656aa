//! From the end of a gather to the answer: bodies embedded as they came, or a problem.

mod body;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use ::http::{HeaderName, HeaderValue, StatusCode};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;

use self::body::Segments;
use super::in_flight::{Holding, Places};
use super::problem::{FailedBranch, ProblemDetails, ProblemKind};
use super::route::{Route, gather_header};
use crate::config::{FailureStatus, Shape};
use crate::gather::{self, Outcome, Verdict};
use crate::upstream::{Failure, Kind, Reply};

type Gathered<R> = gather::Gathered<R, Failure>;

/// A reply of which an answer is made.
pub(super) trait Part: AsRef<Reply> {
    /// Its body, and the account of the bytes.
    fn into_body(self) -> (Bytes, Holding);
}

impl Part for Reply {
    fn into_body(self) -> (Bytes, Holding) {
        let _reservation = self.reservation;
        (self.body, Holding::Own { _reservation })
    }
}

impl Part for Arc<Reply> {
    fn into_body(self) -> (Bytes, Holding) {
        (self.body.clone(), Holding::Shared { _reply: self })
    }
}

/// The header that says how a gather went, a dictionary of RFC 9651.
const GATHER: HeaderName = HeaderName::from_static("gather");

/// The answer to a gather that is over.
///
/// # Errors
/// The problem of a gather that is not worth an answer.
pub(super) fn answer<R: Part>(
    route: &Arc<Route>,
    gathered: Gathered<R>,
    places: Places,
) -> Result<Response, ProblemDetails> {
    let summary = summary(route, &gathered);
    match gathered.verdict {
        Verdict::Met => Ok(success(route, gathered, summary, places)),
        Verdict::Failed | Verdict::DeadlineExceeded => {
            Err(failure(route, &gathered).with_header(GATHER, summary))
        }
    }
}

fn success<R: Part>(
    route: &Route,
    gathered: Gathered<R>,
    summary: HeaderValue,
    places: Places,
) -> Response {
    let one = route.settings.policy.answers_one();
    let mut segments = Segments::new(gathered.branches.len());
    for (branch, settings) in gathered.branches.into_iter().zip(&route.settings.branches) {
        let Outcome::Succeeded(reply) = branch.outcome else {
            continue;
        };
        if branch.hedge_won {
            route.metrics.hedges_won.inc();
        }
        match (one, route.settings.shape) {
            (true, _) => {}
            (false, Shape::Array) => segments.push_element(),
            (false, Shape::Object) => segments.push_member(&settings.name),
        }
        segments.push_reply(reply.into_body());
    }
    match (one, route.settings.shape) {
        (true, _) => {}
        (false, Shape::Array) => segments.end_array(),
        (false, Shape::Object) => segments.end_object(),
    }
    let mut response = Response::new(Body::new(segments.into_body(places)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(GATHER, summary);
    response
}

fn failure<R>(route: &Route, gathered: &Gathered<R>) -> ProblemDetails {
    let failed = failed_branches(route, gathered);
    let gateway = route.failure_status == FailureStatus::Gateway;
    let policy = route.settings.policy.name();
    let (missing, total) = (failed.len(), gathered.branches.len());
    let problem = if gathered.verdict == Verdict::DeadlineExceeded {
        let status = if gateway {
            StatusCode::GATEWAY_TIMEOUT
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        let detail = format!("the deadline came before policy {policy} was met");
        ProblemDetails::new(ProblemKind::DeadlineExceeded, status, detail)
    } else if failed
        .iter()
        .any(|branch| branch.kind == Kind::Overloaded.name())
    {
        let detail = "the service has as many calls or bytes of replies as it may hold at once";
        ProblemDetails::overloaded(detail)
    } else if let Some(stopped) = stopped_for(route, &gathered.branches) {
        let detail = format!(
            "{missing} of {total} branches failed: an upstream is not called for now, since its calls fail"
        );
        let status = StatusCode::SERVICE_UNAVAILABLE;
        // Rounded up, and apart, so that those who are refused together do not come back together.
        let seconds = stopped.as_secs() + fastrand::u64(1..=3);
        ProblemDetails::new(ProblemKind::GatherFailed, status, detail).with_retry_after(seconds)
    } else {
        let status = if gateway {
            StatusCode::BAD_GATEWAY
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        let detail =
            format!("{missing} of {total} branches failed, and policy {policy} cannot be met");
        ProblemDetails::new(ProblemKind::GatherFailed, status, detail)
    };
    problem.with_branches(failed)
}

/// For how long the upstream of a failed branch is not called, if any is stopped by its breaker.
fn stopped_for<R>(route: &Route, branches: &[gather::Branch<R, Failure>]) -> Option<Duration> {
    let stopped = branches.iter().enumerate().filter_map(|(index, branch)| {
        let is_stopped = failure_of(&branch.outcome)?.kind == Kind::Breaker;
        is_stopped.then(|| route.branch(index).1.stopped_for())
    });
    stopped.max()
}

fn failed_branches<R>(route: &Route, gathered: &Gathered<R>) -> Vec<FailedBranch> {
    let branches = gathered.branches.iter().enumerate();
    let failed = branches.filter_map(|(index, branch)| {
        let failure = failure_of(&branch.outcome)?;
        let (settings, upstream) = route.branch(index);
        Some(FailedBranch {
            branch: settings.name.to_string(),
            upstream: upstream.settings().name.to_string(),
            kind: failure.kind.name(),
            status: failure.status,
            elapsed_ms: milliseconds(branch.elapsed),
        })
    });
    failed.collect()
}

/// Why a branch is missing, if it is.
pub(super) fn failure_of<R>(outcome: &Outcome<R, Failure>) -> Option<Failure> {
    match outcome {
        Outcome::Failed(failure) => Some(*failure),
        Outcome::TimedOut => Some(Failure::of(Kind::Timeout)),
        Outcome::NotStarted | Outcome::Unfinished | Outcome::Succeeded(_) => None,
    }
}

/// `total=3, ok=2, failed=1, missing=("orders")`.
fn summary<R>(route: &Route, gathered: &Gathered<R>) -> HeaderValue {
    let branches = gathered.branches.iter().zip(&route.settings.branches);
    let mut ok = 0;
    let mut failed = 0;
    let mut missing = String::new();
    for (branch, settings) in branches {
        if failure_of(&branch.outcome).is_some() {
            failed += 1;
            let space = if missing.is_empty() { "" } else { " " };
            // Writing to a string cannot fail; names are plain words.
            let _ = write!(missing, "{space}\"{}\"", settings.name);
        } else if matches!(branch.outcome, Outcome::Succeeded(_)) {
            ok += 1;
        }
    }
    let total = gathered.branches.len();
    if ok == total {
        return route.complete.clone();
    }
    gather_header(total, ok, failed, &missing)
}

/// A duration as APIs write it.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
