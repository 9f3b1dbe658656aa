//! The end of a service that loses no request: what waits is taken, what was begun is answered, and
//! only then are connections closed.
//!
//! The library alone would drop handshakes and what waits in the kernel's queue, and would close idle
//! connections at once, with requests that are on their way.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::Stopper;
use super::activity::{Activity, Awaited};
use super::connections::Connections;

/// How long clients that began to connect may take to complete it before a listener is closed.
const CONNECTING: Duration = Duration::from_millis(100);
/// How long an idle connection is kept for a request that may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// How long a handshake, or a request's head, may take since the drain began.
const BEGUN: Duration = Duration::from_secs(2);
/// A connection without a request that does not end by itself is left behind after this.
const LEFT: Duration = Duration::from_secs(1);
/// How often to look whether it is time for the next step.
const LOOK: Duration = Duration::from_millis(10);

/// Takes no more connections, has every response say that its connection ends, and ends all of them:
/// as soon as nothing runs, and by `end` at the latest.
pub async fn drain(stoppers: &[Stopper], connections: &Connections, end: Instant) {
    let begun = Instant::now();
    connections.drain();
    stoppers.iter().for_each(Stopper::turn_away);
    let is_closed = || {
        let over = begun.elapsed() >= BEGUN;
        let quiet = begun.elapsed() >= CONNECTING;
        stoppers.iter().all(|stopper| stopper.close(quiet, over))
    };
    let is_settled = || {
        let now = Instant::now();
        connections.all(|activity| is_settled(activity, begun, now))
    };
    until(end, || is_closed() && is_settled()).await;
    stoppers.iter().for_each(Stopper::finish);
    until(end, || {
        let now = Instant::now();
        connections.all(|activity| is_left(activity, now))
    })
    .await;
    stoppers.iter().for_each(Stopper::cut);
}

/// Whether nothing more is awaited of a connection before it may be told to end.
fn is_settled(activity: &Activity, begun: Instant, now: Instant) -> bool {
    let wait = match activity.awaited() {
        None => return true,
        Some((since, Awaited::Request)) => (since, ON_ITS_WAY),
        Some((since, Awaited::End)) => (since, BEGUN),
    };
    wait.0.max(begun) + wait.1 <= now
}

/// Whether a connection has had nothing to do for so long that its client will not end it.
fn is_left(activity: &Activity, now: Instant) -> bool {
    activity
        .unused_since()
        .is_some_and(|since| since + LEFT <= now)
}

/// Waits for `condition`, until `end` at the latest.
async fn until(end: Instant, mut condition: impl FnMut() -> bool) {
    let looked = async {
        while !condition() {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = looked => {}
        () = sleep_until(end) => {}
    }
}
