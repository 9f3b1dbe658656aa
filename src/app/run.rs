//! From the first connection to the last.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::App;
use crate::config::HttpMode;
use crate::http::{Answers, Current, Door, edge};
use crate::readiness::Readiness;
use crate::server::{Connections, Stopper, drain};
use crate::telemetry::watch_loop_lag;

/// How often clients that have been quiet are forgotten.
const SWEEP: Duration = Duration::from_secs(1);
/// From the last moment of a gather to the end of the process.
const ANSWER_TIME: Duration = Duration::from_millis(500);

impl App {
    /// Serves until `shutdown`, then lets requests that run finish, for `drain_timeout` at most.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        let addrs = self.local_addrs();
        let readiness = Readiness::new();
        let admin = self
            .admin
            .map(|admin| admin.start(readiness.clone(), self.metrics.clone()));
        if let Some(Err(error)) = &admin {
            tracing::error!(%error, "the admin listener did not start");
        }
        // The mock outlasts the servers, so that gathers that run can finish.
        let mock_stop = CancellationToken::new();
        let mock = self
            .mock
            .map(|mock| mock.run_until(mock_stop.clone().cancelled_owned()));
        let mock = mock.map(tokio::spawn);
        let lag = tokio::spawn(watch_loop_lag(self.metrics.clone()));
        let sweeper = tokio::spawn(sweep(self.current.clone(), self.connections.clone()));
        let watcher = self.tls.map(|tls| tokio::spawn(tls.watch()));
        let plain = match (self.http_mode, addrs.https_port()) {
            (HttpMode::Redirect, Some(port)) => Answers::Redirect(port),
            _ => Answers::Routes,
        };
        let servers = self
            .https
            .into_iter()
            .map(|server| (server, Answers::Routes));
        let mut stoppers: Vec<Stopper> = Vec::new();
        let mut running = JoinSet::new();
        for (server, answers) in servers.chain(self.http.into_iter().map(|server| (server, plain)))
        {
            stoppers.push(server.stopper());
            let door = Door {
                current: self.current.clone(),
                readiness: readiness.clone(),
                answers,
            };
            running.spawn(server.run(edge(door)));
        }
        readiness.ready();
        tokio::select! {
            () = shutdown => {}
            // A listener ends by itself only when it is broken; the others go down with it.
            ended = running.join_next() => tracing::error!(?ended, "a listener ended"),
        }
        let end = Instant::now() + self.drain_timeout;
        readiness.drain(last_call(end, self.drain_timeout));
        tracing::info!(drain_timeout = ?self.drain_timeout, "stopping: requests that run may finish");
        sleep(self.drain_delay).await;
        drain(&stoppers, &self.connections, end).await;
        while running.join_next().await.is_some() {}
        lag.abort();
        sweeper.abort();
        watcher.inspect(JoinHandle::abort);
        mock_stop.cancel();
        if let Some(mock) = mock {
            // What it could not say by now is of no use to anybody.
            let _ = mock.await;
        }
    }
}

/// When gathers that still run are answered 503: half a second before the end, which must suffice
/// for the answers to leave.
fn last_call(end: Instant, timeout: Duration) -> Instant {
    end - ANSWER_TIME.min(timeout / 2)
}

async fn sweep(current: Current, connections: Arc<Connections>) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        current.load().sweep();
        connections.sweep();
    }
}
