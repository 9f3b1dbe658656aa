//! The composition root: binds, builds the snapshot, runs until told to stop.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{LogFormat, LogSettings, MockSettings, Problem, Problems, Settings};
use crate::http::{Current, Snapshot, edge};
use crate::mock::{self, Mock};
use crate::server::{self, Connections, Server, Stopper, raise_descriptor_limit, server_config};
use crate::telemetry::admin::{self, Admin};
use crate::telemetry::{Readiness, State, logs};
use crate::upstream::{Buffers, Common, Names};

/// How often clients that have been quiet are forgotten.
const SWEEP: Duration = Duration::from_secs(1);

/// Descriptors besides those of connections: listeners, logs, timers.
const OTHER_DESCRIPTORS: usize = 64;

/// Everything bound and built; nothing is served yet.
pub struct App {
    servers: Vec<Server>,
    admin: Option<Admin>,
    mock: Option<Mock>,
    current: Current,
    connections: Arc<Connections>,
    drain_timeout: Duration,
}

/// Where an [`App`] listens.
#[derive(Clone, Debug)]
pub struct LocalAddrs {
    /// HTTPS, in the order of the configuration.
    pub https: Vec<SocketAddr>,
    /// The admin listener.
    pub admin: Option<SocketAddr>,
    /// The mock upstream.
    pub mock: Option<SocketAddr>,
}

/// Serves as configured until SIGTERM or SIGINT, and then drains; a second one ends at once.
///
/// # Errors
/// What the machine does not have; nothing is served then.
pub fn serve(settings: &Settings) -> Result<(), Problems> {
    logs::init(&settings.log);
    warn_of_descriptors(settings, raise_descriptor_limit());
    let runtime = runtime(settings.server.worker_threads)
        .map_err(|error| Problem::unavailable("threads", error))?;
    let app = bind(settings)?;
    announce(settings, &app.local_addrs());
    runtime.block_on(async {
        let (first, second) =
            stop_signals().map_err(|error| Problem::unavailable("signal handlers", error))?;
        tokio::select! {
            () = app.run_until(first.cancelled_owned()) => tracing::info!("stopped"),
            () = second.cancelled() => tracing::warn!("stopped at once by a second signal"),
        }
        Ok(())
    })
}

/// Reads every file that a start reads, and makes what can be made of them; binds nothing.
///
/// # Errors
/// All that a start would miss, addresses apart.
pub fn check(settings: &Settings) -> Result<(), Problems> {
    let made_at_start = settings.tls.self_signed && !settings.tls.certificate.exists();
    let certificate = if made_at_start {
        Ok(())
    } else {
        server_config(&settings.tls).map(drop)
    };
    let certificate = certificate.err().into_iter();
    let snapshot = Snapshot::new(settings, &common(settings), None).err();
    let problems: Vec<Problem> = certificate
        .chain(snapshot.iter().flat_map(Problems::iter).cloned())
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.into_iter().collect())
    }
}

/// Runs the mock upstream alone, until SIGTERM or SIGINT.
///
/// # Errors
/// When its address cannot be had.
pub fn serve_mock(settings: &MockSettings) -> Result<(), Problems> {
    logs::init(&LogSettings {
        format: LogFormat::Auto,
        level: tracing::Level::INFO,
    });
    raise_descriptor_limit();
    let unavailable = |error| Problem::unavailable(settings.listen, error);
    let runtime = runtime(1).map_err(unavailable)?;
    let mock = mock::bind(settings).map_err(unavailable)?;
    tracing::info!(address = %mock.local_addr(), "the mock upstream answers here");
    runtime.block_on(async {
        let (first, _) = stop_signals().map_err(unavailable)?;
        Ok(mock
            .run_until(first.cancelled_owned())
            .await
            .map_err(unavailable)?)
    })
}

