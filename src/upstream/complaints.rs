//! Says in the log why calls of an upstream fail, now and then: each client learns of its own, the operator
//! of the cause.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::failure::{Broken, Kind};

/// How often at most for each kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// When the log last said that calls of one upstream fail in each way.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<[Option<Instant>; Kind::ALL.len()]>);

impl Complaints {
    /// Tells of a failure, if none of the kind was told of lately.
    pub(super) fn tell(&self, upstream: &str, broken: &Broken) {
        let Broken { kind, because, .. } = broken;
        let mut told = self.0.lock();
        let last = &mut told[*kind as usize];
        if last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return;
        }
        *last = Some(Instant::now());
        drop(told);
        tracing::warn!(upstream.name = %upstream, %kind, %because, "a call failed; more of the kind go unsaid for a while");
    }
}
