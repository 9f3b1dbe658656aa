//! Upstreams that only a test can make, and requests in bulk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::edge_client::tls;
use crate::harness::{Answer, Service, client, soon};

/// An upstream that does with each connection what the test says; gone when dropped.
pub(crate) struct Raw {
    pub(crate) addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Raw {
    /// Serves each connection with `serve`, which also gets its number, from 0.
    pub(crate) async fn serve<F, S>(serve: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(TcpStream, usize) -> F + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(stream, number));
            }
        });
        Self {
            addr,
            accepted,
            task: task.abort_handle(),
        }
    }

    /// Speaks TLS with `identity`, offers `protocols`, and passes what is inside to `to`.
    pub(crate) async fn tls(identity: &Identity, protocols: &[&str], to: SocketAddr) -> Self {
        let acceptor = identity.acceptor(protocols);
        Self::serve(move |stream, _| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut inside) = acceptor.accept(stream).await else {
                    return;
                };
                let mut upstream = TcpStream::connect(to).await.expect("the mock is there");
                // How it ends is for the two sides to say.
                let _ = copy_bidirectional(&mut inside, &mut upstream).await;
            }
        })
        .await
    }

    /// Connections taken so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A certificate with its key, its own authority.
pub(crate) struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    /// One for `name`, which `change` may spoil.
    pub(crate) fn of(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, key }
    }

    /// The certificate, for an upstream's `ca`.
    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Writes the certificate into `directory`; gives the key of an upstream that trusts it.
    pub(crate) fn ca_in(&self, directory: &std::path::Path) -> String {
        let path = directory.join(format!("{}.pem", fastrand::u64(..)));
        std::fs::write(&path, self.pem()).expect("the certificate is written");
        format!("ca = {path:?}\n")
    }

    /// Its side of TLS handshakes.
    pub(crate) fn acceptor(&self, protocols: &[&str]) -> TlsAcceptor {
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key.into())
            .expect("a pair");
        config.alpn_protocols = protocols.iter().map(|name| (*name).into()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Reads one request's head; none when the connection ends before.
pub(crate) async fn request_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Writes a reply that keeps the connection.
pub(crate) async fn reply(stream: &mut TcpStream, body: &str) {
    let length = body.len();
    let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
    // A client that has gone is not this side's affair.
    let _ = stream.write_all(reply.as_bytes()).await;
}

/// Sends a request as these very bytes, which no library would: a target and header lines, each with
/// its line break. Gives the status and the body.
pub(crate) async fn get_as_written(service: &Service, target: &str, lines: &str) -> (u16, String) {
    let mut stream = tls(service, "http/1.1").await.expect("a handshake");
    let request =
        format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    // A close without TLS's own is fine here; what matters is what came.
    let _ = soon(stream.read_to_string(&mut answer)).await;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer:?}"));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// GETs every URL, `at_once` of them at a time; the answers in the order of the URLs.
pub(crate) async fn get_all(urls: Vec<String>, at_once: usize) -> Vec<Answer> {
    let client = client();
    let answers = futures_util::stream::iter(urls).map(|url| {
        let client = client.clone();
        async move {
            let response = client.get(&url).send().await;
            Answer::of(response.unwrap_or_else(|error| panic!("{url}: {error:?}"))).await
        }
    });
    soon(answers.buffered(at_once).collect()).await
}

/// The two ways to speak to a plain upstream: the value of `http`.
pub(crate) const PROTOCOLS: [&str; 2] = ["1", "2"];
