//! One call: a permit, one HTTP exchange (two when a kept connection had died), a checked reply.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Method, StatusCode};
use bytes::Bytes;
use tokio::time::{Instant, timeout};
use url::Url;

use super::clients::{Connection, Response};
use super::permits::Permit;
use super::{Failure, Kind, Reservation, Share, Upstream, body, json};
use crate::metrics::{CallState, Limit, StagedCall};

/// The remaining milliseconds, for upstreams that would give up in time.
/// Source: Envoy's HTTP header documentation, `x-envoy-expected-rq-timeout-ms`.
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
/// The most that is read of a body which is not wanted, so that its connection survives.
const MOST_UNWANTED: usize = 64 * 1024;

/// What one call asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The whole URL, made by the route's target.
    pub url: Url,
    /// What it carries besides what every call to the upstream carries.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// RFC 6901 pointer to the part of the reply's body that counts.
    pub select: Option<Arc<str>>,
    /// When the reply is of no use any more; only told to the upstream, kept by the gather.
    pub deadline: Instant,
    /// What its client holds, where the limits of one client hold.
    pub share: Option<Arc<Share>>,
}

/// What a call gave: a body that is one JSON document.
#[derive(Debug)]
pub struct Reply {
    /// The document, or the part of it that was selected, as it came.
    pub body: Bytes,
    /// Its status.
    pub status: u16,
    /// The account of its bytes; to be dropped with the last of them.
    pub reservation: Reservation,
}

/// A call that runs, or waits for its permit.
pub struct Call {
    exchange: Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>,
    progress: Arc<Progress>,
    upstream: Arc<Upstream>,
}

/// How far a call is, as seen from outside.
#[derive(Debug)]
pub(super) struct Progress {
    has_permit: AtomicBool,
    unwanted: AtomicBool,
    counted: StagedCall,
}

impl Progress {
    /// Whether nobody waits for the reply any more.
    pub(super) fn is_unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Relaxed)
    }
}

impl Upstream {
    /// A call, which waits for its permit if none is there.
    #[must_use]
    pub fn call(self: &Arc<Self>, request: Request) -> Call {
        let permit = self.permits.try_acquire();
        self.start(request, permit)
    }

    /// A permit, if one is there now.
    #[must_use]
    pub fn permit_if_free(&self) -> Option<Permit> {
        self.permits.try_acquire()
    }

    /// A call that has its permit.
    #[must_use]
    pub fn call_with(self: &Arc<Self>, permit: Permit, request: Request) -> Call {
        self.start(request, Some(permit))
    }

    fn start(self: &Arc<Self>, request: Request, permit: Option<Permit>) -> Call {
        let state = match permit {
            Some(_) => CallState::Running,
            None => CallState::Waiting,
        };
        let progress = Arc::new(Progress {
            has_permit: AtomicBool::new(permit.is_some()),
            unwanted: AtomicBool::new(false),
            counted: self.metrics.call(state),
        });
        let exchange = Box::pin(self.clone().run(request, permit, progress.clone()));
        Call {
            exchange,
            progress,
            upstream: self.clone(),
        }
    }

    async fn run(
        self: Arc<Self>,
        request: Request,
        permit: Option<Permit>,
        progress: Arc<Progress>,
    ) -> Result<Reply, Failure> {
        let permit = match permit {
            Some(permit) => permit,
            None => {
                let refused = |_: &_| self.common.metrics.edge.refused(Limit::MaxWait);
                let permit = self.permits.acquire().await.inspect_err(refused)?;
                progress.has_permit.store(true, Ordering::Relaxed);
                progress.counted.enter(CallState::Running);
                permit
            }
        };
        let mut response = self.exchange(&request).await?;
        let status = response.status();
        if !is_success(status) {
            self.drain(response, permit);
            return Err(Failure::after(Kind::Status, status.as_u16()));
        }
        let most = self.settings.max_response;
        let account = Reservation::new(&self.common.buffers, request.share.as_ref());
        let read = body::read(&mut response, most, account, &progress);
        let refused = |failure: &Failure| {
            if failure.kind == Kind::Overloaded {
                self.common.metrics.edge.refused(Limit::MaxBuffered);
            }
        };
        let (body, reservation) = read.await.inspect_err(refused)?;
        // Nobody waits for what was discarded, so it is not checked.
        if progress.is_unwanted() {
            return Ok(Reply {
                body,
                status: status.as_u16(),
                reservation,
            });
        }
        let body = checked(body, request.select.as_deref())
            .ok_or(Failure::after(Kind::InvalidBody, status.as_u16()))?;
        Ok(Reply {
            body,
            status: status.as_u16(),
            reservation,
        })
    }

