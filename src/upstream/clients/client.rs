//! One client of an upstream: what is known of its connections, a call's place on it, and a reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use ::http::StatusCode;
use bytes::Bytes;
use tokio::time::Instant;

use super::Protocol;
use crate::config::UpstreamSettings;
use crate::upstream::Kind;
use crate::upstream::failure::classify;

/// Calls in a row that never ended, after which an HTTP/2 connection is taken for dead.
const MOST_UNENDED_IN_A_ROW: u32 = 5;
/// Streams of one HTTP/2 connection that were reset by us, before it is replaced: h2 gives up a
/// connection at 1024, and servers punish resets earlier (nginx at its `keepalive_requests`).
const MOST_RESETS: u32 = 200;

/// One client, with what is known of its connections.
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    protocol: Protocol,
    born: Instant,
    pub(super) calls: AtomicUsize,
    pub(super) answered: AtomicBool,
    unended_in_a_row: AtomicU32,
    resets: AtomicU32,
}

impl Client {
    /// A client without a connection.
    pub(super) fn new(http: reqwest::Client, protocol: Protocol) -> Self {
        Self {
            http,
            protocol,
            born: Instant::now(),
            calls: AtomicUsize::new(0),
            answered: AtomicBool::new(false),
            unended_in_a_row: AtomicU32::new(0),
            resets: AtomicU32::new(0),
        }
    }

    /// Whether no new call should use it.
    pub(super) fn is_spent(&self, now: Instant, settings: &UpstreamSettings) -> bool {
        let worn = self.protocol == Protocol::Http2
            && (self.unended_in_a_row.load(Ordering::Relaxed) >= MOST_UNENDED_IN_A_ROW
                || self.resets.load(Ordering::Relaxed) >= MOST_RESETS);
        worn || now.duration_since(self.born) > settings.max_connection_age
    }
}

/// A call's place on a client.
pub(super) struct Lease {
    pub(super) client: Arc<Client>,
    /// Whether the exchange came to an end of its own.
    pub(super) ended: bool,
}

impl Lease {
    /// One more call on `client`.
    pub(super) fn of(client: Arc<Client>) -> Self {
        client.calls.fetch_add(1, Ordering::Relaxed);
        Self {
            client,
            ended: false,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let client = &self.client;
        client.calls.fetch_sub(1, Ordering::Relaxed);
        if self.ended {
            client.unended_in_a_row.store(0, Ordering::Relaxed);
        } else {
            client.unended_in_a_row.fetch_add(1, Ordering::Relaxed);
            client.resets.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A reply whose head has come.
pub(in crate::upstream) struct Response {
    response: reqwest::Response,
    lease: Lease,
}

impl Response {
    /// A reply to the call that has this lease.
    pub(super) fn new(response: reqwest::Response, lease: Lease) -> Self {
        Self { response, lease }
    }

    /// The status in its head.
    pub(in crate::upstream) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The length that its head announces, if any.
    pub(in crate::upstream) fn content_length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes of its body; none at its end.
    pub(in crate::upstream) async fn chunk(&mut self) -> Result<Option<Bytes>, Kind> {
        let chunk = self.response.chunk().await;
        self.lease.ended = !matches!(chunk, Ok(Some(_)));
        chunk.map_err(|error| classify(&error))
    }
}
