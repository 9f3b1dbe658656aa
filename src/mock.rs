//! The stand-in upstream and fault lab: an HTTP service for people who test their own deadlines,
//! and for our tests.
//!
//! It speaks plain HTTP/1.1 and, on the same port, HTTP/2 with prior knowledge. Every path answers
//! with one body after a delay, except those below `/fault/`, which misbehave as asked ([`FAULTS`]).
//!
//! HTTP/1.1 is read and written here by hand, since no HTTP library agrees to produce most of these
//! faults; HTTP/2 is hyper's. It is *not* a server for the open internet: it has no limit on time,
//! connections or what a client may ask of it.

mod arguments;
mod counters;
mod default_reply;
mod fault;
mod http1;
mod http2;
mod script;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::MockSettings;

pub use arguments::Arguments;
pub use counters::Counters;
pub use fault::FAULTS;

use default_reply::DefaultReply;

/// Connections the kernel keeps for us; a load test opens hundreds in one moment.
const BACKLOG: i32 = 4096;

/// Pause after an accept that failed, most likely for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A mock that has its address and does not answer yet: see [`Mock::run_until`].
#[derive(Debug)]
pub struct Mock {
    listener: std::net::TcpListener,
    local_addr: SocketAddr,
    shared: Shared,
}

/// Takes the address that `settings` name, so that connections wait in the queue from now on.
///
/// # Errors
///
/// What the operating system says: the address is taken, is not ours, or needs privileges.
pub fn bind(settings: &MockSettings) -> io::Result<Mock> {
    let socket = Socket::new(Domain::for_address(settings.listen), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&settings.listen.into())?;
    socket.listen(BACKLOG)?;
    let listener = std::net::TcpListener::from(socket);
    Ok(Mock {
        local_addr: listener.local_addr()?,
        listener,
        shared: Shared {
            default_reply: Arc::new(DefaultReply::new(settings)),
            counters: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        },
    })
}

impl Mock {
    /// Where it listens; the real port when the settings said 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What it has seen, now and while it runs.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Answers until `shutdown` is over, then cuts every connection and returns.
    ///
    /// # Errors
    ///
    /// When the runtime cannot take the socket.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        tokio::select! {
            never = accept_for_ever(&listener, &self.shared) => match never {},
            () = shutdown => {}
        }
        drop(listener);
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        Ok(())
    }
}

/// What every connection of a mock has in common.
#[derive(Clone, Debug)]
struct Shared {
    default_reply: Arc<DefaultReply>,
    counters: Arc<Counters>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Shared {
    /// Runs `future` until it is over or the mock stops.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled_owned(future).await;
        });
    }
}

async fn accept_for_ever(listener: &TcpListener, shared: &Shared) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let open = counters::OpenConnection::new(&shared.counters);
                let connection = shared.clone();
                shared.spawn(async move {
                    // How a connection ends is the client's business: it is here to break things.
                    let _ = serve(stream, connection).await;
                    drop(open);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "the mock could not accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Serves one connection in the protocol of its first bytes.
async fn serve(mut stream: TcpStream, shared: Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(4096);
    while buffer.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&buffer) {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
    if buffer.starts_with(HTTP2_PREFACE) {
        Box::pin(http2::serve(stream, buffer, shared)).await
    } else {
        http1::serve(stream, buffer, &shared).await
    }
}

#[cfg(test)]
mod tests;
