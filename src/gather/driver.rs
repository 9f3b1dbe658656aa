//! Runs one gather: starts branches as the plan says, hears outcomes, keeps the deadline, and hands
//! over what still runs when it is over, however it ended.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::tally::Tally;
use super::{Completion, Launch, Slow, Verdict};

/// A second attempt that is held back is not asked for again before this has passed.
const LEAST_PATIENCE: Duration = Duration::from_millis(1);

/// The constant part of a gather, made once for a route.
#[derive(Clone, Debug)]
pub struct Plan {
    /// When it is over.
    pub completion: Completion,
    /// Which branches start when.
    pub launch: Launch,
    /// When a branch is slow; none where there are no hedges.
    pub slow: Option<Slow>,
    /// Its branches, in order.
    pub branches: Vec<BranchPlan>,
}

/// What the driver needs to know of a branch before it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct BranchPlan {
    /// Whether the gather fails when this branch does.
    pub required: bool,
    /// How long the branch may take from its own start.
    pub timeout: Option<Duration>,
}

/// The branches of one gather, as the driver uses them.
pub trait Branches {
    /// What a branch gives when it succeeds.
    type Reply;
    /// What it gives when it fails.
    type Failure;
    /// A running branch.
    type Call: Future<Output = Result<Self::Reply, Self::Failure>> + Unpin;

    /// Starts a branch.
    fn start(&mut self, branch: usize) -> Self::Call;

    /// How long a branch that starts now may run until it is slow; none when that is not known. Asked only
    /// where the plan says [`Slow::Patience`].
    fn patience(&mut self, branch: usize) -> Option<Duration>;

    /// Starts a branch only because others are slow; none when it must be held back.
    fn hedge(&mut self, branch: usize) -> Option<Self::Call>;

    /// Starts a second attempt of a branch whose first is `running`; none when it must be held back.
    fn again(&mut self, branch: usize, running: &Self::Call) -> Option<Self::Call>;

    /// Hears of every branch when the gather is over, or when it is not waited for any more; what
    /// still runs then is handed to [`Branches::linger`].
    fn over(&mut self, _branches: &[Branch<Self::Reply, Self::Failure>]) {}

    /// Takes a call whose branch is over (its gather ended, or its own time did) but which is not done.
    fn linger(&mut self, branch: usize, call: Self::Call);

    /// Takes the `loser` of two attempts: the other succeeded.
    fn outrun(&mut self, branch: usize, call: Self::Call, _loser: Attempt) {
        self.linger(branch, call);
    }
}

/// Which of the two attempts that a branch may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The one that it starts with.
    First,
    /// The hedge.
    Second,
}

/// How a gather ended, and each of its branches.
#[derive(Clone, Debug)]
pub struct Gathered<R, E> {
    /// What it is worth.
    pub verdict: Verdict,
    /// Every branch, in order.
    pub branches: Vec<Branch<R, E>>,
}

/// What became of one branch.
#[derive(Clone, Debug)]
pub struct Branch<R, E> {
    /// Its outcome by the end of the gather.
    pub outcome: Outcome<R, E>,
    /// When it started, if it did.
    pub started: Option<Instant>,
    /// From its start to its outcome, or to the end of the gather.
    pub elapsed: Duration,
    /// Whether it was started only because others were slow, or has a second attempt.
    pub hedged: bool,
    /// Whether its reply is that of a hedge.
    pub hedge_won: bool,
}

/// The outcome of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<R, E> {
    /// It was not started.
    NotStarted,
    /// It ran when the gather was over.
    Unfinished,
    /// It succeeded.
    Succeeded(R),
    /// It failed.
    Failed(E),
    /// Its own timeout or the deadline came first.
    TimedOut,
}

/// Runs a gather to its end. Dropping the future hands what runs to [`Branches::linger`] too.
pub async fn run<B: Branches>(
    plan: &Plan,
    deadline: Instant,
    branches: B,
) -> Gathered<B::Reply, B::Failure> {
    let mut gather = Open::new(plan, deadline, branches);
    gather.launch();
    let mut timer = pin!(sleep_until(gather.next_instant()));
    let verdict = loop {
        let verdict = tokio::select! {
            // Outcomes first: one that is there in the same wake as the deadline counts.
            biased;
            Some(done) = gather.running.calls.next() => gather.outcome(done),
            // Calls that read much use up what a task may do in one turn; the deadline is not theirs to use.
            () = unconstrained(&mut timer) => gather.tick(timer.deadline()),
        };
        if let Some(verdict) = verdict {
            break verdict;
        }
        let next = gather.next_instant();
        if timer.deadline() != next {
            timer.as_mut().reset(next);
        }
    };
    gather.close(verdict)
}

