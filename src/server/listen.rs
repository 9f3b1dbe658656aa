//! Sockets that listen.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be taken. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds a TCP listener. An IPv6 one takes IPv6 only, so that `0.0.0.0` and `[::]` go together.
///
/// # Errors
/// When the address is taken, not ours, or needs a privilege that is missing.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
