//! The bytes of an HTTP/2 connection, which end when its frames only cost work.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::frames::Frames;
use crate::upstream::stream::Stream;

/// Bytes of frames that are no part of a reply, less those that replies have made good.
const MOST_IDLE: usize = 256 * 1024;

/// A stream that ends when frames come without end that are no part of a reply.
pub(super) struct Metered {
    stream: Stream,
    frames: Frames,
    idle_bytes: Arc<AtomicUsize>,
}

impl Metered {
    /// Counts in `idle_bytes` what is no part of a reply; who reads replies takes from it again.
    pub(super) fn new(stream: Stream, idle_bytes: Arc<AtomicUsize>) -> Self {
        Self {
            stream,
            frames: Frames::of_server(),
            idle_bytes,
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let idle = this.frames.idle_bytes(&buffer.filled()[before..]);
        let all = this.idle_bytes.fetch_add(idle, Ordering::Relaxed) + idle;
        if all > MOST_IDLE {
            let because = "the upstream sends frames without end that are no part of a reply";
            return Poll::Ready(Err(io::Error::other(because)));
        }
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
