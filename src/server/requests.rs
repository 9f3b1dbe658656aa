//! Tells a connection's [`Activity`] of its requests: a service wrapper and a body wrapper.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::Service;

use super::activity::Activity;

/// A service whose requests are counted as open until their response has left.
#[derive(Clone)]
pub(super) struct Requests<S> {
    service: S,
    activity: Arc<Activity>,
}

impl<S> Requests<S> {
    /// Counts what `service` is asked on one connection.
    pub(super) fn new(service: S, activity: Arc<Activity>) -> Self {
        Self { service, activity }
    }
}

impl<S, R, B> Service<R> for Requests<S>
where
    S: Service<R, Response = Response<B>>,
{
    type Response = Response<OpenBody<B>>;
    type Error = S::Error;
    type Future = Responding<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.activity.begin();
        let open = Open {
            activity: self.activity.clone(),
            number: None,
        };
        Responding {
            response: self.service.call(request),
            open: Some(open),
        }
    }
}

/// A request that is open; ends when dropped.
struct Open {
    activity: Arc<Activity>,
    number: Option<u64>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.activity.end(self.number);
    }
}

pin_project! {
    /// A request whose response is being made.
    pub(super) struct Responding<F> {
        #[pin]
        response: F,
        open: Option<Open>,
    }
}

impl<F, B, E> Future for Responding<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<OpenBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(context))?;
        let mut open = this.open.take();
        if let Some(open) = &mut open {
            open.number = open.activity.respond();
        }
        Poll::Ready(Ok(response.map(|body| OpenBody { body, open })))
    }
}

pin_project! {
    /// The body of an open request's response.
    pub(super) struct OpenBody<B> {
        #[pin]
        body: B,
        open: Option<Open>,
    }
}

impl<B: Body> Body for OpenBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        if let Some(Open {
            activity,
            number: Some(number),
        }) = this.open
        {
            activity.progress(*number);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
