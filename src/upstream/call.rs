//! One call: a permit, one HTTP exchange (two when the first was not processed), a checked reply.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::StatusCode;
use bytes::Bytes;
use tokio::time::timeout;

use super::body::ReplyBody;
use super::buffers::Reservation;
use super::connections::{Lease, Wish};
use super::exchange::Exchange;
use super::failure::{Again, Broken, Failure, Kind, is_success};
use super::permits::Permit;
use super::progress::Progress;
use super::request::Request;
use super::{Upstream, json};
use crate::metrics::{CallState, Limit};

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
        let progress = Arc::new(Progress::new(permit.is_some(), self.metrics.call(state)));
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
                let permit = self.permits.acquire(request.share.as_deref()).await;
                let permit = permit.inspect_err(refused)?;
                progress.has_its_permit();
                permit
            }
        };
        let new_body = || {
            let account = Reservation::new(&self.common.buffers, request.share.as_ref());
            ReplyBody::new(self.settings.max_response, account, progress.clone())
        };
        let result = self.exchange(&request, new_body).await;
        let (status, mut exchange, mut body) = result.map_err(|broken| self.fail(&broken, None))?;
        if !is_success(status) {
            self.drain(exchange, body, permit);
            let because = format_args!("status {}", status.as_u16());
            return Err(self.fail(&Broken::new(Kind::Status, because), Some(status)));
        }
        let rest = exchange.rest(&mut body).await;
        rest.map_err(|broken| self.fail(&broken, Some(status)))?;
        exchange.finish(&self.connections);
        let (body, reservation) = body.into_parts();
        let body = if progress.is_unwanted() {
            // Nobody waits for what was discarded, so it is not checked.
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
        new_body: impl Fn() -> ReplyBody,
    ) -> Result<(StatusCode, Exchange, ReplyBody), Broken> {
        let mut wish = Wish::default();
        loop {
            let lease = self.connections.get(&wish).await?;
            let elsewhere = lease.elsewhere();
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
    pub fn linger(self, held: impl Send + 'static) -> bool {
        if !self.progress.linger() {
            return false;
        }
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
