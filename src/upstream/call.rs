//! One call: a permit, one HTTP exchange (two when the first was not processed), a checked reply.

use std::future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::StatusCode;
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::addresses::Address;
use super::body::ReplyBody;
use super::breaker::{Ended, Passage};
use super::buffers::Reservation;
use super::connections::{Lease, Wish};
use super::exchange::Exchange;
use super::failure::{Again, Broken, Failure, Kind, is_success};
use super::json;
use super::latencies::Latencies;
use super::permits::Permit;
use super::progress::Progress;
use super::request::{Request, Stages};
use super::service::Upstream;
use crate::metrics::{CallState, Limit};

/// The longest `retry-after` that is heeded.
const LONGEST_PATIENCE: Duration = Duration::from_secs(3600);

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

type Exchanging = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

impl AsRef<Self> for Reply {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// A call that runs, or waits for its permit.
pub struct Call {
    exchange: Exchanging,
    progress: Arc<Progress>,
    passage: Option<Passage>,
    timing: Option<Timing>,
    upstream: Arc<Upstream>,
}

/// The time of a call, which is noted when its reply has come, or when it is cut off.
struct Timing {
    latencies: Arc<Latencies>,
    begun: Instant,
    is_over: bool,
}

impl Drop for Timing {
    fn drop(&mut self) {
        if !self.is_over {
            self.latencies.record(self.begun.elapsed());
        }
    }
}

/// Why no hedge is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// Four fifths of the upstream's calls are taken.
    Permits,
    /// This process is late itself.
    Late,
    /// The upstream asked for patience (`retry-after`), or its breaker is open.
    Upstream,
}

impl HeldBack {
    /// The word for it in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Permits => "permits",
            Self::Late => "late",
            Self::Upstream => "upstream",
        }
    }
}

impl Upstream {
    /// A call, which waits for its permit if none is there.
    #[must_use]
    pub fn call(self: &Arc<Self>, request: Request) -> Call {
        let permit = self.permits.try_acquire();
        self.start(request, permit, None)
    }

    /// For how long no call is made, where the breaker is open.
    #[must_use]
    pub fn stopped_for(&self) -> Duration {
        let breaker = self.breaker.as_ref();
        breaker.map_or(Duration::ZERO, |breaker| breaker.is_open_for())
    }

    /// A permit for a hedge, which helps only where neither side is short of anything.
    ///
    /// # Errors
    /// Why there is none.
    pub fn permit_for_hedge(&self) -> Result<Permit, HeldBack> {
        let asks_for_patience = self.patience.lock().is_some_and(|it| it > Instant::now());
        if asks_for_patience || !self.stopped_for().is_zero() {
            return Err(HeldBack::Upstream);
        }
        if self.common.metrics.service.is_late() {
            return Err(HeldBack::Late);
        }
        let permit = self.permits.try_acquire_for_hedge();
        permit.ok_or(HeldBack::Permits)
    }

    /// A call that has its permit; to another address than `beside`, if there is one.
    #[must_use]
    pub fn call_with(
        self: &Arc<Self>,
        permit: Permit,
        request: Request,
        beside: Option<&Call>,
    ) -> Call {
        let avoid = beside.and_then(|call| call.progress.address().cloned());
        self.start(request, Some(permit), avoid)
    }

    fn start(
        self: &Arc<Self>,
        request: Request,
        permit: Option<Permit>,
        avoid: Option<Arc<Address>>,
    ) -> Call {
        let state = match permit {
            Some(_) => CallState::Running,
            None => CallState::Waiting,
        };
        let progress = Arc::new(Progress::new(permit.is_some(), self.metrics.call(state)));
        let passage = self.breaker.as_ref().map(|it| it.pass(request.expected));
        let timing = request.latencies.clone().map(|latencies| Timing {
            latencies,
            begun: Instant::now(),
            is_over: false,
        });
        let exchange: Exchanging = if matches!(passage, Some(None)) {
            Box::pin(future::ready(Err(Failure::of(Kind::Breaker))))
        } else {
            let run = self.clone().run(request, permit, avoid, progress.clone());
            Box::pin(run)
        };
        Call {
            exchange,
            progress,
            passage: passage.flatten(),
            timing,
            upstream: self.clone(),
        }
    }

