//! HTTP/2 over one connection: a task for the connection, and each call reads its own stream.

mod metered;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::http::header::RETRY_AFTER;
use ::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason, RecvStream};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use self::metered::Metered;
use super::addresses::Address;
use super::body::ReplyBody;
use super::failure::{Again, Broken, Kind, causes_in_words, is_success};
use super::head_limits::{MAX_HEAD, MAX_INTERIM};
use super::stream::Stream;
use crate::config::UpstreamSettings;

/// The most calls on one connection, whatever the server allows: what most servers allow, so that one
/// connection's trouble is that of few calls.
pub(super) const MOST_CALLS: usize = 100;
/// A connection is asked this often whether it is alive, and given this long to say so.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Calls in a row that never ended, after which a connection is taken for dead.
const MOST_UNENDED_IN_A_ROW: u32 = 5;
/// Streams of one connection that were reset by us, before it is replaced: h2 gives up a connection at
/// 1024, and servers punish resets earlier (nginx at its `keepalive_requests`).
const MOST_RESETS: u32 = 200;
/// What all streams of a connection may send ahead. Its calls give back what they have read at once, so
/// that they never wait for it.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// The largest window there is (RFC 9113 section 6.9.1).
const LARGEST_WINDOW: usize = (1 << 31) - 1;
/// So many of them each reply makes good.
const IDLE_OF_A_REPLY: usize = 4 * 1024;

/// A connection that speaks HTTP/2.
#[derive(Debug)]
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
    /// Where it goes.
    pub(super) address: Arc<Address>,
    born: Instant,
    calls: AtomicUsize,
    last_used: Mutex<Instant>,
    has_served: AtomicBool,
    unended_in_a_row: AtomicU32,
    resets: AtomicU32,
    idle_bytes: Arc<AtomicUsize>,
}

