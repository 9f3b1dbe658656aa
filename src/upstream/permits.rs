//! How many calls of an upstream there are at once (`max_calls`), and how long a branch waits to
//! make one (`max_wait`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio::time::timeout;

use super::buffers::Share;
use super::failure::{Failure, Kind};

/// Calls of a client with more gathers wait behind those of others.
const FEW_GATHERS: usize = 8;

/// One over this part of the permits is free, or there are no hedges.
const HEDGE_PART: usize = 5;

/// The permits of one upstream.
#[derive(Debug)]
pub(super) struct Permits {
    line: Arc<Line>,
    max_calls: usize,
    max_wait: Duration,
}

/// Who waits for a permit, first come, first served.
#[derive(Debug)]
struct Line(Mutex<State>);

#[derive(Debug)]
struct State {
    /// None while a call waits.
    free: usize,
    /// Calls of clients with few gathers. Those that wait no more are skipped.
    few: VecDeque<Sender<()>>,
    /// Calls of clients with many, who come after all those.
    many: VecDeque<Sender<()>>,
}

/// The right to make one call; given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<Line>);

impl Permits {
    /// `max_calls` permits.
    pub(super) fn new(max_calls: usize, max_wait: Duration) -> Self {
        let state = State {
            free: max_calls,
            few: VecDeque::new(),
            many: VecDeque::new(),
        };
        Self {
            line: Arc::new(Line(Mutex::new(state))),
            max_calls,
            max_wait,
        }
    }

    /// A permit that is there now.
    pub(super) fn try_acquire(&self) -> Option<Permit> {
        let mut state = self.line.0.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Permit(self.line.clone()))
    }

    /// A permit for a hedge: where a fifth of them is free and more.
    pub(super) fn try_acquire_for_hedge(&self) -> Option<Permit> {
        let mut state = self.line.0.lock();
        if state.free.saturating_mul(HEDGE_PART) < self.max_calls {
            return None;
        }
        state.free = state.free.checked_sub(1)?;
        Some(Permit(self.line.clone()))
    }

    /// Waits for a permit for a call of a client of this share.
    pub(super) async fn acquire(&self, share: Option<&Share>) -> Result<Permit, Failure> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        let has_many = share.is_some_and(|share| share.gathers() > FEW_GATHERS);
        let mut waiting = Waiting::new(&self.line, has_many);
        match timeout(self.max_wait, &mut waiting.turn).await {
            Ok(Ok(())) => Ok(Permit(self.line.clone())),
            // No place in line is forgotten, so the other case is that the time is over.
            _ => Err(Failure::of(Kind::Overloaded)),
        }
    }
}

impl Line {
    /// A permit is there for the next in line.
    fn give(&self) {
        let mut state = self.0.lock();
        while let Some(next) = state.next() {
            if next.send(()).is_ok() {
                return;
            }
        }
        state.free += 1;
    }
}

impl State {
    fn next(&mut self) -> Option<Sender<()>> {
        self.few.pop_front().or_else(|| self.many.pop_front())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.give();
    }
}

/// A call's place in the line.
struct Waiting {
    turn: Receiver<()>,
    line: Arc<Line>,
}

impl Waiting {
    fn new(line: &Arc<Line>, has_many: bool) -> Self {
        let (sender, turn) = oneshot::channel();
        let mut state = line.0.lock();
        let State { free, few, many } = &mut *state;
        if let Some(left) = free.checked_sub(1) {
            *free = left;
            // The other end is here.
            let _ = sender.send(());
        } else {
            let queue = if has_many { many } else { few };
            while queue.front().is_some_and(Sender::is_closed) {
                queue.pop_front();
            }
            queue.push_back(sender);
        }
        drop(state);
        let line = line.clone();
        Self { turn, line }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.turn.close();
        // Its turn came when it waited no more.
        if self.turn.try_recv().is_ok() {
            self.line.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const A_MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn calls_of_a_client_with_few_gathers_come_before_those_of_one_with_many() {
        let permits = Permits::new(1, A_MINUTE);
        let (many, few) = (Share::default(), Share::default());
        while many.gathers() <= FEW_GATHERS {
            assert!(many.enter(usize::MAX));
        }
        let held = permits.acquire(Some(&many)).await.unwrap();
        let mut calls = [&many, &many, &few, &few].map(|it| Box::pin(permits.acquire(Some(it))));
        let [first, second, third, fourth] = &mut calls;
        let mut waiting = [
            first.as_mut(),
            second.as_mut(),
            third.as_mut(),
            fourth.as_mut(),
        ];
        assert!(waiting.iter_mut().all(|it| it.now_or_never().is_none()));
        let mut held = Some(held);
        for next in [2, 3, 0, 1] {
            drop(held.take());
            let permit = waiting[next].as_mut().now_or_never();
            held = Some(permit.expect("its turn").unwrap());
            assert!(permits.try_acquire().is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_goes_past_those_who_wait_no_more() {
        let permits = Permits::new(1, A_MINUTE);
        let held = permits.try_acquire().unwrap();
        let mut gone = Box::pin(permits.acquire(None));
        let mut late = Box::pin(permits.acquire(None));
        let mut next = Box::pin(permits.acquire(None));
        assert!(gone.as_mut().now_or_never().is_none());
        assert!(late.as_mut().now_or_never().is_none());
        assert!(next.as_mut().now_or_never().is_none());
        drop(gone);
        // It is the late one's turn, which goes before it has seen that.
        drop(held);
        drop(late);
        drop(next.now_or_never().unwrap().unwrap());
        assert!(permits.acquire(None).await.is_ok());
        let _held = permits.try_acquire().unwrap();
        assert!(permits.acquire(None).await.is_err());
    }
}
