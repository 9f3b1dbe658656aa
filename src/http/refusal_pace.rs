//! What refusals may cost: those who come back sooner than they were told wait for their next answer.
//!
//! A refusal costs a fiftieth of a gather, so a thousand clients that retry at once take half of a
//! core from those who are served. No limit of one client helps when there are many, and closing is
//! worse: a handshake costs thirty refusals.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::client::Refusals;

/// A client that was refused so short a time ago was told to wait longer (`retry-after` is a second or
/// more).
const HASTY: Duration = Duration::from_millis(900);
/// From one refusal of a hasty connection to the next, whosever they are: 2,500 a second, which
/// is below a tenth of a core; below that rate none waits.
const STEP: Duration = Duration::from_micros(400);
/// No refusal is held back longer, however many wait.
const LONGEST: Duration = Duration::from_secs(1);

/// Notes that a connection was refused, or probed. Says whether it was so a short time ago, too.
pub(super) fn is_hasty(connection: &Refusals) -> bool {
    connection.note().is_some_and(|ago| ago < HASTY)
}

/// When the next refusal may leave.
#[derive(Debug)]
pub(super) struct RefusalPace {
    next: Mutex<Instant>,
}

impl RefusalPace {
    /// No request has been refused yet.
    pub(super) fn new() -> Self {
        Self {
            next: Mutex::new(Instant::now()),
        }
    }

    /// Returns when the refusal of a request may leave: at once, or, on a connection that has been
    /// refused just now, when it is its turn.
    pub(super) async fn hold(&self, connection: &Refusals) {
        if !is_hasty(connection) {
            return;
        }
        let turn = self.turn(Instant::now());
        sleep_until(turn).await;
        connection.note();
    }

    fn turn(&self, now: Instant) -> Instant {
        let mut next = self.next.lock();
        let turn = (*next).max(now);
        // Those at the end of a line that is too long share its end, and lengthen it no more.
        if turn > now + LONGEST {
            return now + LONGEST;
        }
        *next = turn + STEP;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn held(pace: &RefusalPace, connection: &Refusals) -> Duration {
        let begun = Instant::now();
        pace.hold(connection).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_refusal_leaves_at_once_and_so_does_one_after_a_second() {
        let (pace, connection) = (RefusalPace::new(), Refusals::default());
        for _ in 0..1000 {
            pace.turn(Instant::now());
        }
        assert_eq!(held(&pace, &connection).await, Duration::ZERO);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(held(&pace, &connection).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn hasty_connections_take_turns_and_none_waits_longer_than_a_second() {
        let pace = RefusalPace::new();
        let connections: Vec<_> = (0..10_000).map(|_| Refusals::default()).collect();
        let begun = Instant::now();
        for connection in &connections {
            pace.hold(connection).await;
        }
        let waits = connections.iter().map(|connection| pace.hold(connection));
        futures_util::future::join_all(waits).await;
        let took = begun.elapsed();
        assert!(took >= LONGEST && took < LONGEST + STEP * 20, "{took:?}");
        let later = Instant::now() + LONGEST;
        assert_eq!(pace.turn(later), later);
        assert_eq!(pace.turn(later), later + STEP);
    }
}