impl Connection {
    /// Speaks HTTP/2 on `stream`; it is open when the server has said what it allows.
    ///
    /// # Errors
    /// When the server ends it before, or says something else.
    pub(super) async fn open(
        stream: Stream,
        address: Arc<Address>,
        settings: &UpstreamSettings,
    ) -> Result<Arc<Self>, Broken> {
        let idle_bytes = Arc::new(AtomicUsize::new(0));
        let stream = Metered::new(stream, idle_bytes.clone());
        // A reply that may be never waits for us, and one that may not is noticed.
        let window = settings.max_response.saturating_add(MAX_HEAD);
        let window = u32::try_from(window.min(LARGEST_WINDOW)).unwrap_or(u32::MAX >> 1);
        let handshake = Builder::new()
            .enable_push(false)
            .initial_window_size(window)
            .initial_connection_window_size(window.max(CONNECTION_WINDOW))
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            // None until the first SETTINGS frame has come, which may also leave it open.
            .initial_max_send_streams(0)
            .handshake(stream);
        let (requests, mut connection) = handshake.await.map_err(|error| broken(&error, false))?;
        poll_fn(|context| match Pin::new(&mut connection).poll(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(broken(&error, false))),
            Poll::Ready(Ok(())) => Poll::Ready(Err(Broken::new(
                Kind::Reset,
                "the connection ended at its start",
            ))),
            Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        let pings = connection.ping_pong();
        tokio::spawn(async move {
            tokio::select! {
                _ = connection => {}
                // Dropping the connection ends its streams.
                () = ask_for_life(pings) => {}
            }
        });
        let now = Instant::now();
        Ok(Arc::new(Self {
            requests,
            address,
            born: now,
            calls: AtomicUsize::new(0),
            last_used: Mutex::new(now),
            has_served: AtomicBool::new(false),
            unended_in_a_row: AtomicU32::new(0),
            resets: AtomicU32::new(0),
            idle_bytes,
        }))
    }

    /// Calls that it may carry at once, as its peer says now.
    pub(super) fn most_calls(&self) -> usize {
        self.requests.current_max_send_streams().min(MOST_CALLS)
    }

    /// Whether one more call may go out on it.
    pub(super) fn has_room(&self, settings: &UpstreamSettings) -> bool {
        self.calls.load(Ordering::Relaxed) < self.most_calls() && self.is_good(settings)
    }

    /// Whether new calls may go out on it at all.
    pub(super) fn is_good(&self, settings: &UpstreamSettings) -> bool {
        self.unended_in_a_row.load(Ordering::Relaxed) < MOST_UNENDED_IN_A_ROW
            && self.resets.load(Ordering::Relaxed) < MOST_RESETS
            && self.born.elapsed() <= settings.max_connection_age
            && !self.has_ended()
    }

    /// Whether it has no call, and has had none for `idle_timeout`.
    pub(super) fn is_overdue(&self, settings: &UpstreamSettings) -> bool {
        self.calls.load(Ordering::Relaxed) == 0
            && self.last_used.lock().elapsed() >= settings.idle_timeout
    }

    /// Whether it has ended, or its peer takes no more requests (GOAWAY).
    fn has_ended(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let ready = self.requests.clone().poll_ready(&mut context);
        matches!(ready, Poll::Ready(Err(_)))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the connection takes none any more; nothing was sent then.
    pub(super) fn send(self: &Arc<Self>, request: Request<()>) -> Result<Exchange, Broken> {
        let unsent = |error: h2::Error| broken(&error, false).again(Again::Elsewhere);
        let (response, _) = self
            .requests
            .clone()
            .send_request(request, true)
            .map_err(unsent)?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Exchange {
            connection: self.clone(),
            state: State::Waiting(response),
            retry_after: None,
            has_ended: false,
        })
    }
}

/// Comes back when the peer does not answer a PING.
async fn ask_for_life(pings: Option<PingPong>) {
    let Some(mut pings) = pings else {
        return std::future::pending().await;
    };
    loop {
        sleep(PING_INTERVAL).await;
        match timeout(PING_TIMEOUT, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            _ => return,
        }
    }
}

/// A request that was sent, and its reply as it comes in.
#[derive(Debug)]
pub(super) struct Exchange {
    connection: Arc<Connection>,
    state: State,
    retry_after: Option<Duration>,
    /// Whether the stream came to an end of its own.
    has_ended: bool,
}

#[derive(Debug)]
enum State {
    Waiting(ResponseFuture),
    Body(RecvStream),
    Over,
}

impl Exchange {
    /// Reads until the head is there.
    ///
    /// # Errors
    /// When there is no reply, or none that can be used.
    pub(super) async fn head(&mut self, body: &mut ReplyBody) -> Result<StatusCode, Broken> {
        let State::Waiting(response) = &mut self.state else {
            return Err(Broken::new(Kind::Protocol, "a head is read once"));
        };
        let was_kept = self.connection.has_served.load(Ordering::Relaxed);
        let mut interim = 0;
        let response = poll_fn(|context| {
            while let Poll::Ready(Some(Ok(_))) = response.poll_informational(context) {
                interim += 1;
                if interim > MAX_INTERIM {
                    let because = "interim replies come without end";
                    return Poll::Ready(Err(Broken::new(Kind::Protocol, because)));
                }
            }
            let response = Pin::new(&mut *response).poll(context);
            response.map_err(|error| broken(&error, was_kept))
        });
        let response = response.await.inspect_err(|_| self.has_ended = true)?;
        self.connection.has_served.store(true, Ordering::Relaxed);
        let (head, stream) = response.into_parts();
        self.state = State::Body(stream);
        check_fields(&head.headers)?;
        if !is_success(head.status) {
            self.retry_after = retry_after(&head.headers);
            body.refuse();
        }
        // What is no number is the library's to refuse.
        let length = head.headers.get(::http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let expected = length.map_or(Ok(()), |length| body.expect(length));
        expected.map_err(too_much)?;
        Ok(head.status)
    }

    /// When the upstream wants to be asked again, if the head says so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Reads the rest of the body. It is whole only when the stream says so: never at a reset, whatever its
    /// code (RFC 9113 section 8.1).
    ///
    /// # Errors
    /// When it ends early, is malformed, or is more than `body` takes.
    pub(super) async fn rest(&mut self, body: &mut ReplyBody) -> Result<(), Broken> {
        let State::Body(stream) = &mut self.state else {
            return Ok(());
        };
        let has_ended = &mut self.has_ended;
        let mut ended = |error: &h2::Error| {
            *has_ended = true;
            broken(error, false)
        };
        while let Some(data) = poll_fn(|context| stream.poll_data(context)).await {
            let data = data.map_err(|error| ended(&error))?;
            body.push(&data).map_err(too_much)?;
            // Fails only when the stream is over, which is heard next.
            let _ = stream.flow_control().release_capacity(data.len());
        }
        let trailers = poll_fn(|context| stream.poll_trailers(context)).await;
        let trailers = trailers.map_err(|error| ended(&error))?;
        trailers.iter().try_for_each(check_fields)?;
        let is_whole = stream.is_end_stream();
        self.has_ended = true;
        if !is_whole {
            return Err(Broken::new(
                Kind::Reset,
                "the stream ended before the reply did",
            ));
        }
        let made_good = |idle: usize| Some(idle.saturating_sub(IDLE_OF_A_REPLY));
        let idle = &self.connection.idle_bytes;
        let _ = idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, made_good);
        self.state = State::Over;
        Ok(())
    }