    async fn run(
        self: Arc<Self>,
        request: Request,
        permit: Option<Permit>,
        avoid: Option<Arc<Address>>,
        progress: Arc<Progress>,
    ) -> Result<Reply, Failure> {
        let begun = request.stages.is_some().then(Instant::now);
        let note = |stage: fn(&Stages) -> &OnceLock<Duration>| {
            if let (Some(stages), Some(begun)) = (&request.stages, begun) {
                // A retry changes nothing of what was first.
                let _ = stage(stages).set(begun.elapsed());
            }
        };
        let permit = match permit {
            Some(permit) => permit,
            None => {
                let refused = |_: &_| self.common.metrics.edge.refused(Limit::MaxWait);
                let permit = self.permits.acquire(request.share.as_deref()).await;
                let permit = permit.inspect_err(refused)?;
                progress.has_its_permit();
                permit
            }
        };
        note(|stages| &stages.permit);
        let new_body = || {
            let account = Reservation::new(&self.common.buffers, request.share.as_ref());
            ReplyBody::new(self.settings.max_response, account, progress.clone())
        };
        let wish = Wish {
            avoid,
            ..Wish::default()
        };
        let connected = || note(|stages| &stages.connection);
        let result = self.exchange(&request, wish, &progress, new_body, connected);
        let result = result.await;
        let (status, mut exchange, mut body) = result.map_err(|broken| self.fail(&broken, None))?;
        note(|stages| &stages.head);
        if !is_success(status) {
            if let Some(patience) = exchange.retry_after() {
                *self.patience.lock() = Some(Instant::now() + patience.min(LONGEST_PATIENCE));
            }
            self.drain(exchange, body, permit);
            let because = format_args!("status {}", status.as_u16());
            return Err(self.fail(&Broken::new(Kind::Status, because), Some(status)));
        }
        let rest = exchange.rest(&mut body).await;
        rest.map_err(|broken| self.fail(&broken, Some(status)))?;
        exchange.finish(&self.connections);
        let (body, reservation) = body.into_parts();
        let body = if progress.is_unwanted() {
            // What was discarded is not waited for, so it is not checked.
            body
        } else {
            let invalid = || Broken::new(Kind::InvalidBody, "the body is not one JSON document");
            checked(body, request.select.as_deref())
                .ok_or_else(|| self.fail(&invalid(), Some(status)))?
        };
        Ok(Reply {
            body,
            status: status.as_u16(),
            reservation,
        })
    }

    /// Sends the request until the head of a reply comes: once more when the upstream has not processed
    /// it, or when a kept connection ended instead.
    async fn exchange(
        &self,
        request: &Request,
        mut wish: Wish,
        progress: &Progress,
        new_body: impl Fn() -> ReplyBody,
        connected: impl Fn(),
    ) -> Result<(StatusCode, Exchange, ReplyBody), Broken> {
        loop {
            let lease = self.connections.get(&wish).await?;
            connected();
            let elsewhere = lease.elsewhere();
            if let Some(address) = &elsewhere.avoid {
                progress.goes_to(address);
            }
            self.metrics.requests.inc();
            let mut body = new_body();
            let head = async {
                let mut exchange = Exchange::send(lease, &self.template, request).await?;
                let status = exchange.head(&mut body).await?;
                Ok((status, exchange))
            };
            let broken: Broken = match head.await {
                Ok((status, exchange)) => return Ok((status, exchange, body)),
                Err(broken) => broken,
            };
            match broken.again {
                Again::Http1 => self.connections.wants_http1(),
                Again::Elsewhere => {}
                Again::No => {
                    self.note_broken(&broken, &elsewhere);
                    return Err(broken);
                }
            }
            if wish.is_fresh {
                self.note_broken(&broken, &elsewhere);
                return Err(broken);
            }
            self.metrics.retries.inc();
            wish = elsewhere;
        }
    }

