//! A configured route, ready to gather.

use std::fmt::Write;
use std::sync::Arc;

use ::http::{HeaderValue, StatusCode};

use super::cache::AnswerCache;
use super::hedging::Hedging;
use super::limiter::Limiter;
use super::problem::{ProblemDetails, ProblemKind};
use crate::config::{BranchSettings, FailureStatus, RouteSettings};
use crate::gather::{BranchPlan, Plan};
use crate::metrics::{Metrics, RouteMetrics};
use crate::upstream::Upstream;

/// One route with the upstreams of its branches.
pub(super) struct Route {
    pub(super) settings: RouteSettings,
    pub(super) plan: Plan,
    pub(super) hedging: Option<Hedging>,
    pub(super) failure_status: FailureStatus,
    pub(super) metrics: RouteMetrics,
    pub(super) cache: Option<AnswerCache>,
    /// Limits the rate of each client.
    pub(super) limiter: Option<Limiter>,
    /// The `gather` header when every branch succeeded.
    pub(super) complete: HeaderValue,
    upstreams: Vec<Arc<Upstream>>,
}

/// A route, and what the path of a request says for its parameters.
pub(super) struct Routed {
    /// The route, which brings its limiter, its metrics and its settings.
    pub(super) route: Arc<Route>,
    /// Names and values, as they came.
    pub(super) parameters: Vec<(Box<str>, Box<str>)>,
}

impl Route {
    /// A route as configured; its branches name `upstreams` by their index.
    pub(super) fn new(
        settings: &RouteSettings,
        upstreams: &[Arc<Upstream>],
        failure_status: FailureStatus,
        most_cached: usize,
        limiter: Option<Limiter>,
        metrics: &Metrics,
        before: Option<&Self>,
    ) -> Self {
        let branches = settings.branches.iter();
        let plans = branches.clone().map(|branch| BranchPlan {
            required: branch.required,
            timeout: branch.timeout,
        });
        let hedging = settings.hedging.as_ref().map(|hedging| {
            let before = before.and_then(|route| route.hedging.as_ref());
            let tail = metrics.tail(&settings.path, settings.policy.name());
            Hedging::new(hedging, settings.branches.len(), tail, before)
        });
        Self {
            plan: Plan {
                completion: settings.policy.completion(settings.branches.len()),
                launch: settings.launch,
                slow: hedging.as_ref().map(Hedging::slow),
                branches: plans.collect(),
            },
            hedging,
            failure_status,
            metrics: metrics.route(&settings.path, settings.policy.name()),
            cache: settings
                .cache
                .as_ref()
                .map(|it| AnswerCache::new(it, most_cached)),
            limiter,
            complete: gather_header(settings.branches.len(), settings.branches.len(), 0, ""),
            upstreams: branches
                .map(|branch| upstreams[branch.upstream].clone())
                .collect(),
            settings: settings.clone(),
        }
    }

    /// The settings and the upstream of a branch.
    pub(super) fn branch(&self, index: usize) -> (&BranchSettings, &Arc<Upstream>) {
        (&self.settings.branches[index], &self.upstreams[index])
    }

    /// Refuses when the route is switched off.
    ///
    /// # Errors
    /// 503.
    pub(super) fn check_enabled(&self) -> Result<(), ProblemDetails> {
        if self.settings.enabled {
            return Ok(());
        }
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let detail = "this route is switched off for now";
        Err(ProblemDetails::new(ProblemKind::Overloaded, status, detail).with_retry_after(60))
    }
}

/// The header of a gather with so many branches, and the names of those that are `missing`.
pub(super) fn gather_header(total: usize, ok: usize, failed: usize, missing: &str) -> HeaderValue {
    let mut text = format!("total={total}, ok={ok}, failed={failed}");
    if failed > 0 {
        let _ = write!(text, ", missing=({missing})");
    }
    HeaderValue::from_str(&text).expect("numbers and plain words are a header value")
}
