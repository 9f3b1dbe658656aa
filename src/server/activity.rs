//! What one connection is doing, and by when it must have done it.
//!
//! Shared by the stream wrapper, which sees bytes, the service wrapper, which sees requests, and the
//! table of connections, which may need the place of one that is idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::client::Cut;
use crate::metrics::{ConnectionState, CountedConnection, Ending};

/// Bytes that may come without a request coming of them: the heads of as many requests as may be open
/// over HTTP/2, which may all come at once.
const MOST_UNCLAIMED: usize = 2 * 1024 * 1024;

/// Bytes of frames that make no request: a flood of PING, SETTINGS or the like is soon above it.
const MOST_IDLE: usize = 256 * 1024;
/// So many of them each request makes good. A SETTINGS frame may cost more than a microsecond, so
/// that those of a request must not be many.
const IDLE_OF_A_REQUEST: usize = 4 * 1024;
/// And so many each piece of a response, for which a client opens its windows twice.
const IDLE_OF_A_PIECE: usize = 64;

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// From accept to the end of the TLS handshake, a PROXY header included.
    pub(super) handshake: Duration,
    /// From a request head's first byte to its end; and from the handshake to the first request.
    pub(super) header: Duration,
    /// Without a request.
    pub(super) idle: Duration,
    /// A client that takes nothing of its response.
    pub(super) write: Duration,
}

/// Why a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing is under way: it can be closed in good order.
    Idle,
    /// A head has begun and does not end.
    Head,
    /// The client takes nothing of what it was sent.
    Write,
}

impl Overdue {
    /// What it is counted as.
    pub(super) fn ending(self) -> Ending {
        match self {
            Self::Idle => Ending::Idle,
            Self::Head => Ending::Header,
            Self::Write => Ending::Write,
        }
    }
}

/// What a connection that drains may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// A request that may be on its way.
    Request,
    /// The end of a handshake or of a request's head, which has begun.
    End,
}

/// The activity of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    /// Its number in the table.
    pub(super) id: u64,
    times: Mutex<Times>,
    closing: AtomicBool,
    /// Whether the next response is the last.
    ending: AtomicBool,
    /// Wakes its task, or ends it from within a request.
    cut: Arc<Cut>,
}

#[derive(Debug)]
struct Times {
    phase: Phase,
    /// None once its place is free.
    counted: Option<CountedConnection>,
    /// Requests whose response has not left.
    open: usize,
    /// Since when there is no request (or no handshake yet).
    idle_since: Instant,
    /// Since when bytes came that no request was made of yet. HTTP/1 only: in HTTP/2 they may be PINGs.
    head_since: Option<Instant>,
    /// Bytes that came since the last request's head was complete.
    unclaimed: usize,
    /// Bytes of frames that make no request, less those that requests and responses have made good.
    idle_bytes: usize,
    /// Since when the socket takes nothing.
    blocked_since: Option<Instant>,
    /// The number of each response, and when bytes of it were last written. The socket alone does not
    /// tell: it knows nothing of HTTP/2's windows, and a byte now and then frees it.
    responses: Vec<(u64, Instant)>,
    next_response: u64,
}

impl Times {
    fn count(&mut self, state: ConnectionState) {
        if let Some(counted) = &mut self.counted {
            counted.enter(state);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshake,
    /// No request has come yet.
    Fresh(Protocol),
    Serving(Protocol),
}

/// What the handshake agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Activity {
    /// A connection that was accepted now.
    pub(super) fn new(id: u64, counted: CountedConnection) -> Self {
        let times = Times {
            phase: Phase::Handshake,
            counted: Some(counted),
            open: 0,
            idle_since: Instant::now(),
            head_since: None,
            unclaimed: 0,
            idle_bytes: 0,
            blocked_since: None,
            responses: Vec::new(),
            next_response: 0,
        };
        Self {
            id,
            times: Mutex::new(times),
            closing: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            cut: Arc::default(),
        }
    }

    /// The handshake is over.
    pub(super) fn connected(&self, protocol: Protocol) {
        let mut times = self.times.lock();
        times.phase = Phase::Fresh(protocol);
        times.count(ConnectionState::Idle);
        times.idle_since = Instant::now();
    }

    /// Whether it has not finished its handshake.
    pub(super) fn is_handshaking(&self) -> bool {
        self.times.lock().phase == Phase::Handshake
    }

    /// Since when it has had nothing to do, if it has nothing to do.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let times = self.times.lock();
        let idle = times.open == 0 && times.phase != Phase::Handshake;
        idle.then_some(times.idle_since)
    }

    /// Bytes came in, and so many of them in frames that make no request. False when too many have,
    /// and nothing came of them.
    #[must_use]
    pub(super) fn received(&self, bytes: usize, idle: usize) -> bool {
        let mut times = self.times.lock();
        times.unclaimed = times.unclaimed.saturating_add(bytes);
        times.idle_bytes = times.idle_bytes.saturating_add(idle);
        let http1 = matches!(
            times.phase,
            Phase::Fresh(Protocol::Http1) | Phase::Serving(Protocol::Http1)
        );
        if http1 && times.head_since.is_none() {
            times.head_since = Some(Instant::now());
        }
        times.unclaimed <= MOST_UNCLAIMED && times.idle_bytes <= MOST_IDLE
    }

