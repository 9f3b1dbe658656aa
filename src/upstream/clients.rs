//! The HTTP clients of one upstream.
//!
//! HTTP/1.1 needs one, whose pool has a connection per call. An HTTP/2 client has one connection per
//! host, and a connection carries a limited number of calls, so there are as many clients as the
//! calls make necessary. What an upstream speaks, and how many calls a connection carries, is found
//! out by one handshake before the first call, so that a cold burst does not open a connection per
//! call.

mod client;
mod connecting;
mod discovery;

use std::cell::Cell;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::layer::layer_fn;

pub(super) use self::client::Response;
use self::client::{Client, Lease};
use self::connecting::Connecting;
use self::discovery::{Undiscovered, discover};
use super::failure::{causes_in_words, classify, is_stream_reset};
use super::{Kind, Lookup};
use crate::config::{Problem, UpstreamHttp, UpstreamSettings};
use crate::trust::client_config;

/// The most calls on one HTTP/2 connection, whatever the server allows: what most servers allow, so
/// that one connection's trouble is that of few calls.
const CALLS_PER_HTTP2_CONNECTION: usize = 100;
/// An HTTP/2 connection is asked this often whether it is alive, and given this long to say so.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How often at most the log says that calls of an upstream fail.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// Whether the call of this task has begun to open a connection.
    static CONNECTED: Cell<bool>;
}

/// Which protocol an upstream is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// What an upstream speaks, and how much of it a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spoken {
    protocol: Protocol,
    calls_per_connection: usize,
}

impl Spoken {
    /// A client has a connection for each call.
    const HTTP1: Self = Self {
        protocol: Protocol::Http1,
        calls_per_connection: usize::MAX,
    };
}

/// What an upstream speaks, once that is found out.
type Discovery = Shared<BoxFuture<'static, Result<Spoken, Undiscovered>>>;

/// The clients of one upstream.
pub(super) struct Clients {
    maker: Maker,
    state: Mutex<State>,
    /// When the log last said that calls fail.
    complained: Mutex<Option<Instant>>,
}

struct State {
    spoken: Option<Spoken>,
    discovery: Option<Discovery>,
    clients: Vec<Arc<Client>>,
    /// Keeps no connection, so that each of its calls opens one; made when it is needed.
    keeping_none: Option<Arc<Client>>,
}

/// Which connection a request goes out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// A kept one, if there is any.
    Any,
    /// None that was kept over HTTP/1.1: where one had died, the others may have too. HTTP/2 has
    /// one, which is replaced when it ends.
    New,
}

/// Why sending did not give a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendFailure {
    pub(super) kind: Kind,
    /// Whether a connection that had served before ended before any byte of the head.
    pub(super) on_kept_connection: bool,
}

impl Clients {
    /// No client yet; they are made when calls need them.
    pub(super) fn new(settings: &UpstreamSettings, lookup: Lookup) -> Result<Self, Problem> {
        let maker = Maker {
            settings: settings.clone(),
            lookup,
            tls: client_config(&format!("upstreams.{}", settings.name), &settings.ca)?,
        };
        let problem = |error: reqwest::Error| {
            Problem::unavailable(format!("upstreams.{}", settings.name), error)
        };
        maker.client(Protocol::Http1).map_err(problem)?;
        let state = State {
            spoken: settings.is_http1().then_some(Spoken::HTTP1),
            discovery: None,
            clients: Vec::new(),
            keeping_none: None,
        };
        Ok(Self {
            maker,
            state: Mutex::new(state),
            complained: Mutex::new(None),
        })
    }

    /// Sends a request, made when it can be sent, until the head of its reply comes.
    pub(super) async fn send(
        &self,
        request: impl FnOnce() -> reqwest::Request,
        connection: Connection,
    ) -> Result<Response, SendFailure> {
        let spoken = self.spoken().await.map_err(|error| {
            self.complain(error.kind, || error.because.to_string());
            SendFailure::new(error.kind)
        })?;
        let lease = match (connection, spoken.protocol) {
            (Connection::New, Protocol::Http1) => self.lease_keeping_none(),
            _ => self.lease(spoken),
        };
        let mut lease = lease.map_err(SendFailure::new)?;
        let execute = CONNECTED.scope(Cell::new(false), async {
            let result = lease.client.http.execute(request()).await;
            (result, CONNECTED.with(Cell::get))
        });
        match execute.await {
            (Ok(response), _) => {
                lease.client.answered.store(true, Ordering::Relaxed);
                Ok(Response::new(response, lease))
            }
            (Err(error), connected) => {
                lease.ended = true;
                let kind = classify(&error);
                // The error's own text holds the URL, and so perhaps a client's data; its causes do not.
                self.complain(kind, || {
                    error.source().map(causes_in_words).unwrap_or_default()
                });
                if matches!(kind, Kind::Tls | Kind::Protocol) {
                    self.distrust();
                }
                let answered = lease.client.answered.load(Ordering::Relaxed);
                let ended = kind == Kind::Reset && !is_stream_reset(&error);
                let on_kept_connection = ended && answered && !connected;
                Err(SendFailure {
                    kind,
                    on_kept_connection,
                })
            }
        }
    }