    /// The connection, on which it has no place any more.
    pub(super) fn into_connection(self) -> Arc<Connection> {
        self.connection.clone()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.calls.fetch_sub(1, Ordering::Relaxed);
        *connection.last_used.lock() = Instant::now();
        if self.has_ended {
            connection.unended_in_a_row.store(0, Ordering::Relaxed);
        } else {
            connection.unended_in_a_row.fetch_add(1, Ordering::Relaxed);
            connection.resets.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// When the upstream wants to be asked again; in a second where it names a date.
fn retry_after(fields: &HeaderMap) -> Option<Duration> {
    let value = fields.get(RETRY_AFTER)?.to_str().ok();
    let seconds = value.and_then(|value| value.parse().ok());
    Some(Duration::from_secs(seconds.unwrap_or(1)))
}

/// Values have no white space around them (RFC 9113 section 8.2.1); the library takes them so.
fn check_fields(fields: &HeaderMap) -> Result<(), Broken> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_wrong = |value: &::http::HeaderValue| {
        let bytes = value.as_bytes();
        is_blank(bytes.first()) || is_blank(bytes.last())
    };
    if fields.values().any(is_wrong) {
        let because = "a field value has white space around it";
        return Err(Broken::new(Kind::Protocol, because));
    }
    Ok(())
}

fn too_much(kind: Kind) -> Broken {
    match kind {
        Kind::TooLarge => Broken::new(kind, "the body is larger than max_response"),
        _ => Broken::new(kind, "max_buffered is used up"),
    }
}

/// Where an error of the library falls, on a connection that had served before or not.
fn broken(error: &h2::Error, was_kept: bool) -> Broken {
    let because = causes_in_words(error);
    if let Some(io) = error.get_io() {
        let broken = Broken::of_io(io);
        return if was_kept {
            broken.again(Again::Elsewhere)
        } else {
            broken
        };
    }
    if !error.is_remote() {
        return Broken::new(Kind::Protocol, because);
    }
    let again = match error.reason() {
        Some(Reason::HTTP_1_1_REQUIRED) => Again::Http1,
        Some(Reason::REFUSED_STREAM) => Again::Elsewhere,
        // It is told to streams alone that the peer has not processed (RFC 9113 section 6.8).
        _ if error.is_go_away() => Again::Elsewhere,
        _ => Again::No,
    };
    Broken::new(Kind::Reset, because).again(again)
}
