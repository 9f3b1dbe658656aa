//! The other end of a connection.

use std::net::SocketAddr;

/// The TCP peer of a connection; an extension of each of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);
