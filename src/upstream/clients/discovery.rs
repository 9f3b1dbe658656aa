//! Finds out which protocol a TLS upstream speaks, by one handshake that offers both.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Host;

use super::{Kind, Maker, Protocol};
use crate::upstream::failure::classify_handshake;

/// What the upstream picks of HTTP/2 and HTTP/1.1. The connection is closed again.
pub(super) async fn discover(maker: Maker) -> Result<Protocol, Kind> {
    let limit = maker.settings.connect_timeout;
    let handshake = timeout(limit, handshake(&maker)).await;
    handshake.unwrap_or(Err(Kind::Connect))
}

async fn handshake(maker: &Maker) -> Result<Protocol, Kind> {
    let url = &maker.settings.url;
    let host = url.host().ok_or(Kind::Connect)?;
    let name = match &host {
        Host::Domain(name) => ServerName::try_from((*name).to_owned()).map_err(|_| Kind::Tls)?,
        Host::Ipv4(address) => ServerName::from(std::net::IpAddr::V4(*address)),
        Host::Ipv6(address) => ServerName::from(std::net::IpAddr::V6(*address)),
    };
    let stream = connect(maker, &host).await?;
    let tls = maker.tls_for(&[Protocol::Http2, Protocol::Http1]);
    let connector = TlsConnector::from(Arc::new(tls));
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| classify_handshake(&error))?;
    let picked = stream.get_ref().1.alpn_protocol();
    let speaks_http2 = picked == Some(Protocol::Http2.alpn());
    Ok(if speaks_http2 {
        Protocol::Http2
    } else {
        Protocol::Http1
    })
}

async fn connect(maker: &Maker, host: &Host<&str>) -> Result<TcpStream, Kind> {
    let port = maker
        .settings
        .url
        .port_or_known_default()
        .ok_or(Kind::Connect)?;
    let addresses = match host {
        Host::Domain(name) => maker.names.lookup(name).await.map_err(|_| Kind::Connect)?,
        Host::Ipv4(address) => vec![(*address).into()],
        Host::Ipv6(address) => vec![(*address).into()],
    };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    tracing::debug!(upstream.name = %maker.settings.name, error = %last, "cannot connect");
    Err(Kind::Connect)
}
