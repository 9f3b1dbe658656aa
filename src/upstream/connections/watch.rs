//! Looks after the connections of an upstream that have no call: closes those that are too old or that the
//! upstream has closed, and hears of addresses that change.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Connections;
use super::pool::Pool;
use crate::config::UpstreamSettings;

/// How often it looks: a connection that the upstream closes is gone within a second.
const INTERVAL: Duration = Duration::from_millis(500);

/// Looks after the connections of `pool` from now on, until there is none.
pub(super) fn begin(connections: &Arc<Connections>, pool: &mut Pool) {
    if !std::mem::replace(&mut pool.is_watched, true) {
        let connections = Arc::downgrade(connections);
        tokio::spawn(async move {
            // A name server that does not answer holds up nothing but the look-up.
            tokio::select! {
                () = sweep(&connections) => {}
                () = resolve(&connections) => {}
            }
        });
    }
}

async fn sweep(connections: &Weak<Connections>) {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(connections) = connections.upgrade() else {
            return;
        };
        // Each look takes of what a task may do in one turn.
        let sweep = async {
            let mut pool = connections.pool.lock();
            let is_over = pool.sweep(&connections.settings);
            connections.show(&pool);
            is_over
        };
        if unconstrained(sweep).await {
            return;
        }
    }
}

async fn resolve(connections: &Weak<Connections>) {
    loop {
        sleep(INTERVAL).await;
        let Some(connections) = connections.upgrade() else {
            return;
        };
        // What fails here is told by the call that meets it.
        let _ = connections.resolve().await;
    }
}

impl Pool {
    /// Closes what is of no use. Says whether there is nothing left to look after.
    fn sweep(&mut self, settings: &UpstreamSettings) -> bool {
        let Self {
            addresses,
            idle,
            http2,
            ..
        } = self;
        let now = Instant::now();
        idle.retain_mut(|it| it.is_young(now, settings) && it.is_open());
        http2.retain(|it| it.is_good(settings) && !it.is_overdue(settings));
        let is_unused = addresses.all().iter().all(|address| address.calls() == 0);
        let is_over = is_unused && idle.is_empty() && http2.is_empty();
        self.is_watched = !is_over;
        is_over
    }
}
