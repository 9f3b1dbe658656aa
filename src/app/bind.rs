//! Every listener and everything that requests use: all of it, or a list of what is missing.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

use super::LocalAddrs;
use super::limits::limits;
use super::systemd::Inherited;
use crate::config::{HttpMode, Problem, Problems, Settings};
use crate::http::{Current, Snapshot};
use crate::metrics::Metrics;
use crate::mock::{self, Mock};
use crate::names::Names;
use crate::server::{self, Connections, Server, Socket, Tls, Transport};
use crate::telemetry::admin::{self, Admin};
use crate::upstream::{Buffers, SharedByUpstreams};

/// Everything bound and built; nothing is served yet.
pub struct App {
    pub(super) https: Vec<Server>,
    pub(super) http: Vec<Server>,
    pub(super) http_mode: HttpMode,
    pub(super) admin: Option<Admin>,
    pub(super) mock: Option<Mock>,
    pub(super) live: Live,
}

/// What goes by the configuration as long as the process runs, and may be given another.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) current: Current,
    pub(super) connections: Arc<Connections>,
    pub(super) common: SharedByUpstreams,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tls: Option<Tls>,
}

impl App {
    /// Where it listens.
    #[must_use]
    pub fn local_addrs(&self) -> LocalAddrs {
        LocalAddrs {
            https: addresses(&self.https),
            http: addresses(&self.http),
            admin: self.admin.as_ref().map(Admin::local_addr),
            mock: self.mock.as_ref().map(Mock::local_addr),
        }
    }
}

/// Binds every listener and builds everything that requests use.
///
/// # Errors
/// All that is missing: files that cannot be read, addresses that are taken.
pub fn bind(settings: &Settings) -> Result<App, Problems> {
    let settings = server::within_descriptors(settings);
    bind_with(&settings, Inherited::default())
}

/// The same of settings that are within the descriptors, with sockets that take the place of
/// configured addresses.
pub(super) fn bind_with(settings: &Settings, inherited: Inherited) -> Result<App, Problems> {
    let metrics = Metrics::new();
    let common = common(settings, metrics.clone());
    let load = |tls| Tls::load(tls, common.names.clone(), metrics.clone());
    let tls = settings.tls.as_ref().map(load).transpose()?;
    let snapshot = Snapshot::new(settings, &common, None)?;
    let mut problems = Vec::new();
    let connections = Connections::new(settings, &metrics);
    let server = |transport: &Transport, listener| {
        let transport = transport.clone();
        Server::new(listener, transport, connections.clone())
    };
    let addresses = &settings.server.https;
    let secure = sockets("server.https", inherited.https, addresses, &mut problems);
    if tls.is_none() && !secure.is_empty() {
        let reason = "the service manager gives an https socket, and tls names no certificate";
        problems.push(Problem::said("server.https", reason));
    }
    let pairs = tls.iter().cloned().map(Transport::Tls).cycle().zip(secure);
    let https = pairs.map(|(tls, socket)| server(&tls, socket)).collect();
    let addresses = &settings.server.http;
    let http = sockets("server.http", inherited.http, addresses, &mut problems);
    let http = http
        .into_iter()
        .map(|it| server(&Transport::Plain, it))
        .collect();
    let admin = settings.admin.as_ref().and_then(|settings| {
        had(
            "admin.listen",
            settings.listen,
            admin::bind(settings, inherited.admin),
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
    metrics.configured(&limits(settings));
    let current = Arc::new(ArcSwap::from_pointee(snapshot));
    Ok(App {
        https,
        http,
        http_mode: settings.server.http_mode,
        admin,
        mock,
        live: Live {
            current,
            connections,
            common,
            metrics,
            tls,
        },
    })
}

fn addresses(servers: &[Server]) -> Vec<SocketAddr> {
    let addresses = servers.iter().map(Server::local_addr);
    addresses.filter_map(Result::ok).collect()
}

/// The sockets of one key: those of the service manager, or the configured ones.
fn sockets(
    key: &str,
    inherited: Vec<Socket>,
    addresses: &[SocketAddr],
    problems: &mut Vec<Problem>,
) -> Vec<Socket> {
    if !inherited.is_empty() {
        return inherited;
    }
    let mut listeners = Vec::new();
    for address in addresses {
        let bound = server::bind(*address);
        // The default listens on both families, and must do on a machine that has one.
        let may_miss = *address == any_ipv6(address.port()) && addresses.len() > 1;
        if let (true, Err(error)) = (may_miss, &bound)
            && is_without_ipv6(error)
        {
            tracing::warn!(%address, %error, "not listening: this machine has no IPv6");
            continue;
        }
        listeners.extend(had(key, *address, bound, problems));
    }
    listeners
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

/// What upstreams share for as long as the process lives.
pub(super) fn common(settings: &Settings, metrics: Arc<Metrics>) -> SharedByUpstreams {
    SharedByUpstreams {
        buffers: Buffers::new(settings.server.max_buffered, metrics.load.clone()),
        names: Names::default(),
        lingering: TaskTracker::new(),
        metrics,
    }
}
