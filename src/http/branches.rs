//! The branches of one gather: what each calls, and what each call carries.

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use tokio::time::Instant;

use super::cache::Key;
use super::context::{Context, X_REQUEST_ID, apart};
use super::hedging::Hedging;
use super::in_flight::ClientHold;
use super::parameters::Parameters;
use super::problem::ProblemDetails;
use super::route::Route;
use super::trace::{TRACEPARENT, Trace};
use crate::config::AccessLog;
use crate::gather::{Attempt, Branch, Branches, Launch, Outcome};
use crate::metrics::{Unhedged, UpstreamMetrics};
use crate::upstream::{Call, Failure, Kind, Reply, Request, Stages};

/// The headers of a call that are its own, before those that are forwarded.
const OWN_HEADERS: usize = 2;

/// The calls that a gather may make, all of them ready to start.
pub(super) struct RouteCalls {
    route: Arc<Route>,
    /// Each until its branch starts.
    requests: Vec<Option<Request>>,
    context: Arc<Context>,
    /// The client's place, held until the last call is over.
    client: Arc<ClientHold>,
    /// Where the route hedges.
    unhedged: Option<Unhedged>,
    /// Of each branch, where the answer tells them.
    stages: Vec<Arc<Stages>>,
    /// Whether a branch that was left for later has won.
    hedge_won: bool,
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
        let stages: Vec<Arc<Stages>> = match context.tells_timing {
            true => branches.clone().map(|_| Arc::default()).collect(),
            false => Vec::new(),
        };
        let requests = branches.map(|branch| {
            let trace = context.trace.header(spans + branch as u64);
            let mut request = request(route, branch, context, parameters, trace)?;
            request.share = client.share().cloned();
            request.stages = stages.get(branch).cloned();
            Ok(Some(request))
        });
        context.notes.begin(parameters.deadline, spans);
        Ok(Self {
            requests: requests.collect::<Result<_, _>>()?,
            unhedged: route.hedging.as_ref().map(Hedging::gather),
            stages,
            hedge_won: false,
            route: route.clone(),
            context: context.clone(),
            client,
        })
    }

    /// A hedge, if one may be made: another attempt beside the one that is `running`, or the first.
    fn call_if_permitted(&mut self, branch: usize, running: Option<&Call>) -> Option<Call> {
        let upstream = self.route.branch(branch).1.clone();
        let hedging = self.route.hedging.as_ref()?;
        let permit = hedging.permit(&upstream, &self.route.metrics)?;
        let request = self.request(branch);
        Some(upstream.call_with(permit, request, running))
    }

    /// Has a call read to its end, which a hedge may have outrun: how much that saved is known then.
    fn read_on(&self, branch: usize, call: Call, is_outrun: bool) {
        let unhedged = self.unhedged.as_ref().filter(|_| is_outrun);
        let saving = unhedged.map(|it| it.outrun(&self.route.metrics.hedges_saved));
        if call.linger((self.client.clone(), saving)) {
            self.context.notes.linger(branch);
        }
    }

    /// Where the stages of each branch's call are noted, where the answer tells them.
    pub(super) fn stages(&self) -> Vec<Arc<Stages>> {
        self.stages.clone()
    }

    /// All that the calls say: requests whose calls say the same are identical.
    pub(super) fn key(&self) -> Key {
        let mut key = Vec::new();
        let mut push = |bytes: &[u8]| {
            key.extend_from_slice(&bytes.len().to_le_bytes());
            key.extend_from_slice(bytes);
        };
        for request in self.requests.iter().flatten() {
            push(&request.target);
            let forwarded = &request.headers[OWN_HEADERS..];
            push(&forwarded.len().to_le_bytes());
            for (name, value) in forwarded {
                push(name.as_str().as_bytes());
                push(value.as_bytes());
            }
        }
        key.into()
    }

    /// The gather is over, or nothing waits for it any more.
    pub(super) fn note_over<R: AsRef<Reply>>(&mut self, branches: &[Branch<R, Failure>]) {
        if let Some(unhedged) = &self.unhedged {
            unhedged.answered();
            let is_staggered = matches!(self.route.plan.launch, Launch::Staggered { .. });
            self.hedge_won = is_staggered && branches.iter().any(|branch| branch.hedge_won);
        }
        for (index, branch) in branches.iter().enumerate() {
            count(&branch.outcome, self.route.branch(index).1.metrics());
        }
        if self.context.snapshot.access_log != AccessLog::Off {
            self.context.notes.end(branches);
        }
    }

    /// The request of a branch that starts now; a branch starts once.
    fn request(&mut self, branch: usize) -> Request {
        // Where there are hedges, another attempt may follow.
        let request = match self.route.hedging {
            Some(_) => self.requests[branch].clone(),
            None => self.requests[branch].take(),
        };
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
        if let Some(hedging) = &self.route.hedging {
            hedging.deposit();
        }
        let request = self.request(branch);
        self.route.branch(branch).1.call(request)
    }

    fn patience(&mut self, branch: usize) -> Option<Duration> {
        self.route.hedging.as_ref()?.patience(branch)
    }

    fn hedge(&mut self, branch: usize) -> Option<Call> {
        self.call_if_permitted(branch, None)
    }

    fn again(&mut self, branch: usize, running: &Call) -> Option<Call> {
        self.call_if_permitted(branch, Some(running))
    }

    fn over(&mut self, branches: &[Branch<Reply, Failure>]) {
        self.note_over(branches);
    }

    fn linger(&mut self, branch: usize, call: Call) {
        self.read_on(branch, call, self.hedge_won);
    }

    fn outrun(&mut self, branch: usize, call: Call, loser: Attempt) {
        self.read_on(branch, call, loser == Attempt::First);
    }
}

fn count<R>(outcome: &Outcome<R, Failure>, metrics: &UpstreamMetrics) {
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
        .path_and_query(&parameters.path(), &query)
        .map_err(|bad| ProblemDetails::bad_parameter(&bad.name, bad.reason))?;
    let mut headers = Vec::with_capacity(OWN_HEADERS + settings.forward_headers.len());
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
        deadline: match route.cache {
            // Others may wait for it longer.
            Some(_) => Instant::now() + route.settings.max_timeout,
            None => parameters.deadline,
        },
        expected: settings.timeout.unwrap_or(route.settings.timeout),
        latencies: route.hedging.as_ref().and_then(|it| it.latencies(branch)),
        stages: None,
        share: None,
    })
}
