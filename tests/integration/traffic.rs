//! Clients of every kind at once, which count what becomes of every connection and request.
//!
//! They read bytes themselves: a client library would try again where something was lost.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::edge_client::{Tls, tls_within};
use crate::harness::soon;

const CLIENTS_OF_A_KIND: usize = 6;

/// Traffic that goes on until nobody listens any more, or until it is told to stop.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

/// What has become of it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Requests that were answered with 200.
    pub(crate) answered: AtomicUsize,
    /// Connections that nobody took.
    pub(crate) refused: AtomicUsize,
    lost: parking_lot::Mutex<Vec<String>>,
}

struct Shared {
    address: SocketAddr,
    path: &'static str,
    directory: PathBuf,
    counts: Counts,
    /// Whether a refused connection is tried again, since a successor will come.
    persistent: bool,
    stop: AtomicBool,
}

impl Traffic {
    /// Clients with kept connections, with new ones, and over HTTP/2.
    pub(crate) fn start(
        address: SocketAddr,
        path: &'static str,
        directory: &Path,
        persistent: bool,
    ) -> Self {
        let shared = Arc::new(Shared {
            address,
            path,
            directory: directory.to_owned(),
            counts: Counts::default(),
            persistent,
            stop: AtomicBool::new(false),
        });
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS_OF_A_KIND {
            clients.spawn(shared.clone().keep());
            clients.spawn(shared.clone().renew());
            clients.spawn(shared.clone().multiplex());
        }
        Self { shared, clients }
    }

    /// How many requests were answered by now.
    pub(crate) fn answered(&self) -> usize {
        self.shared.counts.answered.load(Ordering::Relaxed)
    }

    /// Lets every client finish what it does.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// What was lost, once every client has ended; and the connections that were refused.
    pub(crate) async fn ended(mut self) -> (Vec<String>, usize) {
        while let Some(ended) = soon(self.clients.join_next()).await {
            ended.expect("no client panics");
        }
        let counts = &self.shared.counts;
        let lost = counts.lost.lock().clone();
        (lost, counts.refused.load(Ordering::Relaxed))
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn lost(&self, what: impl Into<String>) {
        self.counts.lost.lock().push(what.into());
    }

    fn count(&self, status: Option<String>, what: &str) {
        match status.as_deref() {
            Some("200") => {
                self.counts.answered.fetch_add(1, Ordering::Relaxed);
            }
            Some(status) => self.lost(format!("{what}: status {status}")),
            None => self.lost(format!("{what}: no answer")),
        }
    }

    /// A connection; none when it is time to end. One that the kernel made must be served.
    async fn connect(&self, protocol: &str) -> Option<Tls> {
        let stream = loop {
            if !self.goes_on() {
                return None;
            }
            match soon(TcpStream::connect(self.address)).await {
                Ok(stream) => break stream,
                Err(_) => {
                    self.counts.refused.fetch_add(1, Ordering::Relaxed);
                    if !self.persistent {
                        return None;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        let tls = tls_within(&self.directory, stream, protocol).await;
        if tls.is_none() {
            self.lost(format!(
                "{protocol}: no handshake on a connection that was accepted"
            ));
        }
        tls
    }

    /// Asks again and again on one connection, until an answer says that it was the last.
    async fn keep(self: Arc<Self>) {
        'connections: while let Some(mut stream) = self.connect("http/1.1").await {
            while self.goes_on() {
                let head = answer(&mut stream, self.path, "").await;
                self.count(head.as_deref().and_then(status), "kept connection");
                if head.is_none_or(|head| head.contains("\r\nconnection: close\r\n")) {
                    continue 'connections;
                }
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..30))).await;
            }
        }
    }

    /// A connection for every request.
    async fn renew(self: Arc<Self>) {
        while let Some(mut stream) = self.connect("http/1.1").await {
            let head = answer(&mut stream, self.path, "connection: close\r\n").await;
            self.count(head.as_deref().and_then(status), "new connection");
        }
    }

    /// Several requests at once on an HTTP/2 connection.
    async fn multiplex(self: Arc<Self>) {
        while let Some(stream) = self.connect("h2").await {
            let Ok((sender, connection)) = h2::client::handshake(stream).await else {
                self.lost("h2: no preface");
                continue;
            };
            let connection = tokio::spawn(connection);
            let mut streams = JoinSet::new();
            for _ in 0..4 {
                streams.spawn(self.clone().stream(sender.clone()));
            }
            while streams.join_next().await.is_some() {}
            drop(sender);
            let _ = soon(connection).await;
        }
    }

    async fn stream(self: Arc<Self>, sender: h2::client::SendRequest<bytes::Bytes>) {
        while self.goes_on() {
            // From GOAWAY on, nothing may be sent.
            let Ok(mut ready) = sender.clone().ready().await else {
                return;
            };
            let request = http::Request::get(format!("https://localhost{}", self.path));
            let request = request.body(()).expect("a request");
            let Ok((response, _)) = ready.send_request(request, true) else {
                return;
            };
            match soon(whole(response)).await {
                Ok(status) => self.count(Some(status), "stream"),
                // What GOAWAY or REFUSED_STREAM name was not begun, and may be sent again.
                Err(error) if error.is_go_away() && error.is_remote() => return,
                Err(error) if error.reason() == Some(h2::Reason::REFUSED_STREAM) => {}
                Err(error) => return self.lost(format!("stream: {error}")),
            }
        }
    }
}

async fn whole(response: h2::client::ResponseFuture) -> Result<String, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
    }
    Ok(head.status.as_str().to_owned())
}

/// The head of an answer that came whole.
async fn answer(stream: &mut Tls, path: &str, more: &str) -> Option<String> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(soon(stream.read_u8()).await.ok()?);
    }
    let head = String::from_utf8_lossy(&answer).to_lowercase();
    let length = head.split("content-length: ").nth(1)?;
    let length = length.split("\r\n").next()?.parse().ok()?;
    soon(stream.read_exact(&mut vec![0; length])).await.ok()?;
    Some(head)
}

fn status(head: &str) -> Option<String> {
    head.split(' ').nth(1).map(str::to_owned)
}
