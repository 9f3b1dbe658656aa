//! From the first connection to the last.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::App;
use crate::http::{Current, edge};
use crate::server::{Connections, Server, Stopper};
use crate::telemetry::{Readiness, State};

/// How often clients that have been quiet are forgotten.
const SWEEP: Duration = Duration::from_secs(1);

impl App {
    /// Serves until `shutdown`, then lets requests that run finish, for `drain_timeout` at most.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        let readiness = Readiness::new();
        let metrics = self.metrics;
        let admin = self
            .admin
            .map(|admin| admin.start(readiness.clone(), metrics));
        if let Some(Err(error)) = &admin {
            tracing::error!(%error, "the admin listener did not start");
        }
        // The mock outlasts the servers, so that gathers that run can finish.
        let mock_stop = CancellationToken::new();
        let mock = self
            .mock
            .map(|mock| mock.run_until(mock_stop.clone().cancelled_owned()));
        let mock = mock.map(tokio::spawn);
        let sweeper = tokio::spawn(sweep(self.current.clone(), self.connections));
        let stoppers: Vec<Stopper> = self.servers.iter().map(Server::stopper).collect();
        let mut servers = JoinSet::new();
        for server in self.servers {
            servers.spawn(server.run(edge(self.current.clone())));
        }
        readiness.set(State::Ready);
        tokio::select! {
            () = shutdown => {}
            // A listener ends by itself only when it is broken; the others go down with it.
            ended = servers.join_next() => tracing::error!(?ended, "a listener ended"),
        }
        readiness.set(State::Draining);
        tracing::info!(drain_timeout = ?self.drain_timeout, "stopping: requests that run may finish");
        stoppers
            .iter()
            .for_each(|stopper| stopper.drain(self.drain_timeout));
        while servers.join_next().await.is_some() {}
        sweeper.abort();
        mock_stop.cancel();
        if let Some(mock) = mock {
            // What it could not say by now is of no use to anybody.
            let _ = mock.await;
        }
    }
}

async fn sweep(current: Current, connections: Arc<Connections>) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        current.load().sweep();
        connections.sweep();
    }
}