/// A gather that is not over.
struct Open<'a, B: Branches> {
    plan: &'a Plan,
    deadline: Instant,
    /// When branches that were not started are started as hedges, once.
    hedge_at: Option<Instant>,
    /// Of each branch; empty where there are no hedges.
    attempts: Vec<Attempts>,
    /// Whether any branch has a time of its own; most gathers have none.
    has_timeouts: bool,
    tally: Tally,
    running: Running<B>,
    branches: Vec<Branch<B::Reply, B::Failure>>,
}

impl<'a, B: Branches> Open<'a, B> {
    fn new(plan: &'a Plan, deadline: Instant, branches: B) -> Self {
        let required = plan
            .branches
            .iter()
            .filter(|branch| branch.required)
            .count();
        Self {
            plan,
            deadline,
            hedge_at: None,
            attempts: match plan.slow {
                Some(_) => vec![Attempts::default(); plan.branches.len()],
                None => Vec::new(),
            },
            has_timeouts: plan.branches.iter().any(|branch| branch.timeout.is_some()),
            tally: Tally::new(plan.completion, plan.branches.len(), required),
            running: Running {
                branches,
                calls: FuturesUnordered::new(),
            },
            branches: plan
                .branches
                .iter()
                .map(|_| Branch::not_started())
                .collect(),
        }
    }

    fn launch(&mut self) {
        let at_once = match self.plan.launch {
            Launch::Together => self.branches.len(),
            Launch::Staggered { at_once } => at_once.min(self.branches.len()),
        };
        for _ in 0..at_once {
            self.start_next();
        }
        // The others follow when all of these are slow.
        self.hedge_at = self.attempts.iter().filter_map(Attempts::due).max();
    }

    fn start_next(&mut self) {
        if self.is_past_deadline() {
            return;
        }
        if let Some(branch) = (0..self.branches.len()).find(|branch| self.waits(*branch)) {
            let call = self.running.branches.start(branch);
            self.started(branch, call, false);
        }
    }

    fn started(&mut self, branch: usize, call: B::Call, hedged: bool) {
        self.branches[branch].started = Some(Instant::now());
        self.branches[branch].outcome = Outcome::Unfinished;
        self.branches[branch].hedged = hedged;
        if let Some(attempts) = self.attempts.get_mut(branch) {
            attempts.running = 1;
            if self.plan.slow == Some(Slow::Patience) {
                let patience = self.running.branches.patience(branch);
                attempts.slow_at = patience.map(|patience| Instant::now() + patience);
                attempts.patience = patience.unwrap_or_default();
            }
        }
        self.running.push(branch, Attempt::First, call);
    }

