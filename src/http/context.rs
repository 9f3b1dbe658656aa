//! What is known of a request before its handler runs.

use std::net::IpAddr;
use std::sync::Arc;

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Version};
use tokio::time::Instant;

use super::in_flight::{Most, Newcomer, Places};
use super::limiter::Limiter;
use super::notes::RequestNotes;
use super::problem::ProblemDetails;
use super::route::Routed;
use super::snapshot::{Current, Snapshot};
use super::trace::Trace;
use crate::client::{ClientKey, Peer, X_FORWARDED_FOR, identify};
use crate::config::ServerTiming;
use crate::metrics::Held;
use crate::readiness::Readiness;

/// The header that names a request in answers, calls and logs.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest `x-request-id` that is taken over from a trusted proxy.
const LONGEST_REQUEST_ID: usize = 128;

/// What the listeners of one kind answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// The configured routes.
    Routes,
    /// The same place on this port of HTTPS.
    Redirect(u16),
}

/// What is between TCP and HTTP at listeners of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TLS.
    Https,
    /// Nothing.
    Http,
}

/// What every request that comes in by one kind of listener has in common.
#[derive(Clone)]
pub struct Door {
    /// The snapshot that new requests load.
    pub current: Current,
    /// Where the process is in its life.
    pub readiness: Readiness,
    /// What is answered.
    pub answers: Answers,
    /// What it comes by.
    pub scheme: Scheme,
}

/// What is known of a request; made once, when it arrives.
pub(super) struct Context {
    /// Routes, upstreams and limits, to the request's end.
    pub(super) snapshot: Arc<Snapshot>,
    /// The route of its path, if any has it.
    pub(super) route: Option<Routed>,
    /// The other end of its connection.
    pub(super) peer: Peer,
    /// When the request's head was complete: deadlines count from here.
    pub(super) arrived: Instant,
    /// The address that limits and logs go by.
    pub(super) client: IpAddr,
    /// Ours, or a trusted proxy's.
    pub(super) request_id: HeaderValue,
    /// The trace that calls are part of.
    pub(super) trace: Trace,
    /// What its line in the access log tells of it.
    pub(super) notes: RequestNotes,
    /// Whether the process drains, and until when gathers may run.
    pub(super) readiness: Readiness,
    /// What its listener answers.
    pub(super) answers: Answers,
    /// What it came by.
    pub(super) scheme: Scheme,
    /// Whether the answer tells where its time went.
    pub(super) tells_timing: bool,
}

impl Context {
    /// The context of a request that has just arrived from `peer`.
    pub(super) fn new(door: Door, peer: Peer, head: &Parts) -> Arc<Self> {
        let snapshot = door.current.load_full();
        let arrived = Instant::now();
        let (address, headers) = (peer.address.ip(), &head.headers);
        let client = identify(address, headers, &snapshot.server);
        let believed = snapshot
            .server
            .trusts(address.to_canonical())
            .then_some(headers);
        let tells_timing = match snapshot.server.server_timing {
            ServerTiming::Off => false,
            ServerTiming::Trusted => believed.is_some(),
            ServerTiming::All => true,
        };
        if believed.is_none() && headers.contains_key(X_FORWARDED_FOR) {
            snapshot.warn_of_forwarding(address);
        }
        let continued = believed.and_then(Trace::continued);
        let trace = continued.unwrap_or_else(Trace::begun);
        // A trace that others began may be that of many requests.
        let own = || continued.map_or(trace, |_| Trace::begun()).id();
        let request_id = believed.and_then(request_id).unwrap_or_else(own);
        Arc::new(Self {
            route: snapshot.route(head.uri.path()),
            snapshot,
            peer,
            arrived,
            client,
            request_id,
            trace,
            notes: RequestNotes::default(),
            readiness: door.readiness,
            answers: door.answers,
            scheme: door.scheme,
            tells_timing,
        })
    }

    /// Counts the request for its client.
    pub(super) fn note_client(&self) {
        let key = ClientKey::new(self.client, self.snapshot.clients.ipv6_prefix);
        self.snapshot.metrics.busiest.note(key.address());
    }

    /// Places for the gather of this request, in all and among those of its client.
    ///
    /// # Errors
    /// 503 or 429 when there is none.
    pub(super) fn enter(&self, version: Version) -> Result<Places, ProblemDetails> {
        let Snapshot {
            server,
            clients,
            in_flight,
            metrics,
            ..
        } = &*self.snapshot;
        let is_free = clients.is_exempt(self.client);
        // A proxy has streams of many clients on one connection; of the others, each is its client's own.
        let is_shared =
            version == Version::HTTP_2 && server.trusts(self.peer.address.ip().to_canonical());
        let newcomer = Newcomer {
            client: (!is_free).then(|| ClientKey::new(self.client, clients.ipv6_prefix)),
            cut: (!is_shared).then(|| self.peer.cut.clone()),
        };
        let most = Most {
            gathers: server.max_in_flight,
            of_client: server.max_in_flight_per_client,
        };
        let counted = || Held::new(&metrics.load.in_flight);
        in_flight.enter(newcomer, most, counted).map_err(|full| {
            metrics.edge.refused(full.limit());
            full.problem(most)
        })
    }

    /// What limits the rate of its client: the route's limiter, or the one that unknown paths go by.
    pub(super) fn limiter(&self) -> Option<&Limiter> {
        match &self.route {
            Some(routed) => routed.route.limiter.as_ref(),
            None => self.snapshot.limiters.shared(),
        }
    }
}

/// An incoming request id, if it is one that is safe to repeat anywhere.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(X_REQUEST_ID)?;
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let fits = (1..=LONGEST_REQUEST_ID).contains(&id.len());
    (fits && id.as_bytes().iter().all(harmless)).then(|| apart(id))
}

/// A copy of a header that holds on to nothing else. What is taken from a request shares the 8 KB that the
/// request was read into, and while any of it is kept, its connection reads into another 8 KB.
pub(super) fn apart(value: &HeaderValue) -> HeaderValue {
    let mut copy = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    copy.set_sensitive(value.is_sensitive());
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_header_in_a_place_of_its_own() {
        let shared = bytes::Bytes::from_static(b"caf\xe9, or a key");
        let mut value = HeaderValue::from_maybe_shared(shared).unwrap();
        value.set_sensitive(true);
        let copy = apart(&value);
        assert_eq!(copy, value);
        assert!(copy.is_sensitive());
        assert_ne!(copy.as_bytes().as_ptr(), value.as_bytes().as_ptr());
    }
}
