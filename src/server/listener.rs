//! Sockets that listen, and what is refused before any other work.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum_server::{AddrListener, Address};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;

use super::connections::Connections;
use super::stream::Admitted;

/// Connections that wait to be taken. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Bytes of a response that the kernel holds before it sends them.
const NOT_SENT: u32 = 128 * 1024;

/// Binds a TCP listener. An IPv6 one takes IPv6 only, so that `0.0.0.0` and `[::]` go together.
///
/// # Errors
/// When the address is taken, not ours, or needs a privilege that is missing.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
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
    Ok(socket.into())
}

/// The address of a peer whose connections are [`Admitted`].
#[derive(Clone, Debug)]
pub(super) struct Edge(SocketAddr);

impl fmt::Display for Edge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.ip().fmt(formatter)
    }
}

impl Address for Edge {
    type Stream = Admitted;
    type Listener = Listener;
}

/// A listener that gives only connections that have a place.
pub(super) struct Listener {
    tcp: TcpListener,
    connections: Arc<Connections>,
}

impl Listener {
    /// Takes connections of a bound socket into the table.
    pub(super) fn new(
        socket: std::net::TcpListener,
        connections: Arc<Connections>,
    ) -> io::Result<Self> {
        // Accepted connections inherit these (Linux), which saves two calls for each.
        let options = SockRef::from(&socket);
        // Small answers must not wait for the client's delayed acknowledgement.
        options.set_tcp_nodelay(true)?;
        // What a slow client does not take is to stay with us, where it is seen and bounded.
        options.set_tcp_notsent_lowat(NOT_SENT)?;
        Ok(Self {
            tcp: TcpListener::from_std(socket)?,
            connections,
        })
    }
}

impl AddrListener<Admitted, Edge> for Listener {
    async fn bind_to(_address: Edge) -> io::Result<Self> {
        // Sockets are bound before anything runs, so that what is taken is said before the start.
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn accept_stream(&self) -> io::Result<(Admitted, Edge)> {
        loop {
            let (tcp, peer) = match self.tcp.accept().await {
                Ok(accepted) => accepted,
                // Somebody who is gone already is no reason to let others wait.
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
                    tracing::debug!(client.address = %peer.ip(), ?refusal, "connection refused");
                }
            }
        }
    }

    fn get_local_addr(&self) -> io::Result<Edge> {
        self.tcp.local_addr().map(Edge)
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
