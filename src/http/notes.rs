//! What is noted of a request for its line in the access log.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::answer::failure_of;
use crate::gather::{Branch, Outcome};
use crate::upstream::{Failure, Reply};

/// What the handler learns of a request.
#[derive(Default)]
pub(super) struct RequestNotes(Mutex<GatherNotes>);

/// What became of the gather, if there was one.
#[derive(Default)]
pub(super) struct GatherNotes {
    /// None of a request that did not gather.
    pub(super) deadline: Option<Instant>,
    pub(super) branches: Vec<BranchNotes>,
    /// The span of the first branch's call; the others' follow.
    pub(super) first_span: u64,
    /// Bit by bit, which branches linger; there are at most 64.
    pub(super) lingers: u64,
    /// Where the answer came from, on a route with a cache.
    pub(super) cache: Option<&'static str>,
}

/// What became of one branch.
pub(super) struct BranchNotes {
    pub(super) word: &'static str,
    pub(super) status: Option<u16>,
    pub(super) elapsed: Option<Duration>,
    pub(super) hedged: bool,
}

impl RequestNotes {
    /// What is noted so far.
    pub(super) fn gather(&self) -> MutexGuard<'_, GatherNotes> {
        self.0.lock()
    }

    /// The gather begins.
    pub(super) fn begin(&self, deadline: Instant, first_span: u64) {
        let mut gather = self.0.lock();
        gather.deadline = Some(deadline);
        gather.first_span = first_span;
    }

    /// The gather is over, or is not waited for any more.
    pub(super) fn end<R: AsRef<Reply>>(&self, branches: &[Branch<R, Failure>]) {
        let notes = branches.iter().map(BranchNotes::of);
        self.0.lock().branches = notes.collect();
    }

    /// Where the answer came from, on a route with a cache.
    pub(super) fn cache(&self, source: &'static str) {
        self.0.lock().cache = Some(source);
    }

    /// The call of a branch is read on.
    pub(super) fn linger(&self, branch: usize) {
        self.0.lock().lingers |= 1 << (branch % 64);
    }
}

impl BranchNotes {
    fn of<R: AsRef<Reply>>(branch: &Branch<R, Failure>) -> Self {
        let failure = failure_of(&branch.outcome);
        let (word, status) = match (&branch.outcome, failure) {
            (Outcome::Succeeded(reply), _) => ("ok", Some(reply.as_ref().status)),
            (_, Some(failure)) => (failure.kind.name(), failure.status),
            (Outcome::NotStarted, None) => ("not_started", None),
            (_, None) => ("unfinished", None),
        };
        let end = branch.started.filter(|_| word == "unfinished");
        Self {
            word,
            status,
            elapsed: match end {
                Some(started) => Some(started.elapsed()),
                None => branch.started.map(|_| branch.elapsed),
            },
            hedged: branch.hedged,
        }
    }
}
