//! Finds out what an upstream speaks before the first call: by one handshake that offers both
//! protocols where TLS leaves the choice, and by the first SETTINGS frame of one that speaks HTTP/2.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::{CALLS_PER_HTTP2_CONNECTION, Kind, Maker, Protocol, Spoken};
use crate::config::UpstreamHttp;
use crate::upstream::failure::classify_handshake;

/// Why it was not found out.
#[derive(Clone, Debug)]
pub(super) struct Undiscovered {
    pub(super) kind: Kind,
    /// For the log.
    pub(super) because: Arc<str>,
}

impl Undiscovered {
    pub(super) fn new(kind: Kind, because: impl fmt::Display) -> Self {
        let because = because.to_string().into();
        Self { kind, because }
    }
}

/// What the upstream speaks. The connection is closed again.
pub(super) async fn discover(maker: Maker) -> Result<Spoken, Undiscovered> {
    let limit = maker.settings.connect_timeout;
    let is_tls = maker.settings.url.scheme() == "https";
    let connecting = async {
        let tcp = connect(&maker).await?;
        Ok(if is_tls {
            Connected::Tls(Box::new(handshake(&maker, tcp).await?))
        } else {
            Connected::Plain(tcp)
        })
    };
    let late = |_| {
        Err(Undiscovered::new(
            Kind::Connect,
            "not within connect_timeout",
        ))
    };
    match timeout(limit, connecting).await.unwrap_or_else(late)? {
        Connected::Tls(stream) => match stream.get_ref().1.alpn_protocol() {
            Some(picked) if picked == Protocol::Http2.alpn() => Ok(http2(stream, &maker).await),
            // Who was not asked for anything else speaks HTTP/2 or fails the call.
            _ if maker.settings.http == UpstreamHttp::Http2 => Ok(http2(stream, &maker).await),
            _ => Ok(Spoken::HTTP1),
        },
        Connected::Plain(stream) => Ok(http2(stream, &maker).await),
    }
}

enum Connected {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

async fn handshake(maker: &Maker, stream: TcpStream) -> Result<TlsStream<TcpStream>, Undiscovered> {
    let host = maker.settings.url.host();
    let name = match host.ok_or_else(|| Undiscovered::new(Kind::Tls, "the url has no host"))? {
        Host::Domain(name) => ServerName::try_from(name.to_owned())
            .map_err(|error| Undiscovered::new(Kind::Tls, error))?,
        Host::Ipv4(address) => ServerName::from(std::net::IpAddr::V4(address)),
        Host::Ipv6(address) => ServerName::from(std::net::IpAddr::V6(address)),
    };
    let offered: &[Protocol] = match maker.settings.http {
        UpstreamHttp::Http2 => &[Protocol::Http2],
        UpstreamHttp::Auto | UpstreamHttp::Http1 => &[Protocol::Http2, Protocol::Http1],
    };
    let connector = TlsConnector::from(Arc::new(maker.tls_for(offered)));
    connector
        .connect(name, stream)
        .await
        .map_err(|error| Undiscovered::new(classify_handshake(&error), error))
}

/// HTTP/2 with as many calls on a connection as the upstream allows. One that does not say so in
/// time gets calls all the same: what is wrong with it is for them to find.
async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin, maker: &Maker) -> Spoken {
    let allowed = timeout(maker.settings.connect_timeout, streams_allowed(stream)).await;
    let allowed = allowed.ok().flatten().unwrap_or(usize::MAX);
    Spoken {
        protocol: Protocol::Http2,
        calls_per_connection: allowed.min(CALLS_PER_HTTP2_CONNECTION),
    }
}

/// `SETTINGS_MAX_CONCURRENT_STREAMS` of the first SETTINGS frame (RFC 9113 section 6.5.2).
async fn streams_allowed(stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<usize> {
    let mut builder = h2::client::Builder::new();
    // None until the frame has come, which may also leave it open.
    let handshake = builder
        .initial_max_send_streams(0)
        .handshake::<_, Bytes>(stream);
    // The handle keeps the connection open.
    let (_requests, connection) = handshake.await.ok()?;
    let mut connection = pin!(connection);
    poll_fn(|context| {
        let ended = connection.as_mut().poll(context).is_ready();
        match connection.max_concurrent_send_streams() {
            0 if ended => Poll::Ready(None),
            0 => Poll::Pending,
            allowed => Poll::Ready(Some(allowed)),
        }
    })
    .await
}

async fn connect(maker: &Maker) -> Result<TcpStream, Undiscovered> {
    let found = maker.lookup.addresses().await;
    let addresses = found.map_err(|error| Undiscovered::new(Kind::Connect, error))?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(Undiscovered::new(Kind::Connect, last))
}
