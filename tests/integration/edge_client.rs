//! A client that speaks TLS and nothing else: every byte of HTTP is the test's own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{Service, soon};

pub(crate) type Tls = TlsStream<TcpStream>;

/// A TCP connection to the service.
pub(crate) async fn connect(service: &Service) -> TcpStream {
    TcpStream::connect(service.addrs.https[0])
        .await
        .expect("the kernel accepts")
}

/// A TLS connection that offers one protocol; none when the service closes instead.
pub(crate) async fn tls(service: &Service, protocol: &str) -> Option<Tls> {
    tls_over(service, connect(service).await, protocol).await
}

/// The same over a connection that is there.
pub(crate) async fn tls_over(service: &Service, stream: TcpStream, protocol: &str) -> Option<Tls> {
    tls_within(service.directory.path(), stream, protocol).await
}

/// The same with a service whose certificate is in `directory`.
pub(crate) async fn tls_within(directory: &Path, stream: TcpStream, protocol: &str) -> Option<Tls> {
    let mut roots = RootCertStore::empty();
    let file = directory.join("cert.pem");
    let certificate = CertificateDer::from_pem_file(file).expect("the service's certificate");
    roots.add(certificate).expect("a certificate to trust");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream))
        .await
        .ok()
}

/// The status of a GET whose answer has a length; none when the connection ends.
pub(crate) async fn request(stream: &mut Tls, path: &str) -> Option<String> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let end = loop {
        let mut byte = [0];
        if soon(stream.read(&mut byte)).await.ok()? == 0 {
            return None;
        }
        answer.push(byte[0]);
        if answer.ends_with(b"\r\n\r\n") {
            break String::from_utf8_lossy(&answer).to_lowercase();
        }
    };
    let length = end
        .split("content-length: ")
        .nth(1)?
        .split("\r\n")
        .next()?
        .parse()
        .ok()?;
    soon(stream.read_exact(&mut vec![0; length])).await.ok()?;
    Some(end.split(' ').nth(1)?.to_owned())
}

/// Whether the other side closes, by FIN, alert or reset, well before any default would make it.
pub(crate) async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut rest = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut rest))
        .await
        .is_ok()
}
