//! `[routes.cache]`: identical requests share one gather, and a complete answer is kept for a moment.
//!
//! Two requests are identical when every call that they would make is: the same targets with the same
//! forwarded headers. A gather that is shared is polled by all who wait for it, so that it goes on when the
//! first of them leaves, and ends when the last one does. Each of them keeps its own deadline: what has come
//! by then is noted on a [`Board`].

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::config::CacheSettings;
use crate::gather::{self, Branch, Completion, Outcome, Plan, Tally, Verdict};
use crate::upstream::{Failure, Reply};

/// Says where an answer came from (RFC 9211).
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A gather whose replies several answers are made of.
pub(super) type Gathered = gather::Gathered<Arc<Reply>, Failure>;

/// Everything that the calls of a request say, as bytes.
pub(super) type Key = Arc<[u8]>;

/// A gather that is under way.
pub(super) type Gathering = BoxFuture<'static, Arc<Gathered>>;

/// A request to a route with a cache.
pub(super) struct Identical<'a> {
    /// The same for requests that are identical.
    pub(super) key: Key,
    /// How its route gathers.
    pub(super) plan: &'a Plan,
    /// When it is answered, whatever has come by then.
    pub(super) deadline: Instant,
    /// The longest timeout of its route.
    pub(super) max_timeout: Duration,
}

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
    gathering: WeakShared<Gathering>,
    board: Weak<Board>,
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

    /// The gather of identical requests: one that is kept, one that is under way, or the one that `begin`
    /// begins, which ends by the given instant.
    pub(super) async fn gather(
        &self,
        request: Identical<'_>,
        begin: impl FnOnce(Instant, Arc<Board>) -> Gathering,
    ) -> (Arc<Gathered>, Source) {
        if let Some(kept) = self.kept.get(&request.key)
            && kept.at.elapsed() < self.settings.max_age
        {
            return (kept.gathered, Source::Kept(kept.at));
        }
        // Dropped behind the gather.
        let _leaving = Leaving {
            cache: self,
            key: request.key.clone(),
        };
        let (gathering, board, source) = self.join_or_begin(&request, begin);
        let gathered = tokio::select! {
            biased;
            gathered = gathering => gathered,
            () = sleep_until(request.deadline) => {
                return (Arc::new(board.gathered(request.plan)), source);
            }
        };
        let keeps = source == Source::Upstream(false)
            && !self.settings.max_age.is_zero()
            && is_complete(request.plan, &gathered);
        if keeps {
            let kept = Kept {
                gathered: gathered.clone(),
                at: Instant::now(),
            };
            self.kept.insert(request.key, kept);
            return (gathered, Source::Upstream(true));
        }
        (gathered, source)
    }

    fn join_or_begin(
        &self,
        request: &Identical<'_>,
        begin: impl FnOnce(Instant, Arc<Board>) -> Gathering,
    ) -> (Shared<Gathering>, Arc<Board>, Source) {
        let mut under_way = self.under_way.lock();
        let joined = under_way.get(&request.key);
        if let Some(joined) = joined.filter(|it| it.ends_by >= request.deadline)
            && let (Some(gathering), Some(board)) =
                (joined.gathering.upgrade(), joined.board.upgrade())
        {
            return (gathering, board, Source::Joined);
        }
        // Every request that may join has a deadline before that.
        let ends_by = Instant::now() + 2 * request.max_timeout;
        let board = Arc::new(Board::new(request.plan.branches.len()));
        let gathering = begin(ends_by, board.clone()).shared();
        if self.settings.coalesce
            && let Some(weak) = gathering.downgrade()
        {
            let underway = Underway {
                gathering: weak,
                board: Arc::downgrade(&board),
                ends_by,
            };
            under_way.insert(request.key.clone(), underway);
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

/// A request that waits for a gather; the last one that leaves clears its place.
struct Leaving<'a> {
    cache: &'a AnswerCache,
    key: Key,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut under_way = self.cache.under_way.lock();
        let underway = under_way.get(&self.key);
        if underway.is_some_and(|it| it.gathering.upgrade().is_none()) {
            under_way.remove(&self.key);
        }
    }
}

/// Whether the answer is one that may be kept: nothing is missing.
fn is_complete(plan: &Plan, gathered: &Gathered) -> bool {
    let has_failed = |branch: &Branch<Arc<Reply>, Failure>| {
        matches!(branch.outcome, Outcome::Failed(_) | Outcome::TimedOut)
    };
    let may_miss = matches!(plan.completion, Completion::AllDone { .. });
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
pub(super) struct Board(Mutex<Vec<Noted>>);

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

    /// A branch starts.
    pub(super) fn started(&self, branch: usize) {
        self.0.lock()[branch].started.get_or_insert(Instant::now());
    }

    /// A call of a branch ends.
    pub(super) fn ended(&self, branch: usize, result: &Result<Arc<Reply>, Failure>) {
        self.0.lock()[branch].outcome = Some((Instant::now(), result.clone()));
    }

    /// What the gather is worth at a deadline that is now.
    fn gathered(&self, plan: &Plan) -> Gathered {
        let noted = self.0.lock().clone();
        let (completion, plans) = (plan.completion, &plan.branches);
        let required = plans.iter().filter(|plan| plan.required).count();
        let mut tally = Tally::new(completion, plans.len(), required);
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;

    use super::*;
    use crate::gather::{BranchPlan, Launch};

    fn plan() -> Plan {
        Plan {
            completion: Completion::Successes { need: 1 },
            launch: Launch::Together,
            slow: None,
            branches: vec![BranchPlan::default()],
        }
    }

    /// A gather that is over at once, or never.
    fn gathering(is_over: bool) -> Gathering {
        let gathered = Gathered {
            verdict: Verdict::Met,
            branches: Vec::new(),
        };
        if is_over {
            async { Arc::new(gathered) }.boxed()
        } else {
            pending().boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_forgotten_when_it_is_over_and_when_the_last_one_leaves() {
        let settings = CacheSettings {
            coalesce: true,
            max_age: Duration::ZERO,
        };
        let (cache, plan) = (AnswerCache::new(&settings, 1000), plan());
        let request = || Identical {
            key: b"key".as_slice().into(),
            plan: &plan,
            deadline: Instant::now() + Duration::from_secs(1),
            max_timeout: Duration::from_secs(1),
        };
        let (_, source) = cache.gather(request(), |_, _| gathering(true)).await;
        assert_eq!(source, Source::Upstream(false));
        assert!(cache.under_way.lock().is_empty());
        let mut first = Box::pin(cache.gather(request(), |_, _| gathering(false)));
        let mut second = Box::pin(cache.gather(request(), |_, _| unreachable!("it is under way")));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(cache.under_way.lock().len(), 1);
        assert_eq!(second.await.1, Source::Joined, "at its own deadline");
        assert!(cache.under_way.lock().is_empty());
    }
}
