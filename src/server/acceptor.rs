//! From an accepted TCP connection to a stream of requests: PROXY header, TLS, and who it is.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tower::Layer;

use super::activity::Protocol;
use super::connections::{Counted, Refusal};
use super::requests::Requests;
use super::stream::{Admitted, Watched};
use super::tls::Tls;
use super::{incidents, proxy_protocol};
use crate::client::Peer;
use crate::metrics::Handshake;

/// How long a trusted peer may take for its PROXY header.
const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(1);

/// What is between TCP and HTTP.
#[derive(Clone)]
pub enum Transport {
    /// HTTP/1.1 without anything between: there is nothing to agree on HTTP/2 by.
    Plain,
    /// TLS, which agrees on HTTP/1.1 or HTTP/2.
    Tls(Tls),
}

/// Makes admitted connections into streams of requests.
#[derive(Clone)]
pub(super) struct Acceptor {
    pub(super) transport: Transport,
}

impl<S> Accept<Admitted, S> for Acceptor
where
    S: Send + 'static,
{
    /// Boxed, since the task of a connection has room for several streams, of which it uses one.
    type Stream = Box<Watched<Either<TlsStream<Admitted>, Admitted>>>;
    type Service = Requests<AddExtension<S, Peer>>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: Admitted, service: S) -> Self::Future {
        let transport = self.transport.clone();
        let (timeouts, proxy_protocol) = stream.place.connections().terms();
        let metrics = stream.place.connections().metrics().clone();
        let handshake = async move {
            let mut stream = stream;
            let (peer, counted) = identify(&mut stream, proxy_protocol).await?;
            let activity = stream.place.activity.clone();
            let told = (stream.place.connections().clone(), peer.ip());
            let (stream, protocol) = match transport {
                Transport::Plain => (Either::Right(stream), Protocol::Http1),
                Transport::Tls(tls) => {
                    let stream = tls.accept(stream).await?;
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let protocol = if http2 {
                        Protocol::Http2
                    } else {
                        Protocol::Http1
                    };
                    (Either::Left(stream), protocol)
                }
            };
            activity.connected(protocol);
            let peer = Peer::new(peer, activity.cut().clone());
            let stream = Watched::new(stream, protocol, activity.clone(), timeouts, counted, told);
            Ok((
                Box::new(stream),
                Requests::new(Extension(peer).layer(service), activity),
            ))
        };
        async move {
            let handshake = timeout(timeouts.handshake, handshake).await;
            let handshake = handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            metrics.handshake(match &handshake {
                Ok(_) => Handshake::Completed,
                Err(error) => incidents::handshake(error),
            });
            handshake
        }
        .boxed()
    }
}

/// Who the other end is: the TCP peer, or the source that its PROXY header names.
async fn identify(
    stream: &mut Admitted,
    proxy_protocol: bool,
) -> io::Result<(SocketAddr, Option<Counted>)> {
    let peer = stream.tcp.peer_addr()?;
    if !proxy_protocol {
        return Ok((peer, None));
    }
    let connections = stream.place.connections().clone();
    if !connections.trusts(peer.ip()) {
        return Err(refused(
            "a PROXY header is believed from trusted_proxies only",
        ));
    }
    let header = timeout(PROXY_HEADER_TIMEOUT, proxy_protocol::read(&mut stream.tcp)).await;
    let source = header
        .unwrap_or_else(|_| Err(refused("no PROXY header came")))
        .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
    let count = |source: IpAddr| {
        connections
            .admit_source(source)
            .map_err(|refusal| refused(reason(refusal)))
    };
    match source {
        Some(source) => Ok((source, count(source.ip())?)),
        // LOCAL and UNKNOWN: the proxy speaks for itself.
        None => Ok((peer, None)),
    }
}

fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Access => "the source is not allowed",
        Refusal::Rate | Refusal::PerClient | Refusal::Full => "the source has too many connections",
    }
}

fn refused(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}
