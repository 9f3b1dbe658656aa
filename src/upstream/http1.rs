//! HTTP/1.1 over one connection: a request is one write, and its reply is read by the call that waits
//! for it. No task, no channel, no timer, and no buffer between calls.

mod chunked;
mod head;
#[cfg(any(test, fuzzing))]
pub(super) mod outcome;
mod reply;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use self::reply::{Malformed, Reply, too_much};
use super::addresses::Address;
use super::body::ReplyBody;
use super::failure::{Again, Broken, Kind};
use super::stream::Stream;
use crate::config::UpstreamSettings;

/// Bytes that are read at once where they are looked at first.
const SCRATCH: usize = 16 * 1024;
/// Bytes that a call reads before others get their turn: no upstream may hold up the rest by being quick.
const TURN: usize = 64 * 1024;

thread_local! {
    /// Where bytes are looked at. Only what belongs to a body is copied out, so that a call that waits
    /// holds no buffer.
    static LOOKED_AT: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// A connection that speaks HTTP/1.1.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// Where it goes.
    pub(super) address: Arc<Address>,
    born: Instant,
    /// Since when it has no call.
    pub(super) idle_since: Instant,
    has_served: bool,
}

impl Connection {
    /// A connection that was opened now.
    pub(super) fn new(stream: Stream, address: Arc<Address>) -> Self {
        let now = Instant::now();
        Self {
            stream,
            address,
            born: now,
            idle_since: now,
            has_served: false,
        }
    }

    /// Whether it is neither too old nor idle for too long to carry another request.
    pub(super) fn is_young(&self, now: Instant, settings: &UpstreamSettings) -> bool {
        now.duration_since(self.born) <= settings.max_connection_age
            && now.duration_since(self.idle_since) <= settings.idle_timeout
    }

    /// Whether it can carry a request: nothing came behind the last reply, and nothing closed.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.stream.is_quiet()
    }

    /// The same by what is known already; cheaper, and late.
    pub(super) fn is_open(&mut self) -> bool {
        self.stream.is_open()
    }

    /// Sends a request, which is a whole head.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(super) async fn send(mut self, request: &[u8]) -> Result<Exchange, Broken> {
        let again = self.again();
        let sent = async {
            self.stream.write_all(request).await?;
            self.stream.flush().await
        };
        sent.await
            .map_err(|error| Broken::of_io(&error).again(again))?;
        Ok(Exchange {
            connection: self,
            reply: Reply::default(),
            read: 0,
        })
    }

    /// Whether a request may be sent again that ends before any byte of its reply: a connection that has
    /// served before may have been closed by its idle time.
    fn again(&self) -> Again {
        if self.has_served {
            Again::Elsewhere
        } else {
            Again::No
        }
    }
}

/// A request that was sent, and its reply as it comes in.
#[derive(Debug)]
pub(super) struct Exchange {
    connection: Connection,
    reply: Reply,
    /// Bytes read since others had their turn.
    read: usize,
}

impl Exchange {
    /// Reads until the head is whole. What comes behind it goes to `body`.
    ///
    /// # Errors
    /// When there is no reply, or none that can be used.
    pub(super) async fn head(&mut self, body: &mut ReplyBody) -> Result<StatusCode, Broken> {
        loop {
            if let Some(head) = self.reply.head() {
                let status = head.status;
                // It says that an idle connection is closed, and answers no request.
                if status == StatusCode::REQUEST_TIMEOUT && self.connection.has_served {
                    let because = "a kept connection timed out";
                    return Err(Broken::new(Kind::Status, because).again(Again::Elsewhere));
                }
                return Ok(status);
            }
            self.read_some(body).await?;
        }
    }

    /// When the upstream wants to be asked again, if the head says so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.reply.head()?.retry_after?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// Reads the rest of the body.
    ///
    /// # Errors
    /// When it ends early, is malformed, or is more than `body` takes.
    pub(super) async fn rest(&mut self, body: &mut ReplyBody) -> Result<(), Broken> {
        while !self.reply.is_over() {
            self.read_some(body).await?;
        }
        Ok(())
    }

    /// The connection, if it may carry another request.
    pub(super) fn into_connection(self) -> Option<Connection> {
        let mut connection = self.connection;
        connection.has_served = true;
        connection.idle_since = Instant::now();
        self.reply.leaves_connection().then_some(connection)
    }

    async fn read_some(&mut self, body: &mut ReplyBody) -> Result<(), Broken> {
        if self.read >= TURN {
            self.read = 0;
            tokio::task::yield_now().await;
        }
        let left = self
            .reply
            .left()
            .and_then(|left| usize::try_from(left).ok());
        let read = match left {
            Some(left) if left > SCRATCH && body.is_wanted() => {
                self.read_in_place(left, body).await
            }
            _ => poll_fn(|context| self.poll_looked_at(context, body)).await,
        }?;
        self.read += read;
        if read == 0 {
            let ended = self.reply.end();
            ended.map_err(|malformed| self.broken(malformed))?;
        }
        Ok(())
    }

    /// Reads into the body itself: a long one is not copied.
    async fn read_in_place(&mut self, left: usize, body: &mut ReplyBody) -> Result<usize, Broken> {
        let read = self.connection.stream.read_buf(&mut body.room(left)).await;
        let read = read.map_err(|error| Broken::of_io(&error))?;
        body.filled(read)
            .map_err(|kind| self.broken(too_much(kind)))?;
        self.reply.took(read);
        Ok(read)
    }

    fn poll_looked_at(
        &mut self,
        context: &mut Context<'_>,
        body: &mut ReplyBody,
    ) -> Poll<Result<usize, Broken>> {
        LOOKED_AT.with_borrow_mut(|bytes| {
            let mut buffer = ReadBuf::new(bytes);
            let read = Pin::new(&mut self.connection.stream).poll_read(context, &mut buffer);
            if let Err(error) = ready!(read) {
                let broken = Broken::of_io(&error);
                return Poll::Ready(Err(broken.again(self.again())));
            }
            let read = buffer.filled();
            let result = self.reply.read(read, body);
            Poll::Ready(
                result
                    .map(|()| read.len())
                    .map_err(|malformed| self.broken(malformed)),
            )
        })
    }

    /// Before any byte of the reply, as the connection says; afterwards never.
    fn again(&self) -> Again {
        if self.reply.has_begun() {
            Again::No
        } else {
            self.connection.again()
        }
    }

    fn broken(&self, (kind, because): Malformed) -> Broken {
        Broken::new(kind, because).again(self.again())
    }
}

#[cfg(test)]
mod tests;