    /// Notes what broke against the address that it broke on.
    fn note_broken(&self, broken: &Broken, elsewhere: &Wish) {
        if let (Kind::Reset | Kind::Tls | Kind::Protocol, Some(address)) =
            (broken.kind, &elsewhere.avoid)
        {
            self.connections.broke(address);
        }
    }

    /// The failure of a call, of which the log is told.
    fn fail(&self, broken: &Broken, status: Option<StatusCode>) -> Failure {
        if broken.kind == Kind::Overloaded {
            self.common.metrics.edge.refused(Limit::MaxBuffered);
        }
        self.complaints.tell(&self.settings.name, broken);
        Failure {
            kind: broken.kind,
            status: status.map(|status| status.as_u16()),
        }
    }

    /// Reads a short body that counts for nothing, so that its connection survives.
    fn drain(self: &Arc<Self>, mut exchange: Exchange, mut body: ReplyBody, permit: Permit) {
        let this = self.clone();
        let counted = self.metrics.lingering();
        self.common.lingering.spawn(async move {
            // Over its size or the time, the connection is closed instead.
            let rest = timeout(this.settings.linger, exchange.rest(&mut body)).await;
            if let Ok(Ok(())) = rest {
                exchange.finish(&this.connections);
            }
            drop((permit, counted));
        });
    }
}

impl Lease {
    /// What a second try may have.
    fn elsewhere(&self) -> Wish {
        let (address, except) = match self {
            Self::Http1(connection, _) => (&connection.address, None),
            Self::Http2(connection, _) => (&connection.address, Some(connection.clone())),
        };
        Wish {
            is_fresh: true,
            avoid: Some(address.clone()),
            except,
        }
    }
}

/// What the end of a call says of its upstream. A status of the kind 4xx, and a reply that is too large,
/// may be due to what the client asked for: no client may stop the calls of others.
fn says_of_upstream(result: &Result<Reply, Failure>) -> Ended {
    match result {
        Ok(_) => Ended::Well,
        Err(Failure { kind, status }) => match kind {
            Kind::Connect | Kind::Tls | Kind::Timeout | Kind::Reset => Ended::Badly,
            Kind::Protocol | Kind::InvalidBody => Ended::Badly,
            Kind::Status if matches!(status, Some(429 | 500..)) => Ended::Badly,
            Kind::Status | Kind::TooLarge => Ended::Well,
            Kind::Overloaded | Kind::Breaker => Ended::Unknown,
        },
    }
}

fn checked(body: Bytes, select: Option<&str>) -> Option<Bytes> {
    let body = json::document(body)?;
    match select {
        Some(pointer) => json::select(&body, pointer),
        None => Some(body),
    }
}

impl Call {
    /// Reads the reply to its end in the background, discarding it, for at most the upstream's
    /// `linger`. A call that still waits for its permit just ends. `held` is dropped with the call.
    /// Says whether it is read on.
    pub fn linger(mut self, held: impl Send + 'static) -> bool {
        if !self.progress.linger() {
            if let Some(passage) = &mut self.passage {
                passage.ended(Ended::Unknown);
            }
            if let Some(timing) = &mut self.timing {
                timing.is_over = true;
            }
            return false;
        }
        let limit: Duration = self.upstream.settings.linger;
        let lingering = self.upstream.common.lingering.clone();
        lingering.spawn(async move {
            // When the time is over, the call is dropped, and its connection with it.
            let _ = timeout(limit, self).await;
            drop(held);
        });
        true
    }
}

impl Future for Call {
    type Output = Result<Reply, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.exchange.as_mut().poll(context));
        if let Some(passage) = &mut self.passage {
            passage.ended(says_of_upstream(&result));
        }
        if let Some(timing) = &mut self.timing {
            if result.is_ok() {
                timing.latencies.record(timing.begun.elapsed());
            }
            timing.is_over = true;
        }
        Poll::Ready(result)
    }
}
