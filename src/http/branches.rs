//! The branches of one gather: what each calls, and what each call carries.

use std::sync::Arc;

use ::http::HeaderValue;
use tokio::time::Instant;

use super::context::{Context, X_REQUEST_ID, apart};
use super::in_flight::ClientHold;
use super::parameters::Parameters;
use super::problem::ProblemDetails;
use super::route::Route;
use super::trace::{TRACEPARENT, Trace};
use crate::config::AccessLog;
use crate::gather::{Branch, Branches, Outcome};
use crate::metrics::UpstreamMetrics;
use crate::upstream::{Call, Failure, Kind, Reply, Request};

/// The calls that a gather may make, all of them ready to start.
pub(super) struct RouteCalls {
    route: Arc<Route>,
    /// Each until its branch starts.
    requests: Vec<Option<Request>>,
    context: Arc<Context>,
    /// The client's place, held until the last call is over.
    client: Arc<ClientHold>,
}

impl RouteCalls {
    /// The calls for one request of `route`.
    ///
    /// # Errors
    /// 400 when a parameter cannot be put into a target.
    pub(super) fn new(
        route: &Arc<Route>,
        context: &Arc<Context>,
        parameters: &Parameters<'_>,
        client: Arc<ClientHold>,
    ) -> Result<Self, ProblemDetails> {
        let spans = Trace::new_spans();
        let branches = 0..route.settings.branches.len();
        let requests = branches.map(|branch| {
            let trace = context.trace.header(spans + branch as u64);
            let mut request = request(route, branch, context, parameters, trace)?;
            request.share = client.share().cloned();
            Ok(Some(request))
        });
        context.record.begin(route, parameters.deadline, spans);
        Ok(Self {
            requests: requests.collect::<Result<_, _>>()?,
            route: route.clone(),
            context: context.clone(),
            client,
        })
    }

    /// The request of a branch that starts now; a branch starts once.
    fn request(&mut self, branch: usize) -> Request {
        let request = self.requests[branch].take();
        let mut request = request.expect("the driver starts no branch twice");
        if let Some(timeout) = self.route.plan.branches[branch].timeout {
            request.deadline = request.deadline.min(Instant::now() + timeout);
        }
        request
    }
}

impl Branches for RouteCalls {
    type Reply = Reply;
    type Failure = Failure;
    type Call = Call;

    fn start(&mut self, branch: usize) -> Call {
        let request = self.request(branch);
        self.route.branch(branch).1.call(request)
    }

    fn hedge(&mut self, branch: usize) -> Option<Call> {
        let permit = self.route.branch(branch).1.permit_if_free();
        let permit = permit.filter(|_| self.route.hedge_budget.withdraw());
        let Some(permit) = permit else {
            self.route.metrics.hedges_held_back.inc();
            return None;
        };
        self.route.metrics.hedges_started.inc();
        let request = self.request(branch);
        Some(self.route.branch(branch).1.call_with(permit, request))
    }

    fn over(&mut self, branches: &[Branch<Reply, Failure>]) {
        for (index, branch) in branches.iter().enumerate() {
            count(&branch.outcome, self.route.branch(index).1.metrics());
        }
        if self.context.snapshot.access_log != AccessLog::Off {
            self.context.record.end(branches);
        }
    }

    fn linger(&mut self, branch: usize, call: Call) {
        if call.linger(self.client.clone()) {
            self.context.record.linger(branch);
        }
    }
}

fn count(outcome: &Outcome<Reply, Failure>, metrics: &UpstreamMetrics) {
    match outcome {
        Outcome::NotStarted => {}
        Outcome::Unfinished => metrics.branch_unfinished(),
        Outcome::Succeeded(_) => metrics.branch_succeeded(),
        Outcome::Failed(failure) => metrics.branch_failed(failure.kind as usize),
        Outcome::TimedOut => metrics.branch_failed(Kind::Timeout as usize),
    }
}

fn request(
    route: &Route,
    branch: usize,
    context: &Context,
    parameters: &Parameters<'_>,
    trace: HeaderValue,
) -> Result<Request, ProblemDetails> {
    let (settings, _) = route.branch(branch);
    let query = parameters.query_for(settings)?;
    let target = settings
        .target
        .path_and_query(parameters.path(), &query)
        .map_err(|bad| ProblemDetails::bad_parameter(&bad.name, bad.reason))?;
    let mut headers = Vec::with_capacity(2 + settings.forward_headers.len());
    headers.push((X_REQUEST_ID, context.request_id.clone()));
    headers.push((TRACEPARENT, trace));
    for name in &settings.forward_headers {
        let values = parameters.headers.get_all(name).iter();
        headers.extend(values.map(|value| (name.clone(), apart(value))));
    }
    Ok(Request {
        target,
        headers,
        select: settings.select.clone(),
        deadline: parameters.deadline,
        share: None,
    })
}
