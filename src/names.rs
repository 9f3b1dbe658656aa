//! Names to addresses, without the C library's resolver (which a static binary cannot use safely).
//!
//! Literal addresses never come here. As with the C library (`hosts: files dns`), a name that stands in
//! the hosts file is asked for nowhere else, and both files are read again when they change.
//!
//! | file | holds |
//! |---|---|
//! | `names.rs` | who is asked first |
//! | `hosts` | the text of a hosts file |
//! | `servers` | the name servers of a resolv.conf, and the last good answers |
//! | `file` | a file that is read again when it has changed |

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::ProtoError;
use reqwest::dns::{Name, Resolve, Resolving};
use tokio::sync::Mutex;
use tokio::time::Instant;

mod file;
mod hosts;
mod servers;

use self::file::WatchedFile;
use self::hosts::Hosts;
use self::servers::Servers;

/// How often at most it is looked whether the files have changed.
const LOOK: Duration = Duration::from_secs(1);
/// Where name servers answer (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// The resolver of the process; clones share what they know.
#[derive(Clone)]
pub struct Names {
    shared: Arc<Shared>,
}

struct Shared {
    port: u16,
    known: Mutex<Known>,
    /// Whether the files are to be read again, changed or not.
    is_told: AtomicBool,
}

/// What the files said when they were read last.
struct Known {
    looked: Option<Instant>,
    hosts_file: WatchedFile,
    hosts: Arc<Hosts>,
    resolv_conf: WatchedFile,
    servers: Arc<Servers>,
}

/// Why a name gives no address.
#[derive(Debug)]
pub enum LookupError {
    /// No name server knows the name: it is misspelt, or not there yet.
    NoSuchName,
    /// The name is there, and has no address: something else is kept under it.
    NoAddress,
    /// The name servers did not answer in time: one is down, or a firewall is between.
    Silent,
    /// `/etc/resolv.conf` is missing, unreadable or names no server.
    NoServer,
    /// What stands in the place of a name is none: a label is empty, or longer than 63 bytes.
    NoName(ProtoError),
    /// A name server refused, failed or could not be reached.
    Failed(NetError),
}

impl Default for Names {
    /// By the files of the system.
    fn default() -> Self {
        Self::of_files("/etc/hosts", "/etc/resolv.conf", DNS_PORT)
    }
}

impl Names {
    /// By other files than those of the system, with name servers that answer at `port`: for tests.
    #[must_use]
    pub fn of_files(hosts: impl Into<PathBuf>, resolv_conf: impl Into<PathBuf>, port: u16) -> Self {
        let known = Known {
            looked: None,
            hosts_file: WatchedFile::new(hosts.into()),
            hosts: Arc::default(),
            resolv_conf: WatchedFile::new(resolv_conf.into()),
            servers: Arc::default(),
        };
        Self {
            shared: Arc::new(Shared {
                port,
                known: Mutex::new(known),
                is_told: AtomicBool::new(false),
            }),
        }
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// When it has none, or when no name server says so in time and nothing was known before.
    pub async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let (hosts, servers) = self.known().await;
        match hosts.addresses(name) {
            Some(addresses) => Ok(addresses.to_vec()),
            None => servers.lookup(name).await,
        }
    }

    /// Reads the files again at the next look-up, and keeps no answer of a name server that still holds.
    pub fn reread(&self) {
        self.shared.is_told.store(true, Ordering::Relaxed);
    }

    /// What the files say now.
    async fn known(&self) -> (Arc<Hosts>, Arc<Servers>) {
        let mut known = self.shared.known.lock().await;
        let is_told = self.shared.is_told.swap(false, Ordering::Relaxed);
        if is_told || known.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            if is_told {
                known.hosts_file.forget();
                known.resolv_conf.forget();
            }
            known.look(self.shared.port).await;
            known.looked = Some(Instant::now());
        }
        (known.hosts.clone(), known.servers.clone())
    }
}

impl Known {
    async fn look(&mut self, port: u16) {
        if let Some(hosts) = self.hosts_file.changed(Hosts::parse).await {
            self.hosts = Arc::new(hosts);
        }
        let parse = move |text: &[u8]| servers::resolver(text, port);
        let Some(resolver) = self.resolv_conf.changed(parse).await else {
            return;
        };
        if let Err(error) = &resolver {
            // Then only the hosts file is asked, never a public server.
            let file = self.resolv_conf.path().display();
            tracing::warn!(%file, %error, "names cannot be looked up in DNS");
        }
        self.servers = Arc::new(self.servers.succeeded_by(resolver.ok()));
    }
}

/// `localhost` and names below it are this machine, whatever a hosts file says (RFC 6761 section 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

impl LookupError {
    /// Whether it is what a name server says of the name.
    fn is_an_answer(&self) -> bool {
        matches!(self, Self::NoSuchName | Self::NoAddress)
    }
}

impl From<NetError> for LookupError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Timeout => Self::Silent,
            error if error.is_nx_domain() => Self::NoSuchName,
            error if error.is_no_records_found() => Self::NoAddress,
            error => Self::Failed(error),
        }
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchName => f.write_str("no such name"),
            Self::NoAddress => f.write_str("the name has no address"),
            Self::Silent => f.write_str("the name servers did not answer in time"),
            Self::NoServer => f.write_str("there is no name server to ask (/etc/resolv.conf)"),
            Self::NoName(error) => write!(f, "not a name: {error}"),
            Self::Failed(error) => write!(f, "the name servers failed: {error}"),
        }
    }
}

impl Error for LookupError {}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        async move {
            let addresses = names.lookup(name.as_str()).await?;
            let sockets = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(sockets) as reqwest::dns::Addrs)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
