//! Sockets that listen, and what is refused before any other work.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use axum_server::{AddrListener, Address};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockFilter, SockRef, Type};
use tokio::net::{TcpListener, TcpStream};

use super::connections::Connections;
use super::incidents::What;
use super::stream::Admitted;

/// Connections that wait to be taken. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Bytes of a response that the kernel holds before it sends them.
const NOT_SENT: u32 = 128 * 1024;

/// Binds a TCP listener. An IPv6 one takes IPv6 only, so that `0.0.0.0` and `[::]` go together.
///
/// # Errors
/// When the address is taken, not ours, or needs a privilege that is missing.
pub fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Socket {
        tcp: socket.into(),
        owner: Owner::Process,
    })
}

/// The address of a peer whose connections are [`Admitted`].
#[derive(Clone, Debug)]
pub(super) struct Edge(SocketAddr);

impl Edge {
    /// The peer.
    pub(super) fn ip(&self) -> IpAddr {
        self.0.ip()
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.ip().fmt(formatter)
    }
}

impl Address for Edge {
    type Stream = Admitted;
    type Listener = Listener;
}

/// Drops the first packet of a new connection, and nothing else (classic BPF over the TCP header).
/// What the kernel has answered already completes, so that a closed listener resets no connection. Clients
/// that come later try again by themselves, a second later for the first time.
const NO_NEWCOMERS: [SockFilter; 5] = [
    // The flags,
    SockFilter::new(0x30, 0, 0, 13),
    // SYN and ACK of them:
    SockFilter::new(0x54, 0, 0, 0x12),
    // SYN alone?
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// A socket that listens, and whose it is.
#[derive(Debug)]
pub struct Socket {
    pub(super) tcp: std::net::TcpListener,
    owner: Owner,
}

/// Who has a socket when this process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// No connection: it is closed.
    Process,
    /// A service manager, which keeps it for the successor with everybody who waits.
    Manager,
}

impl Socket {
    /// A socket that a service manager has bound.
    ///
    /// # Errors
    /// When it cannot be made non-blocking.
    pub fn inherited(tcp: std::net::TcpListener) -> io::Result<Self> {
        tcp.set_nonblocking(true)?;
        let owner = Owner::Manager;
        Ok(Self { tcp, owner })
    }
}

/// Where a running server takes connections from, until it is closed.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Option<(TcpListener, Owner)>>);

impl Gate {
    /// Lets no more clients begin to connect, where the socket ends with this process.
    pub(super) fn turn_away(&self) {
        if let Some((tcp, Owner::Process)) = &*self.0.lock()
            && let Err(error) = SockRef::from(tcp).attach_filter(&NO_NEWCOMERS)
        {
            tracing::debug!(%error, "clients that connect at the last moment may be reset");
        }
    }

    /// Closes it: a socket of ours when `quiet`, if its queue is empty, and when `over` in any
    /// case; another's at once, since who waits there has the successor. Gives whether it is closed.
    pub(super) fn close(&self, quiet: bool, over: bool) -> bool {
        let mut gate = self.0.lock();
        let closes = match &*gate {
            None | Some((_, Owner::Manager)) => true,
            Some((tcp, Owner::Process)) => over || (quiet && is_empty(tcp)),
        };
        if closes {
            *gate = None;
        }
        closes
    }
}

/// Whether its queue is empty.
fn is_empty(tcp: &TcpListener) -> bool {
    let mut readable = [PollFd::new(tcp, PollFlags::IN)];
    matches!(poll(&mut readable, Some(&Timespec::default())), Ok(0))
}

/// A listener that gives only connections that have a place.
pub(super) struct Listener {
    gate: Arc<Gate>,
    connections: Arc<Connections>,
}

impl Listener {
    /// Takes connections of a bound socket into the table.
    pub(super) fn new(
        socket: Socket,
        gate: Arc<Gate>,
        connections: Arc<Connections>,
    ) -> io::Result<Self> {
        // Accepted connections inherit these (Linux), which saves two calls for each.
        let options = SockRef::from(&socket.tcp);
        // Small answers must not wait for the client's delayed acknowledgement.
        options.set_tcp_nodelay(true)?;
        // What a slow client does not take is to stay with us, where it is seen and bounded.
        options.set_tcp_notsent_lowat(NOT_SENT)?;
        let tcp = TcpListener::from_std(socket.tcp)?;
        *gate.0.lock() = Some((tcp, socket.owner));
        Ok(Self { gate, connections })
    }
}

impl Listener {
    /// The next connection; none ever, once the gate is closed.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|context| match &*self.gate.0.lock() {
            Some((tcp, _)) => tcp.poll_accept(context),
            None => Poll::Pending,
        })
        .await
    }
}

impl AddrListener<Admitted, Edge> for Listener {
    async fn bind_to(_address: Edge) -> io::Result<Self> {
        // Sockets are bound before anything runs, so that what is taken is said before the start.
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn accept_stream(&self) -> io::Result<(Admitted, Edge)> {
        loop {
            let (tcp, peer) = match self.accept().await {
                Ok(accepted) => accepted,
                // A client that is gone already is no reason to let others wait.
                Err(error) if is_of_the_peer(&error) => continue,
                Err(error) => {
                    if is_for_want_of_descriptors(&error) {
                        self.connections.spare_descriptors();
                    }
                    return Err(error);
                }
            };
            match self.connections.admit(peer) {
                Ok(place) => return Ok((Admitted { tcp, place }, Edge(peer))),
                Err(refusal) => {
                    let limit = refusal.limit().name();
                    let incidents = self.connections.incidents();
                    incidents.note(What::Refused, limit, peer.ip(), "");
                }
            }
        }
    }

    fn get_local_addr(&self) -> io::Result<Edge> {
        match &*self.gate.0.lock() {
            Some((tcp, _)) => tcp.local_addr().map(Edge),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

fn is_for_want_of_descriptors(error: &io::Error) -> bool {
    let (process, system) = (Errno::MFILE.raw_os_error(), Errno::NFILE.raw_os_error());
    matches!(error.raw_os_error(), Some(code) if code == process || code == system)
}
