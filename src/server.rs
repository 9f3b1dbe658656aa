//! Listeners, TLS and drain; generic over a tower service, knows no routes and no statuses.

mod certificate;
mod descriptors;
mod listen;
mod tls;

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use axum::Extension;
use axum::body::Body;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper::body::Incoming;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tower::{Layer, Service, service_fn};

pub use self::descriptors::raise_descriptor_limit;
pub use self::listen::bind;
pub use self::tls::server_config;
use crate::client::Peer;
use crate::config::ServerSettings;

/// How long a connection without a request is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// The most that the head of an HTTP/1 request may take.
const HEAD_BUFFER: usize = 32 * 1024;

/// One HTTPS listener, bound and ready to serve.
pub struct Server {
    listener: std::net::TcpListener,
    tls: Arc<rustls::ServerConfig>,
    handshake_timeout: Duration,
    header_timeout: Duration,
    handle: Handle<SocketAddr>,
}

impl Server {
    /// A server on a bound listener. Connections are taken only once it runs.
    #[must_use]
    pub fn new(
        listener: std::net::TcpListener,
        tls: Arc<rustls::ServerConfig>,
        settings: &ServerSettings,
    ) -> Self {
        Self {
            listener,
            tls,
            handshake_timeout: settings.handshake_timeout,
            header_timeout: settings.header_timeout,
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
    /// [`Peer`] of its connection as an extension.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub async fn run<S>(self, service: S) -> io::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        let tls = RustlsAcceptor::new(RustlsConfig::from_config(self.tls))
            .handshake_timeout(self.handshake_timeout)
            // Without it, small answers wait for the client's delayed acknowledgement.
            .acceptor(NoDelayAcceptor::new());
        let mut server = axum_server::from_tcp(self.listener)?
            .acceptor(tls)
            .handle(self.handle)
            .first_request_timeout(self.header_timeout)
            .accept_error_handler(log_accept_error);
        configure(server.http_builder());
        let connection = move |peer| {
            ready(Ok::<_, Infallible>(
                Extension(Peer(peer)).layer(service.clone()),
            ))
        };
        server.serve(service_fn(connection)).await
    }
}

/// Stops one server.
#[derive(Clone)]
pub struct Stopper {
    handle: Handle<SocketAddr>,
}

impl Stopper {
    /// Takes no more connections, lets requests that run finish, and ends after `limit` at most.
    pub fn drain(&self, limit: Duration) {
        self.handle.graceful_shutdown(Some(limit));
    }
}

/// Limits of one connection; the crates' defaults leave most of them open.
fn configure(builder: &mut Builder<TokioExecutor>) {
    builder
        .http1()
        .header_read_timeout(IDLE_TIMEOUT)
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

/// A failed handshake is the client's affair; a failed accept is ours (too few descriptors, mostly).
fn log_accept_error(peer: Option<&SocketAddr>, error: &io::Error) {
    match peer {
        Some(peer) => tracing::debug!(client.address = %peer.ip(), %error, "handshake failed"),
        None => tracing::error!(%error, "cannot take connections"),
    }
}