/// Binds every listener and builds everything that requests use.
///
/// # Errors
/// All that is missing: files that cannot be read, addresses that are taken.
pub fn bind(settings: &Settings) -> Result<App, Problems> {
    let tls = server_config(&settings.tls)?;
    let snapshot = Snapshot::new(settings, &common(settings), None)?;
    let mut problems = Vec::new();
    let connections = Connections::new(settings);
    let mut servers = Vec::new();
    for address in &settings.server.https {
        let bound = server::bind(*address);
        // The default listens on both families, and must do on a machine that has one.
        let may_miss = *address == any_ipv6(address.port()) && settings.server.https.len() > 1;
        if let (true, Err(error)) = (may_miss, &bound)
            && is_without_ipv6(error)
        {
            tracing::warn!(%address, %error, "not listening: this machine has no IPv6");
            continue;
        }
        let listener = had("server.https", *address, bound, &mut problems);
        let server =
            |listener| Server::new(listener, tls.clone(), connections.clone(), &settings.server);
        servers.extend(listener.map(server));
    }
    let admin = settings.admin.as_ref().and_then(|settings| {
        had(
            "admin.listen",
            settings.listen,
            admin::bind(settings),
            &mut problems,
        )
    });
    let mock = settings.mock.as_ref().and_then(|settings| {
        had(
            "mock.listen",
            settings.listen,
            mock::bind(settings),
            &mut problems,
        )
    });
    if !problems.is_empty() {
        return Err(problems.into_iter().collect());
    }
    let current = Arc::new(ArcSwap::from_pointee(snapshot));
    Ok(App {
        servers,
        admin,
        mock,
        current,
        connections,
        drain_timeout: settings.server.drain_timeout,
    })
}

fn any_ipv6(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}

/// Whether IPv6 is missing in the kernel, or switched off.
fn is_without_ipv6(error: &io::Error) -> bool {
    let unsupported = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(unsupported)
}

/// What was bound, or nothing and a problem.
fn had<T>(
    key: &str,
    address: SocketAddr,
    bound: io::Result<T>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let hint = |error: &io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrInUse => "; another process listens there",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has it",
        _ => "",
    };
    bound
        .map_err(|error| {
            let reason = format!("{error}{}", hint(&error));
            problems.push(Problem::unavailable(format!("{key} {address}"), reason));
        })
        .ok()
}

fn common(settings: &Settings) -> Common {
    Common {
        buffers: Buffers::new(settings.server.max_buffered),
        names: Names::default(),
        lingering: TaskTracker::new(),
    }
}

impl App {
    /// Where it listens.
    #[must_use]
    pub fn local_addrs(&self) -> LocalAddrs {
        LocalAddrs {
            https: self
                .servers
                .iter()
                .filter_map(|server| server.local_addr().ok())
                .collect(),
            admin: self.admin.as_ref().map(Admin::local_addr),
            mock: self.mock.as_ref().map(Mock::local_addr),
        }
    }

    /// Serves until `shutdown`, then lets requests that run finish, for `drain_timeout` at most.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        let readiness = Readiness::new();
        let admin = self.admin.map(|admin| admin.start(readiness.clone()));
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

/// One core is served best by one thread without a scheduler between threads.
fn runtime(worker_threads: usize) -> io::Result<Runtime> {
    let mut builder = match worker_threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(worker_threads).enable_all().build()
}

/// Two tokens: cancelled by the first and by the second signal to stop.
fn stop_signals() -> io::Result<(CancellationToken, CancellationToken)> {
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let tokens = [first.clone(), second.clone()];
    tokio::spawn(async move {
        for token in tokens {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok((first, second))
}

/// Says so when the limits of the configuration are more than the process may have descriptors for.
fn warn_of_descriptors(settings: &Settings, limit: Option<u64>) {
    let calls: usize = settings
        .upstreams
        .iter()
        .map(|upstream| upstream.max_calls)
        .sum();
    let needed = settings.server.max_connections + calls + OTHER_DESCRIPTORS;
    if let Some(limit) = limit
        && (needed as u64) > limit
    {
        tracing::warn!(
            needed,
            limit,
            "max_connections and the upstreams' max_calls may need more descriptors than the \
             process may have; raise LimitNOFILE or lower them"
        );
    }
}

/// Says where it listens, and what a newcomer may try.
fn announce(settings: &Settings, addrs: &LocalAddrs) {
    for https in &addrs.https {
        tracing::info!(address = %https, "listening for HTTPS");
    }
    if let Some(admin) = addrs.admin {
        tracing::info!(address = %admin, "listening for operators: /livez and /readyz");
    }
    if let Some(mock) = addrs.mock {
        tracing::info!(address = %mock, "the mock upstream answers here");
    }
    if let (true, Some(https), Some(route)) = (
        settings.tls.self_signed,
        addrs.https.first(),
        settings.routes.first(),
    ) {
        let (port, path) = (https.port(), &route.path);
        tracing::info!("try: curl -k https://localhost:{port}{path}");
    }
}
