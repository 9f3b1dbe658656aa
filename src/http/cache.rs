//! `[routes.cache]`: identical requests share one gather, and a complete answer is kept for a moment.
//!
//! Two requests are identical when every call that they would make is: the same targets with the same
//! forwarded headers. A gather that is shared is polled by all who wait for it, so that it goes on when the
//! first of them leaves, and ends when the last one does. Each of them keeps its own deadline: what has come
//! by then is noted on a [`Board`].

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::branches::RouteCalls;
use super::route::Route;
use crate::config::CacheSettings;
use crate::gather::{self, Attempt, Branch, Branches, Outcome, Policy, Tally, Verdict};
use crate::upstream::{Call, Failure, Reply};

/// Says where an answer came from (RFC 9211).
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A gather whose replies several answers are made of.
pub(super) type Gathered = gather::Gathered<Arc<Reply>, Failure>;

/// Everything that the calls of a request say, as bytes.
pub(super) type Key = Arc<[u8]>;

/// The gathers of one route that are under way, and the answers that are kept.
pub(super) struct AnswerCache {
    settings: CacheSettings,
    kept: Cache<Key, Kept>,
    under_way: Mutex<HashMap<Key, Underway>>,
}

/// A complete, successful gather, and when it was over.
#[derive(Clone)]
struct Kept {
    gathered: Arc<Gathered>,
    at: Instant,
}

/// A gather that others may join.
#[derive(Clone)]
struct Underway {
    gathering: WeakShared<BoxFuture<'static, Arc<Gathered>>>,
    board: Arc<Board>,
    /// Those whose own deadline is later do not join.
    ends_by: Instant,
}

/// Where a gather came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The request made its own calls; whether the answer is kept.
    Upstream(bool),
    /// Another request made the calls.
    Joined,
    /// It is kept since then.
    Kept(Instant),
}

impl AnswerCache {
    /// An empty cache, which keeps at most `most` bytes.
    pub(super) fn new(settings: &CacheSettings, most: usize) -> Self {
        let weight = |_: &Key, kept: &Kept| kept.weight();
        Self {
            kept: Cache::builder()
                .time_to_live(settings.max_age)
                .max_capacity(most as u64)
                .weigher(weight)
                .build(),
            settings: settings.clone(),
            under_way: Mutex::default(),
        }
    }

    /// The gather of identical requests: one that is kept, one that is under way, or that of `calls`.
    pub(super) async fn gather(
        &self,
        route: &Arc<Route>,
        calls: RouteCalls,
        deadline: Instant,
    ) -> (Arc<Gathered>, Source) {
        let key = calls.key();
        if let Some(kept) = self.kept.get(&key)
            && kept.at.elapsed() < self.settings.max_age
        {
            return (kept.gathered, Source::Kept(kept.at));
        }
        let (gathering, board, source) = self.join_or_begin(&key, route, calls, deadline);
        let gathered = tokio::select! {
            biased;
            gathered = gathering => gathered,
            () = sleep_until(deadline) => return (Arc::new(board.gathered(route)), source),
        };
        let keeps = source == Source::Upstream(false)
            && !self.settings.max_age.is_zero()
            && is_complete(route, &gathered);
        if keeps {
            let kept = Kept {
                gathered: gathered.clone(),
                at: Instant::now(),
            };
            self.kept.insert(key, kept);
            return (gathered, Source::Upstream(true));
        }
        (gathered, source)
    }

    fn join_or_begin(
        &self,
        key: &Key,
        route: &Arc<Route>,
        calls: RouteCalls,
        deadline: Instant,
    ) -> (
        Shared<BoxFuture<'static, Arc<Gathered>>>,
        Arc<Board>,
        Source,
    ) {
        let mut under_way = self.under_way.lock();
        let joined = under_way.get(key).filter(|it| it.ends_by >= deadline);
        if let Some(Underway {
            gathering, board, ..
        }) = joined
            && let Some(gathering) = gathering.upgrade()
        {
            return (gathering, board.clone(), Source::Joined);
        }
        under_way.retain(|_, it| it.gathering.upgrade().is_some());
        // Every request that may join has a deadline before that.
        let ends_by = Instant::now() + 2 * route.settings.max_timeout;
        let board = Arc::new(Board::new(route.plan.branches.len()));
        let gathering = gathering(route.clone(), calls, ends_by, board.clone());
        let gathering = gathering.boxed().shared();
        if self.settings.coalesce
            && let Some(weak) = gathering.downgrade()
        {
            let under = Underway {
                gathering: weak,
                board: board.clone(),
                ends_by,
            };
            under_way.insert(key.clone(), under);
        }
        (gathering, board, Source::Upstream(false))
    }

    /// What `cache-status` says of an answer.
    pub(super) fn status(&self, source: Source) -> HeaderValue {
        source.status(&self.settings)
    }

    /// Once a second: forgets what is too old.
    pub(super) fn sweep(&self) {
        self.kept.run_pending_tasks();
    }
}

async fn gathering(
    route: Arc<Route>,
    calls: RouteCalls,
    ends_by: Instant,
    board: Arc<Board>,
) -> Arc<Gathered> {
    let calls = SharedCalls { calls, board };
    Arc::new(gather::run(&route.plan, ends_by, calls).await)
}

/// Whether the answer is one that may be kept: nothing is missing.
fn is_complete(route: &Route, gathered: &Gathered) -> bool {
    let has_failed = |branch: &Branch<Arc<Reply>, Failure>| {
        matches!(branch.outcome, Outcome::Failed(_) | Outcome::TimedOut)
    };
    let may_miss = matches!(route.settings.policy, Policy::Available { .. });
    gathered.verdict == Verdict::Met && !(may_miss && gathered.branches.iter().any(has_failed))
}