    /// Whether the deadline is there, even if its timer was not heard yet: a call begun now would
    /// be of no use.
    fn is_past_deadline(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Whether a branch has not started yet.
    fn waits(&self, branch: usize) -> bool {
        matches!(self.branches[branch].outcome, Outcome::NotStarted)
    }

    /// The next instant at which something must happen even if no branch is done.
    fn next_instant(&self) -> Instant {
        let limited = if self.has_timeouts {
            self.branches.len()
        } else {
            0
        };
        let timeouts = (0..limited).filter_map(|branch| self.timeout_of(branch));
        timeouts
            .chain(self.next_hedge())
            .fold(self.deadline, Instant::min)
    }

    /// When the next hedge is due.
    fn next_hedge(&self) -> Option<Instant> {
        if self.plan.slow == Some(Slow::Patience) && self.has_waiting() {
            return self.hedge_at;
        }
        let branches = 0..self.attempts.len();
        branches.filter_map(|branch| self.slow_at(branch)).min()
    }

    /// When a running branch is slow that has had no hedge.
    fn slow_at(&self, branch: usize) -> Option<Instant> {
        let runs = matches!(self.branches[branch].outcome, Outcome::Unfinished);
        self.attempts[branch].due().filter(|_| runs)
    }

    /// Whether a branch is left that was not started.
    fn has_waiting(&self) -> bool {
        (0..self.branches.len()).any(|branch| self.waits(branch))
    }

    /// When the time of a running branch is over, if it has a time of its own.
    fn timeout_of(&self, branch: usize) -> Option<Instant> {
        let timeout = self.plan.branches[branch].timeout?;
        match self.branches[branch] {
            Branch {
                started: Some(started),
                outcome: Outcome::Unfinished,
                ..
            } => Some(started + timeout),
            _ => None,
        }
    }

    fn outcome(&mut self, (branch, attempt, result): Done<B>) -> Option<Verdict> {
        let required = self.plan.branches[branch].required;
        let attempts = self.attempts.get_mut(branch).map(|attempts| {
            attempts.running -= 1;
            *attempts
        });
        let attempts = attempts.unwrap_or_default();
        match result {
            Ok(reply) => {
                let ended = &mut self.branches[branch];
                ended.hedge_won = match attempt {
                    Attempt::First => ended.hedged && !attempts.has_second,
                    Attempt::Second => true,
                };
                ended.end(Outcome::Succeeded(reply));
                if attempts.running > 0 {
                    self.running.outrun(branch);
                }
                self.note_siblings();
                self.tally.success(required)
            }
            // While the other attempt runs, this is no outcome.
            Err(_) if attempts.running > 0 => None,
            Err(failure) => {
                self.branches[branch].end(Outcome::Failed(failure));
                self.after_failure(required)
            }
        }
    }

    /// Gives the verdict, or replaces the branch that failed by the next one, if any is left.
    fn after_failure(&mut self, required: bool) -> Option<Verdict> {
        let verdict = self.tally.failure(required);
        if verdict.is_none() {
            self.start_next();
        }
        verdict
    }

    /// The timer fired for `instant`: the deadline, the hedges, or the time of a branch.
    fn tick(&mut self, instant: Instant) -> Option<Verdict> {
        // Once for each call: the set pauses when calls wake themselves, with others still unheard.
        for _ in 0..self.running.calls.len() {
            if let Some(Some(done)) = self.ready_outcome()
                && let Some(verdict) = self.outcome(done)
            {
                return Some(verdict);
            }
        }
        if instant >= self.deadline {
            return Some(self.tally.deadline());
        }
        for branch in 0..self.branches.len() {
            if self
                .timeout_of(branch)
                .is_some_and(|timeout| timeout <= instant)
            {
                self.running.give_up(branch);
                self.branches[branch].end(Outcome::TimedOut);
                let verdict = self.after_failure(self.plan.branches[branch].required);
                if verdict.is_some() {
                    return verdict;
                }
            }
        }
        if self.next_hedge().is_some_and(|due| due <= instant) {
            self.hedge(instant);
        }
        None
    }

    /// An outcome that is there already, past what cooperative scheduling would hold back.
    fn ready_outcome(&mut self) -> Option<Option<Done<B>>> {
        unconstrained(self.running.calls.next()).now_or_never()
    }

    /// Starts what has not started, once; a branch that is held back waits for a failure of another. Where
    /// nothing is left to start, each slow branch gets a second attempt; one that is held back is asked for
    /// again later.
    fn hedge(&mut self, instant: Instant) {
        let has_waiting = self.has_waiting();
        self.hedge_at = None;
        for branch in 0..self.branches.len() {
            let is_due = self.slow_at(branch).is_some_and(|due| due <= instant);
            // What is started next is the hedge of all that run.
            let runs = self.branches[branch].started.is_some();
            self.attempts[branch].is_hedged |= has_waiting && runs;
            if is_due && !has_waiting {
                self.try_again(branch);
            }
        }
        for branch in 0..self.branches.len() {
            if has_waiting
                && self.waits(branch)
                && !self.is_past_deadline()
                && let Some(call) = self.running.branches.hedge(branch)
            {
                self.started(branch, call, true);
            }
        }
    }

    fn try_again(&mut self, branch: usize) {
        if !self.is_past_deadline()
            && let Some(call) = self.running.again(branch)
        {
            self.attempts[branch].running += 1;
            self.attempts[branch].is_hedged = true;
            self.attempts[branch].has_second = true;
            self.branches[branch].hedged = true;
            self.running.push(branch, Attempt::Second, call);
        } else {
            // Held back: it is asked for again after as long.
            let patience = self.attempts[branch].patience.max(LEAST_PATIENCE);
            self.attempts[branch].slow_at = Some(Instant::now() + patience);
        }
    }

    /// A branch succeeded: those that are slow beside it may be known now.
    fn note_siblings(&mut self) {
        let Some(Slow::Siblings { least }) = self.plan.slow else {
            return;
        };
        let succeeded = |branch: &&Branch<_, _>| matches!(branch.outcome, Outcome::Succeeded(_));
        let succeeded = self.branches.iter().filter(succeeded);
        let others = self
            .branches
            .iter()
            .filter(|it| it.started.is_some())
            .count()
            - 1;
        if 2 * succeeded.clone().count() <= others {
            return;
        }
        let slowest = succeeded.map(|it| it.elapsed).max().unwrap_or_default();
        for (branch, attempts) in self.branches.iter().zip(&mut self.attempts) {
            attempts.patience = least.max(2 * slowest);
            attempts.slow_at = branch.started.map(|it| it + attempts.patience);
        }
    }

    fn close(mut self, verdict: Verdict) -> Gathered<B::Reply, B::Failure> {
        for branch in &mut self.branches {
            if matches!(branch.outcome, Outcome::Unfinished) {
                // What the deadline ended has timed out; what the verdict ended is just not needed.
                let at_deadline = Instant::now() >= self.deadline;
                branch.end(if at_deadline {
                    Outcome::TimedOut
                } else {
                    Outcome::Unfinished
                });
            }
        }
        self.running.branches.over(&self.branches);
        Gathered {
            verdict,
            branches: std::mem::take(&mut self.branches),
        }
    }
}

impl<B: Branches> Drop for Open<'_, B> {
    fn drop(&mut self) {
        // A gather that was closed has given its branches away, and no plan is without branches.
        if !self.branches.is_empty() {
            self.running.branches.over(&self.branches);
        }
    }
}

