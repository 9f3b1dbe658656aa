//! Streams that know what their connection is doing: [`Admitted`] below TLS, [`Watched`] above it.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::{Activity, Overdue, Protocol, Timeouts};
use super::connections::{Connections, Counted, Place};
use crate::frames::Frames;
use crate::metrics::Ending;

/// A TCP connection with its place in the table.
pub(super) struct Admitted {
    pub(super) tcp: TcpStream,
    pub(super) place: Place,
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Above TLS the connection ends in good order; a handshake has nothing to put in order.
        let activity = &self.place.activity;
        if activity.is_handshaking() {
            activity.watch(context.waker());
            if activity.is_closing() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            // What TLS makes of an answer, mostly; the simpler call costs the system less.
            [one] => Pin::new(&mut self.tcp).poll_write(context, one),
            _ => Pin::new(&mut self.tcp).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// A stream that ends when what its connection should do is overdue, or when its place is needed.
///
/// One timer, set to the earliest instant that was of interest; when it fires for nothing it is set
/// anew, so that the usual request never touches it.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    frames: Frames,
    timeouts: Timeouts,
    timer: Pin<Box<Sleep>>,
    /// Whether the next read gives nothing: the first one, unless HTTP/2 was agreed on (RFC 9113 section
    /// 3.3). The HTTP library, which looks there for the preface of HTTP/2, takes that for HTTP/1. What it
    /// had read for that would be put back in front, and make the buffer of every connection twice as large.
    reads_nothing: bool,
    /// The source that a PROXY header named, counted as long as the connection lasts.
    _source: Option<Counted>,
    connections: Arc<Connections>,
    client: IpAddr,
}

impl<S> Watched<S> {
    /// Watches `stream` from now on.
    pub(super) fn new(
        stream: S,
        protocol: Protocol,
        activity: Arc<Activity>,
        timeouts: Timeouts,
        source: Option<Counted>,
        (connections, client): (Arc<Connections>, IpAddr),
    ) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + timeouts.header));
        Self {
            stream,
            activity,
            frames: Frames::default(),
            timeouts,
            timer,
            reads_nothing: protocol == Protocol::Http1,
            _source: source,
            connections,
            client,
        }
    }

    /// What is overdue; otherwise the task is woken when something will be.
    fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<Overdue> {
        self.activity.watch(context.waker());
        loop {
            if self.activity.cut().is_cut() {
                self.activity.ends(Ending::Displaced);
                return Poll::Ready(Overdue::Write);
            }
            if self.activity.is_closing() {
                return Poll::Ready(Overdue::Idle);
            }
            if let Some((due, overdue)) = self.activity.due(&self.timeouts) {
                if due <= Instant::now() {
                    self.activity.ends(overdue.ending());
                    return Poll::Ready(overdue);
                }
                if self.timer.is_elapsed() || due < self.timer.deadline() {
                    self.timer.as_mut().reset(due);
                }
            } else if self.timer.is_elapsed() {
                return Poll::Pending;
            }
            ready!(self.timer.poll_unpin(context));
        }
    }

    /// Bytes leave; if they are an answer of the HTTP library's own, its request was malformed.
    fn leaves(&self, bytes: &[u8]) {
        self.activity.sent();
        if is_bare_refusal(bytes) {
            self.connections.malformed(self.client);
        }
    }

    /// The error of a connection that is overdue while it writes.
    fn poll_write_overdue(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if self.activity.blocks() {
            // Whatever the timer was set for is over. Firing for that, it would have the socket tried
            // again, which takes a little more then, as if the client had taken something.
            let due = Instant::now() + self.timeouts.write;
            self.timer.as_mut().reset(due);
        }
        match self.poll_overdue(context) {
            Poll::Ready(Overdue::Write) => Poll::Ready(io::ErrorKind::TimedOut.into()),
            Poll::Ready(Overdue::Idle | Overdue::Head) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.reads_nothing) {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            let came = &buffer.filled()[before..];
            let idle = self.frames.idle_bytes(came);
            if !came.is_empty() && !self.activity.received(came.len(), idle) {
                self.activity.ends(Ending::Flood);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            return Poll::Ready(result);
        }
        match ready!(self.poll_overdue(context)) {
            // As if the client had closed: what is open ends in good order.
            Overdue::Idle => Poll::Ready(Ok(())),
            Overdue::Head | Overdue::Write => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(result) => {
                self.leaves(bytes);
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_write_overdue(context).map(Err),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(context, slices) {
            Poll::Ready(result) => {
                self.leaves(slices.first().map_or(&[], |first| first));
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_write_overdue(context).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(result) => {
                self.activity.sent();
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_write_overdue(context).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(context) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_write_overdue(context).map(Err),
        }
    }
}

/// Whether the HTTP library answers for itself, in HTTP/1: answers of ours have a request id.
fn is_bare_refusal(bytes: &[u8]) -> bool {
    const OURS: &[u8] = b"x-request-id";
    bytes.starts_with(b"HTTP/1.1 4") && !bytes.windows(OURS.len()).any(|part| part == OURS)
}