impl Kept {
    /// The bytes that it holds.
    fn weight(&self) -> u32 {
        let bytes = self.gathered.branches.iter().map(|it| match &it.outcome {
            Outcome::Succeeded(reply) => reply.body.len(),
            _ => 0,
        });
        u32::try_from(bytes.sum::<usize>().max(1)).unwrap_or(u32::MAX)
    }
}

impl Source {
    /// The word for it in logs and metrics.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Upstream(_) => "miss",
            Self::Joined => "collapsed",
            Self::Kept(_) => "hit",
        }
    }

    /// The value of `cache-status` (RFC 9211 section 2).
    fn status(self, settings: &CacheSettings) -> HeaderValue {
        match self {
            Self::Upstream(false) => HeaderValue::from_static("gatherd; fwd=miss"),
            Self::Upstream(true) => HeaderValue::from_static("gatherd; fwd=miss; stored"),
            Self::Joined => HeaderValue::from_static("gatherd; fwd=miss; collapsed"),
            Self::Kept(at) => {
                let left = settings.max_age.saturating_sub(at.elapsed());
                let value = format!("gatherd; hit; ttl={}", left.as_secs());
                HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("gatherd; hit"))
            }
        }
    }
}

/// What has come of a gather that is not over, for those whose deadline is earlier.
struct Board(Mutex<Vec<Noted>>);

/// A branch as far as it is known.
#[derive(Clone, Default)]
struct Noted {
    started: Option<Instant>,
    outcome: Option<(Instant, Result<Arc<Reply>, Failure>)>,
}

impl Board {
    fn new(branches: usize) -> Self {
        Self(Mutex::new(vec![Noted::default(); branches]))
    }

    fn started(&self, branch: usize) {
        self.0.lock()[branch].started.get_or_insert(Instant::now());
    }

    fn ended(&self, branch: usize, result: &Result<Arc<Reply>, Failure>) {
        self.0.lock()[branch].outcome = Some((Instant::now(), result.clone()));
    }

    /// What the gather is worth at a deadline that is now.
    fn gathered(&self, route: &Route) -> Gathered {
        let noted = self.0.lock().clone();
        let plans = &route.plan.branches;
        let required = plans.iter().filter(|plan| plan.required).count();
        let mut tally = Tally::new(route.plan.completion, plans.len(), required);
        for (plan, noted) in plans.iter().zip(&noted) {
            let _ = match &noted.outcome {
                Some((_, Ok(_))) => tally.success(plan.required),
                Some((_, Err(_))) => tally.failure(plan.required),
                None => None,
            };
        }
        Gathered {
            verdict: tally.deadline(),
            branches: noted.into_iter().map(Noted::into_branch).collect(),
        }
    }
}

impl Noted {
    fn into_branch(self) -> Branch<Arc<Reply>, Failure> {
        let (ended, outcome) = match (self.started, self.outcome) {
            (_, Some((ended, Ok(reply)))) => (ended, Outcome::Succeeded(reply)),
            (_, Some((ended, Err(failure)))) => (ended, Outcome::Failed(failure)),
            (Some(_), None) => (Instant::now(), Outcome::TimedOut),
            (None, None) => (Instant::now(), Outcome::NotStarted),
        };
        let elapsed = self.started.map(|started| ended.duration_since(started));
        Branch {
            outcome,
            started: self.started,
            elapsed: elapsed.unwrap_or_default(),
            hedged: false,
            hedge_won: false,
        }
    }
}

/// The calls of a gather that is shared.
struct SharedCalls {
    calls: RouteCalls,
    board: Arc<Board>,
}

/// One of them, which notes its end.
struct SharedCall {
    call: Call,
    branch: usize,
    board: Arc<Board>,
}

impl SharedCalls {
    fn shared(&self, branch: usize, call: Call) -> SharedCall {
        self.board.started(branch);
        SharedCall {
            call,
            branch,
            board: self.board.clone(),
        }
    }
}

impl Branches for SharedCalls {
    type Reply = Arc<Reply>;
    type Failure = Failure;
    type Call = SharedCall;

    fn start(&mut self, branch: usize) -> SharedCall {
        let call = self.calls.start(branch);
        self.shared(branch, call)
    }

    fn patience(&mut self, branch: usize) -> Option<Duration> {
        self.calls.patience(branch)
    }

    fn hedge(&mut self, branch: usize) -> Option<SharedCall> {
        let call = self.calls.hedge(branch)?;
        Some(self.shared(branch, call))
    }

    fn again(&mut self, branch: usize, running: &SharedCall) -> Option<SharedCall> {
        let call = self.calls.again(branch, &running.call)?;
        Some(self.shared(branch, call))
    }

    fn over(&mut self, branches: &[Branch<Arc<Reply>, Failure>]) {
        self.calls.note_over(branches);
    }

    fn linger(&mut self, branch: usize, call: SharedCall) {
        self.calls.linger(branch, call.call);
    }

    fn outrun(&mut self, branch: usize, call: SharedCall, loser: Attempt) {
        self.calls.outrun(branch, call.call, loser);
    }
}

impl Future for SharedCall {
    type Output = Result<Arc<Reply>, Failure>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.call).poll(task)).map(Arc::new);
        self.board.ended(self.branch, &result);
        Poll::Ready(result)
    }
}