impl<R, E> Branch<R, E> {
    fn not_started() -> Self {
        Self {
            outcome: Outcome::NotStarted,
            started: None,
            elapsed: Duration::ZERO,
            hedged: false,
            hedge_won: false,
        }
    }

    fn end(&mut self, outcome: Outcome<R, E>) {
        self.elapsed = self
            .started
            .map_or(Duration::ZERO, |started| started.elapsed());
        self.outcome = outcome;
    }
}

/// The attempts of one branch, where there are hedges.
#[derive(Clone, Copy, Default)]
struct Attempts {
    /// When it is slow, if that is known.
    slow_at: Option<Instant>,
    /// How long it may run until then.
    patience: Duration,
    /// Whether it has had its hedge, or should have: then it is not slow again.
    is_hedged: bool,
    has_second: bool,
    running: u8,
}

impl Attempts {
    /// When it is slow and should have its hedge.
    fn due(&self) -> Option<Instant> {
        self.slow_at.filter(|_| !self.is_hedged)
    }
}

/// What a finished call says: which branch and attempt it was, and what it gave.
type Done<B> = (
    usize,
    Attempt,
    Result<<B as Branches>::Reply, <B as Branches>::Failure>,
);

/// The calls that run. Whatever ends the gather, what is left here lingers.
struct Running<B: Branches> {
    branches: B,
    calls: FuturesUnordered<Slot<B::Call>>,
}

impl<B: Branches> Running<B> {
    fn push(&mut self, branch: usize, attempt: Attempt, call: B::Call) {
        self.calls.push(Slot {
            branch,
            attempt,
            call: Some(call),
        });
    }

    /// A second attempt of a branch that runs.
    fn again(&mut self, branch: usize) -> Option<B::Call> {
        let mut slots = self.calls.iter();
        let first = slots.find(|slot| slot.branch == branch && slot.call.is_some())?;
        self.branches.again(branch, first.call.as_ref()?)
    }

    /// The time of one branch is over, while the gather goes on.
    fn give_up(&mut self, branch: usize) {
        for (call, _) in self.take(branch) {
            self.branches.linger(branch, call);
        }
    }

    /// One attempt of a branch succeeded, and the other runs.
    fn outrun(&mut self, branch: usize) {
        for (call, loser) in self.take(branch) {
            self.branches.outrun(branch, call, loser);
        }
    }

    /// The calls of a branch that run.
    fn take(&mut self, branch: usize) -> Vec<(B::Call, Attempt)> {
        let slots = self.calls.iter_mut();
        let its = slots.filter_map(|slot| {
            let call = (slot.branch == branch).then(|| slot.call.take())?;
            Some((call?, slot.attempt))
        });
        its.collect()
    }
}

impl<B: Branches> Drop for Running<B> {
    fn drop(&mut self) {
        for slot in self.calls.iter_mut() {
            if let Some(call) = slot.call.take() {
                self.branches.linger(slot.branch, call);
            }
        }
    }
}

/// A call with its branch's number; empty once it was given up, finished or panicked.
struct Slot<C> {
    branch: usize,
    attempt: Attempt,
    call: Option<C>,
}

impl<C: Future + Unpin> Future for Slot<C> {
    type Output = (usize, Attempt, C::Output);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Taken out while it is polled, so that a call that panics is not polled again as lingering.
        let Some(mut call) = self.call.take() else {
            return Poll::Pending;
        };
        match call.poll_unpin(context) {
            Poll::Ready(output) => Poll::Ready((self.branch, self.attempt, output)),
            Poll::Pending => {
                self.call = Some(call);
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests;
