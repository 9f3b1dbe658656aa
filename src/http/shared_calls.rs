//! The calls of a gather whose replies several answers are made of.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::branches::RouteCalls;
use super::cache::{Board, Gathered};
use super::route::Route;
use crate::gather::{self, Attempt, Branch, Branches};
use crate::upstream::{Call, Failure, Reply};

/// Gathers for all who wait for it, and notes what comes on `board`.
pub(super) async fn gather_for_all(
    route: Arc<Route>,
    calls: RouteCalls,
    ends_by: Instant,
    board: Arc<Board>,
) -> Arc<Gathered> {
    let calls = SharedCalls { calls, board };
    Arc::new(gather::run(&route.plan, ends_by, calls).await)
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

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.call).poll(task)).map(Arc::new);
        self.board.ended(self.branch, &result);
        Poll::Ready(result)
    }
}