    /// The socket took bytes.
    pub(super) fn sent(&self) {
        self.times.lock().blocked_since = None;
    }

    /// The socket takes nothing. Gives whether it took something when it was last tried.
    pub(super) fn blocks(&self) -> bool {
        let mut times = self.times.lock();
        let begins = times.blocked_since.is_none();
        times.blocked_since.get_or_insert_with(Instant::now);
        begins
    }

    /// A request's head is complete; of the protocol that it says, whatever the handshake agreed on.
    pub(super) fn begin(&self, protocol: Protocol) {
        let mut times = self.times.lock();
        times.open += 1;
        times.count(ConnectionState::Active);
        times.head_since = None;
        times.unclaimed = 0;
        times.idle_bytes = times.idle_bytes.saturating_sub(IDLE_OF_A_REQUEST);
        times.phase = Phase::Serving(protocol);
    }

    /// The head of a response is handed over. Gives the number that its progress goes by.
    pub(super) fn respond(&self) -> u64 {
        let mut times = self.times.lock();
        let number = times.next_response;
        times.next_response += 1;
        times.responses.push((number, Instant::now()));
        let http2 = times.phase == Phase::Serving(Protocol::Http2);
        drop(times);
        if http2 {
            // Made by a task of its own; the timer may be set for later than this response's time.
            self.cut.wake();
        }
        number
    }

    /// Bytes of a response were written.
    pub(super) fn progress(&self, number: u64) {
        let mut times = self.times.lock();
        let mut responses = times.responses.iter_mut();
        if let Some((_, last)) = responses.find(|(one, _)| *one == number) {
            *last = Instant::now();
        }
        times.idle_bytes = times.idle_bytes.saturating_sub(IDLE_OF_A_PIECE);
    }

    /// A response has left, or is not wanted any more.
    pub(super) fn end(&self, number: Option<u64>) {
        let mut times = self.times.lock();
        if let Some(number) = number {
            times.responses.retain(|(one, _)| *one != number);
        }
        times.open -= 1;
        if times.open == 0 {
            times.count(ConnectionState::Idle);
            times.idle_since = Instant::now();
        }
    }

    /// By when something must have happened, and what is overdue if it has not.
    pub(super) fn due(&self, timeouts: &Timeouts) -> Option<(Instant, Overdue)> {
        let times = self.times.lock();
        let blocked = times
            .blocked_since
            .map(|since| (since + timeouts.write, Overdue::Write));
        let stuck = times
            .responses
            .iter()
            .map(|(_, last)| *last)
            .min()
            .map(|last| (last + timeouts.write, Overdue::Write));
        let waiting = (times.open == 0).then(|| match (times.head_since, times.phase) {
            (Some(since), _) => (since + timeouts.header, Overdue::Head),
            (None, Phase::Handshake) => (times.idle_since + timeouts.handshake, Overdue::Head),
            (None, Phase::Fresh(_)) => (times.idle_since + timeouts.header, Overdue::Idle),
            (None, Phase::Serving(_)) => (times.idle_since + timeouts.idle, Overdue::Idle),
        });
        [blocked, stuck, waiting]
            .into_iter()
            .flatten()
            .min_by_key(|(due, _)| *due)
    }

    /// What is awaited of the client before the connection may be told to end, and since when; of an
    /// HTTP/2 client nothing is, since it is told which of its requests were taken.
    pub(super) fn awaited(&self) -> Option<(Instant, Awaited)> {
        let times = self.times.lock();
        match (times.open, times.head_since, times.phase) {
            (0, Some(since), _) => Some((since, Awaited::End)),
            (0, None, Phase::Handshake) => Some((times.idle_since, Awaited::End)),
            (0, None, Phase::Fresh(_) | Phase::Serving(Protocol::Http1)) => {
                Some((times.idle_since, Awaited::Request))
            }
            _ => None,
        }
    }

    /// Since when there has been neither a request nor a byte that the client did not take.
    pub(super) fn unused_since(&self) -> Option<Instant> {
        let times = self.times.lock();
        let unused = times.open == 0 && times.blocked_since.is_none();
        unused.then_some(times.idle_since)
    }

    /// From now on each response over HTTP/1 says that it is the last.
    pub(super) fn end_soon(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Whether a response must say that it is the last.
    pub(super) fn is_last_response(&self) -> bool {
        self.ending.load(Ordering::Acquire)
            && self.times.lock().phase == Phase::Serving(Protocol::Http1)
    }

    /// Asks the connection to end; its task is woken to do so.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.cut.wake();
    }

    /// Counts why the service ends it; only the first reason counts.
    pub(super) fn ends(&self, reason: Ending) {
        if let Some(counted) = &mut self.times.lock().counted {
            counted.ends(reason);
        }
    }

    /// It is not counted any more: its place is free.
    pub(super) fn uncount(&self) {
        let counted = self.times.lock().counted.take();
        drop(counted);
    }

    /// Whether it was asked to end.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// What those who answer its requests may end it with.
    pub(super) fn cut(&self) -> &Arc<Cut> {
        &self.cut
    }

    /// Notes which task to wake.
    pub(super) fn watch(&self, waker: &Waker) {
        self.cut.watch(waker);
    }
}

#[cfg(test)]
mod tests;
