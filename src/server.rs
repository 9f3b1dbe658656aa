//! Listeners, TLS and drain; generic over a tower service, knows no routes and no statuses.

mod acceptor;
mod activity;
mod certificate;
mod connections;
mod descriptors;
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
use self::activity::Timeouts;
pub use self::connections::Connections;
pub use self::descriptors::raise_descriptor_limit;
pub use self::listener::bind;
use self::listener::{Edge, Listener};
pub use self::tls::server_config;
use crate::config::ServerSettings;

/// The most that the head of an HTTP/1 request may take.
const HEAD_BUFFER: usize = 32 * 1024;
/// How often at most a failing accept is logged.
const ACCEPT_ERRORS_LOGGED: Duration = Duration::from_secs(1);

/// One listener of HTTPS or plain HTTP, bound and ready to serve.
pub struct Server {
    listener: std::net::TcpListener,
    acceptor: Acceptor,
    connections: Arc<Connections>,
    handle: Handle<Edge>,
}

impl Server {
    /// A server on a bound listener. Connections are taken only once it runs.
    #[must_use]
    pub fn new(
        listener: std::net::TcpListener,
        transport: Transport,
        connections: Arc<Connections>,
        settings: &ServerSettings,
    ) -> Self {
        let timeouts = Timeouts {
            handshake: settings.handshake_timeout,
            header: settings.header_timeout,
            idle: settings.idle_timeout,
            write: settings.write_timeout,
        };
        let proxy_protocol = settings.proxy_protocol;
        let acceptor = Acceptor {
            transport,
            timeouts,
            proxy_protocol,
        };
        Self {
            listener,
            acceptor,
            connections,
            handle: Handle::new(),
        }
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// When the socket is not one any more.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper {
            handle: self.handle.clone(),
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
        let header_timeout = self.acceptor.timeouts.header;
        let is_plain = matches!(self.acceptor.transport, Transport::Plain);
        let listener = Listener::new(self.listener, self.connections)?;
        let mut server = axum_server::Server::from_listener(listener)
            .acceptor(self.acceptor)
            .handle(self.handle)
            // Silence while hyper still finds out which protocol it is.
            .first_request_timeout(header_timeout)
            .accept_error_handler(accept_error_log());
        configure(server.http_builder());
        if is_plain {
            // Without TLS there is nothing to agree on HTTP/2 by.
            server = server.http1_only();
        }
        let connection = move |_peer| ready(Ok::<_, Infallible>(service.clone()));
        server.serve(service_fn(connection)).await
    }
}

/// Stops one server.
#[derive(Clone)]
pub struct Stopper {
    handle: Handle<Edge>,
}

impl Stopper {
    /// Takes no more connections, lets requests that run finish, and ends after `limit` at most.
    pub fn drain(&self, limit: Duration) {
        self.handle.graceful_shutdown(Some(limit));
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
fn accept_error_log() -> impl Fn(Option<&Edge>, &io::Error) + Send + Sync + 'static {
    let last: Mutex<Option<Instant>> = Mutex::new(None);
    move |peer, error| {
        if let Some(peer) = peer {
            tracing::debug!(client.address = %peer, %error, "handshake failed");
            return;
        }
        let mut last = last.lock();
        if last.is_none_or(|last| last.elapsed() >= ACCEPT_ERRORS_LOGGED) {
            *last = Some(Instant::now());
            tracing::error!(%error, "cannot take connections");
        }
    }
}
