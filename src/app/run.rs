//! From the first connection to the last.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::bind::Live;
use super::{App, systemd};
use crate::config::HttpMode;
use crate::http::{Answers, Current, Door, Scheme, edge};
use crate::readiness::Readiness;
use crate::server::{Connections, Server, Stopper, drain};
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
        let Live {
            current,
            connections,
            metrics,
            tls,
            ..
        } = self.live;
        let admin = self
            .admin
            .map(|admin| admin.start(readiness.clone(), metrics.clone()));
        if let Some(Err(error)) = &admin {
            tracing::error!(%error, "the admin listener did not start");
        }
        // The mock outlasts the servers, so that gathers that run can finish.
        let mock_stop = CancellationToken::new();
        let mock = self
            .mock
            .map(|mock| mock.run_until(mock_stop.clone().cancelled_owned()));
        let mock = mock.map(tokio::spawn);
        let mut beside = JoinSet::new();
        beside.spawn(async { match watch_loop_lag(metrics).await {} });
        beside.spawn(sweep(current.clone(), connections.clone()));
        tls.map(|tls| beside.spawn(tls.watch()));
        let plain = match (self.http_mode, addrs.https_port()) {
            (HttpMode::Redirect, Some(port)) => Answers::Redirect(port),
            _ => Answers::Routes,
        };
        let door = |answers, scheme| Door {
            current: current.clone(),
            readiness: readiness.clone(),
            answers,
            scheme,
        };
        let mut servers = Servers::default();
        servers.run(self.https, &door(Answers::Routes, Scheme::Https));
        servers.run(self.http, &door(plain, Scheme::Http));
        readiness.ready();
        systemd::ready("serving");
        beside.spawn(systemd::watchdog());
        let reason = reason_to_stop(shutdown, &mut servers.running).await;
        systemd::stopping();
        let (delay, timeout) = drain_times(&current);
        let end = Instant::now() + timeout;
        readiness.drain(last_call(end, timeout));
        tracing::info!(drain_timeout = ?timeout, "stopping: requests that run may finish");
        sleep(delay).await;
        drain(&servers.stoppers, &connections, end).await;
        while servers.running.join_next().await.is_some() {}
        beside.abort_all();
        mock_stop.cancel();
        if let Some(mock) = mock {
            // What it could not say by now is of no use.
            let _ = mock.await;
        }
        if let Some(Ok(admin)) = admin {
            admin.stop(reason);
        }
    }
}

/// Waits until the process should end, and says why.
async fn reason_to_stop(
    shutdown: impl Future<Output = ()>,
    running: &mut JoinSet<io::Result<()>>,
) -> &'static str {
    tokio::select! {
        () = shutdown => "told to stop",
        // A listener ends by itself only when it is broken; the others go down with it.
        ended = running.join_next() => {
            tracing::error!(?ended, "a listener ended");
            "a listener broke"
        }
    }
}

/// The servers at work, and what stops them.
#[derive(Default)]
struct Servers {
    running: JoinSet<io::Result<()>>,
    stoppers: Vec<Stopper>,
}

impl Servers {
    fn run(&mut self, servers: Vec<Server>, door: &Door) {
        for server in servers {
            self.stoppers.push(server.stopper());
            self.running.spawn(server.run(edge(door.clone())));
        }
    }
}

/// `drain_delay` and `drain_timeout`, as they are now.
fn drain_times(current: &Current) -> (Duration, Duration) {
    let snapshot = current.load();
    (
        snapshot.server().drain_delay,
        snapshot.server().drain_timeout,
    )
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
