//! Listeners, TLS and drain; generic over a tower service, knows no routes and no statuses.

mod acceptor;
mod activity;
mod connections;
mod descriptors;
mod drain;
#[cfg(fuzzing)]
pub mod fuzzing;
mod incidents;
mod listener;
mod proxy_protocol;
mod requests;
mod stream;
mod tls;

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::{Request, Response};
use axum::body::Body;
use axum_server::Handle;
use hyper::body::Incoming;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use tower::{Service, service_fn};

use self::acceptor::Acceptor;
pub use self::acceptor::Transport;
pub use self::connections::Connections;
pub use self::descriptors::{descriptors_needed, raise_descriptor_limit, within_descriptors};
pub use self::drain::drain;
use self::incidents::What;
use self::listener::{Edge, Gate, Listener};
pub use self::listener::{Socket, bind};
pub use self::tls::{Prepared, Tls};

/// Longer heads of HTTP/1 requests are refused: those above 32 KiB always, since the library doubles its
/// buffer and looks only when it has read what was there.
const HEAD_BUFFER: usize = 24 * 1024;
/// How often at most a failing accept is logged.
const ACCEPT_ERRORS_LOGGED: Duration = Duration::from_secs(1);

/// One listener of HTTPS or plain HTTP, bound and ready to serve.
pub struct Server {
    socket: Socket,
    gate: Arc<Gate>,
    acceptor: Acceptor,
    connections: Arc<Connections>,
    handle: Handle<Edge>,
}

impl Server {
    /// A server on a bound listener. Connections are taken only once it runs.
    #[must_use]
    pub fn new(socket: Socket, transport: Transport, connections: Arc<Connections>) -> Self {
        Self {
            socket,
            gate: Arc::default(),
            acceptor: Acceptor { transport },
            connections,
            handle: Handle::new(),
        }
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// When the socket is not one any more.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.tcp.local_addr()
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper {
            handle: self.handle.clone(),
            gate: self.gate.clone(),
        }
    }

    /// Serves until stopped and until the last connection has ended. Each request carries the
    /// [`crate::client::Peer`] of its connection as an extension.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub async fn run<S>(self, service: S) -> io::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        let accept_errors = accept_error_log(self.connections.clone());
        let listener = Listener::new(self.socket, self.gate, self.connections)?;
        let mut server = axum_server::Server::from_listener(listener)
            .acceptor(self.acceptor)
            .handle(self.handle)
            .accept_error_handler(accept_errors);
        configure(server.http_builder());
        let connection = move |_peer| ready(Ok::<_, Infallible>(service.clone()));
        server.serve(service_fn(connection)).await
    }
}

/// Stops one server.
#[derive(Clone)]
pub struct Stopper {
    handle: Handle<Edge>,
    gate: Arc<Gate>,
}

impl Stopper {
    /// Lets no more clients begin to connect.
    fn turn_away(&self) {
        self.gate.turn_away();
    }

    /// Closes the listener, see [`Gate::close`].
    fn close(&self, quiet: bool, over: bool) -> bool {
        self.gate.close(quiet, over)
    }

    /// Ends what is idle or shakes hands, and lets requests that run finish.
    fn finish(&self) {
        self.handle.graceful_shutdown(None);
    }

    /// Ends everything.
    fn cut(&self) {
        self.handle.shutdown();
    }
}

/// Limits of one connection; the crates' defaults leave most of them open.
fn configure(builder: &mut Builder<TokioExecutor>) {
    // Times are kept by the stream wrapper, which tells a slow head from an idle connection.
    builder
        .http1()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BUFFER);
    builder
        .http2()
        .max_concurrent_streams(100)
        .initial_stream_window_size(64 * 1024)
        .max_send_buf_size(64 * 1024)
        .max_header_list_size(16 * 1024)
        .max_local_error_reset_streams(256)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
}

/// A failed handshake is the client's affair; a failed accept is ours (too few descriptors, mostly),
/// and comes many times a second.
fn accept_error_log(
    connections: Arc<Connections>,
) -> impl Fn(Option<&Edge>, &io::Error) + Send + Sync + 'static {
    let last: Mutex<Option<Instant>> = Mutex::new(None);
    move |peer, error| {
        if let Some(peer) = peer {
            let kind = incidents::handshake(error).name();
            let incidents = connections.incidents();
            incidents.note(What::HandshakeFailed, kind, peer.ip(), error);
            return;
        }
        let mut last = last.lock();
        if last.is_none_or(|last| last.elapsed() >= ACCEPT_ERRORS_LOGGED) {
            *last = Some(Instant::now());
            tracing::error!(%error, "cannot take connections");
        }
    }
}