    /// Says why calls fail, now and then: each client learns of its own, the operator of the cause.
    fn complain(&self, kind: Kind, because: impl FnOnce() -> String) {
        let mut last = self.complained.lock();
        if last.is_some_and(|last| last.elapsed() < COMPLAINT_INTERVAL) {
            return;
        }
        *last = Some(Instant::now());
        drop(last);
        let name = &self.maker.settings.name;
        let because = because();
        tracing::warn!(upstream.name = %name, %kind, because, "a call failed; more of the kind go unsaid for a while");
    }

    /// What the upstream speaks; all who ask while it is being found out wait for one answer.
    async fn spoken(&self) -> Result<Spoken, Undiscovered> {
        let discovery = {
            let mut state = self.state.lock();
            if let Some(spoken) = state.spoken {
                return Ok(spoken);
            }
            let start = || {
                let task = tokio::spawn(discover(self.maker.clone()));
                let ended = |error| Err(Undiscovered::new(Kind::Connect, error));
                task.map(move |joined| joined.unwrap_or_else(ended))
                    .boxed()
                    .shared()
            };
            // What failed while nobody waited for it any more is old news.
            if state.discovery.as_ref().is_some_and(has_failed) {
                state.discovery = None;
            }
            state.discovery.get_or_insert_with(start).clone()
        };
        let found = discovery.clone().await;
        let mut state = self.state.lock();
        if state
            .discovery
            .as_ref()
            .is_some_and(|current| current.ptr_eq(&discovery))
        {
            state.discovery = None;
            state.spoken = found.as_ref().ok().copied();
        }
        found
    }

    /// The upstream may have changed what it speaks: find out again where that is left to it.
    fn distrust(&self) {
        let settings = &self.maker.settings;
        if settings.http == UpstreamHttp::Auto && settings.url.scheme() == "https" {
            let mut state = self.state.lock();
            state.spoken = None;
            state.clients.clear();
        }
    }

    /// A place on a client that has room.
    fn lease(&self, spoken: Spoken) -> Result<Lease, Kind> {
        let now = Instant::now();
        let mut state = self.state.lock();
        state
            .clients
            .retain(|client| !client.is_spent(now, &self.maker.settings));
        let with_room = state
            .clients
            .iter()
            .find(|client| client.calls.load(Ordering::Relaxed) < spoken.calls_per_connection);
        let client = match with_room {
            Some(client) => client.clone(),
            None => {
                let client = self
                    .maker
                    .client(spoken.protocol)
                    .map_err(|_| Kind::Connect)?;
                let client = Arc::new(client);
                state.clients.push(client.clone());
                client
            }
        };
        Ok(Lease::of(client))
    }

    /// A place on a client whose calls each open a connection.
    fn lease_keeping_none(&self) -> Result<Lease, Kind> {
        let mut state = self.state.lock();
        if let Some(client) = &state.keeping_none {
            return Ok(Lease::of(client.clone()));
        }
        let builder = self.maker.builder(Protocol::Http1);
        let http = builder.pool_max_idle_per_host(0).build();
        let http = http.map_err(|_| Kind::Connect)?;
        let client = Arc::new(Client::new(http, Protocol::Http1));
        state.keeping_none = Some(client.clone());
        Ok(Lease::of(client))
    }
}

fn has_failed(discovery: &Discovery) -> bool {
    let found = discovery.clone().now_or_never();
    found.is_some_and(|found| found.is_err())
}

impl SendFailure {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            on_kept_connection: false,
        }
    }
}

/// Makes clients.
#[derive(Clone)]
struct Maker {
    settings: UpstreamSettings,
    lookup: Lookup,
    tls: rustls::ClientConfig,
}

impl Maker {
    /// A client that speaks one protocol. It has no connection yet.
    fn client(&self, protocol: Protocol) -> Result<Client, reqwest::Error> {
        Ok(Client::new(self.builder(protocol).build()?, protocol))
    }

    fn builder(&self, protocol: Protocol) -> reqwest::ClientBuilder {
        let settings = &self.settings;
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls_for(&[protocol]))
            .dns_resolver(self.lookup.clone())
            .connector_layer(layer_fn(Connecting::new))
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(settings.idle_timeout)
            .tcp_nodelay(true)
            .tcp_user_timeout(PING_INTERVAL + PING_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            // Without the number, each request would be copied for retries that never come.
            .retry(reqwest::retry::never().max_retries_per_request(0))
            .referer(false)
            .no_proxy();
        match protocol {
            Protocol::Http1 => builder.http1_only(),
            Protocol::Http2 => builder
                .http2_prior_knowledge()
                .http2_keep_alive_interval(PING_INTERVAL)
                .http2_keep_alive_timeout(PING_TIMEOUT)
                .http2_keep_alive_while_idle(true),
        }
    }

    fn tls_for(&self, protocols: &[Protocol]) -> rustls::ClientConfig {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = protocols
            .iter()
            .map(|protocol| protocol.alpn().to_vec())
            .collect();
        tls
    }
}

impl Protocol {
    /// Its name in TLS. Source: IANA's registry of ALPN protocol IDs (RFC 7301).
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}
