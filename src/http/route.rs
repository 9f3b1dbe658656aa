//! A configured route, ready to gather.

use std::sync::Arc;

use ::http::{HeaderValue, StatusCode};

use super::answer::gather_header;
use super::problem::{ProblemDetails, ProblemKind};
use crate::config::{BranchSettings, FailureStatus, RouteSettings};
use crate::gather::{BranchPlan, HedgeBudget, Plan};
use crate::metrics::{Metrics, RouteMetrics};
use crate::upstream::Upstream;

/// One route with the upstreams of its branches.
pub(super) struct Route {
    pub(super) settings: RouteSettings,
    pub(super) plan: Plan,
    pub(super) hedge_budget: HedgeBudget,
    pub(super) failure_status: FailureStatus,
    pub(super) metrics: RouteMetrics,
    /// The `gather` header when every branch succeeded.
    pub(super) complete: HeaderValue,
    upstreams: Vec<Arc<Upstream>>,
}

impl Route {
    /// A route as configured; its branches name `upstreams` by their index.
    pub(super) fn new(
        settings: &RouteSettings,
        upstreams: &[Arc<Upstream>],
        failure_status: FailureStatus,
        metrics: &Metrics,
    ) -> Self {
        let branches = settings.branches.iter();
        let plans = branches.clone().map(|branch| BranchPlan {
            required: branch.required,
            timeout: branch.timeout,
        });
        Self {
            plan: Plan {
                completion: settings.policy.completion(settings.branches.len()),
                launch: settings.launch,
                branches: plans.collect(),
            },
            hedge_budget: HedgeBudget::new(settings.hedge_budget),
            failure_status,
            metrics: metrics.route(&settings.path, settings.policy.name()),
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