    /// Sends the request until a head comes: once more when a connection that had served before
    /// ended instead.
    async fn exchange(&self, request: &Request) -> Result<Response, Failure> {
        let send = |connection| {
            self.metrics.requests.inc();
            self.clients.send(|| self.http_request(request), connection)
        };
        match send(Connection::Any).await {
            Err(failure) if failure.on_kept_connection => {
                self.metrics.retries.inc();
                send(Connection::New).await
            }
            result => result,
        }
        .map_err(|failure| Failure::of(failure.kind))
    }

    fn http_request(&self, request: &Request) -> reqwest::Request {
        let mut http_request = reqwest::Request::new(Method::GET, request.url.clone());
        let remaining = request
            .deadline
            .saturating_duration_since(Instant::now())
            .as_millis();
        let headers = http_request.headers_mut();
        headers.clone_from(&self.headers);
        headers.extend(request.headers.iter().cloned());
        headers.insert(
            EXPECTED_TIMEOUT,
            HeaderValue::from(u64::try_from(remaining).unwrap_or(u64::MAX)),
        );
        http_request
    }

    /// Reads a short body that counts for nothing, so that its connection survives.
    fn drain(self: &Arc<Self>, mut response: Response, permit: Permit) {
        let linger = self.settings.linger;
        let counted = self.metrics.lingering();
        self.common.lingering.spawn(async move {
            let mut left = MOST_UNWANTED;
            let read_to_the_end = async {
                while let Ok(Some(chunk)) = response.chunk().await {
                    left = left.saturating_sub(chunk.len());
                    if left == 0 {
                        break;
                    }
                }
            };
            // Over the limit or the time, the connection is closed instead.
            let _ = timeout(linger, read_to_the_end).await;
            drop((permit, counted));
        });
    }
}

/// 2xx with a body that may be JSON: not 204 and 205, which have none.
fn is_success(status: StatusCode) -> bool {
    status.is_success() && status != StatusCode::NO_CONTENT && status != StatusCode::RESET_CONTENT
}

fn checked(body: Bytes, select: Option<&str>) -> Option<Bytes> {
    let body = json::is_document(&body).then_some(body)?;
    match select {
        Some(pointer) => json::select(&body, pointer),
        None => Some(body),
    }
}

impl Call {
    /// Reads the reply to its end in the background, discarding it, for at most the upstream's
    /// `linger`. A call that still waits for its permit just ends. `held` is dropped with the call.
    /// Says whether it is read on.
    pub fn linger(self, held: impl Send + 'static) -> bool {
        if !self.progress.has_permit.load(Ordering::Relaxed) {
            return false;
        }
        self.progress.unwanted.store(true, Ordering::Relaxed);
        self.progress.counted.enter(CallState::Lingering);
        let limit: Duration = self.upstream.settings.linger;
        let lingering = self.upstream.common.lingering.clone();
        lingering.spawn(async move {
            // When the time is over, the call is dropped, and its connection with it.
            let _ = timeout(limit, self.exchange).await;
            drop(held);
        });
        true
    }
}

impl Future for Call {
    type Output = Result<Reply, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.exchange.as_mut().poll(context)
    }
}
