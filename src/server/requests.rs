//! Tells a connection's [`Activity`] of its requests: a service wrapper and a body wrapper.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::header::CONNECTION;
use ::http::{HeaderValue, Request, Response, Version};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::Service;

use super::activity::{Activity, Protocol};

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

impl<S, R, B> Service<Request<R>> for Requests<S>
where
    S: Service<Request<R>, Response = Response<B>>,
{
    type Response = Response<OpenBody<B>>;
    type Error = S::Error;
    type Future = Responding<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        self.activity
            .begin(if request.version() == Version::HTTP_2 {
                Protocol::Http2
            } else {
                Protocol::Http1
            });
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

impl Open {
    /// What its response's progress is told to, once there is a response.
    fn progress(&self) -> Option<(Arc<Activity>, u64)> {
        Some((self.activity.clone(), self.number?))
    }
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
        let mut response = ready!(this.response.poll(context))?;
        let mut open = this.open.take();
        if let Some(open) = &mut open {
            if open.activity.is_last_response() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            open.number = Some(open.activity.respond());
        }
        let body = |body| OpenBody {
            body: Some(body),
            open,
        };
        Poll::Ready(Ok(response.map(body)))
    }
}

/// The body of an open request's response. What it gives counts as progress, and the response as
/// left, once the connection has written it: over HTTP/2 a whole body may wait in the library for a
/// client that opens no window.
pub(super) struct OpenBody<B> {
    /// None once its last bytes have been given.
    body: Option<B>,
    open: Option<Open>,
}

/// Bytes of a response that are not written yet.
struct Unwritten<B> {
    bytes: Bytes,
    activity: Arc<Activity>,
    number: u64,
    /// With the last bytes: the body, for what it holds until then, and the open request.
    _last: Option<(B, Open)>,
}

impl<B> AsRef<[u8]> for Unwritten<B> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<B> Drop for Unwritten<B> {
    fn drop(&mut self) {
        self.activity.progress(self.number);
    }
}

impl<B> OpenBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// The same bytes, noticed when they have been written.
    fn unwritten(&mut self, bytes: Bytes) -> Bytes {
        let Some((activity, number)) = self.open.as_ref().and_then(Open::progress) else {
            return bytes;
        };
        let is_last = self.body.as_ref().is_some_and(Body::is_end_stream);
        let last = is_last.then(|| self.body.take().zip(self.open.take()));
        Bytes::from_owner(Unwritten {
            bytes,
            activity,
            number,
            _last: last.flatten(),
        })
    }
}

impl<B> Body for OpenBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        let noticed = |frame: Frame<Bytes>| frame.map_data(|bytes| self.unwritten(bytes));
        Poll::Ready(frame.map(|frame| frame.map(noticed)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}
