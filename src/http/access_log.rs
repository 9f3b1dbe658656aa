//! The access log: one line for each request, written when it is over, however that came about.
//!
//! A request is over when the last byte of its answer was handed to the connection, or when the
//! connection ended first. Which of these, the guard [`OpenRequest`] sees by being dropped.

mod line;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use ::http::request::Parts;
use ::http::{Method, StatusCode, Version};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use self::line::{Branches, address, exact_milliseconds};
use super::answer::milliseconds;
use super::context::Context;
use super::problem::ProblemKind;
use crate::config::AccessLog;
use crate::metrics::StatusClass;

/// Of a client that left before its answer (as nginx has it); never sent.
const CLIENT_LEFT: u16 = 499;

/// The most that a line has of a path that no route has, and of an unknown method.
const SHOWN: usize = 256;

/// A request that is not over yet; its line is written when this is dropped.
pub(super) struct OpenRequest {
    context: Arc<Context>,
    method: Method,
    version: Version,
    /// A copy, as [`apart`](super::context::apart) makes of headers, and for the same reason.
    path: Box<str>,
    answer: Option<Answer>,
}

/// What was answered.
struct Answer {
    status: StatusCode,
    outcome: &'static str,
    at: Instant,
    bytes: u64,
    is_whole: bool,
}

impl OpenRequest {
    /// A request that has arrived.
    pub(super) fn new(context: &Arc<Context>, head: &Parts) -> Self {
        Self {
            context: context.clone(),
            method: head.method.clone(),
            version: head.version,
            path: head.uri.path().into(),
            answer: None,
        }
    }

    /// It is answered; over when the body has left.
    pub(super) fn answer(mut self, response: Response) -> Response {
        let kind = response.extensions().get::<ProblemKind>().copied();
        if kind == Some(ProblemKind::Internal) {
            let request_id = self.context.request_id.to_str().unwrap_or_default();
            tracing::error!(request_id, "a request met a bug");
        }
        let gathers = || self.context.notes.gather().deadline.is_some();
        self.answer = Some(Answer {
            status: response.status(),
            outcome: match kind {
                Some(kind) => kind.word(),
                None if gathers() => "gathered",
                None => "answered",
            },
            at: Instant::now(),
            bytes: 0,
            is_whole: false,
        });
        response.map(|body| {
            let is_whole = body.is_end_stream();
            let mut body = LoggedBody { body, open: self };
            body.note(0, is_whole);
            Body::new(body)
        })
    }

    /// Counts it for its route.
    fn count(&self) {
        let class = match &self.answer {
            Some(answer) if answer.is_whole => StatusClass::of(answer.status.as_u16()),
            _ => StatusClass::ClientLeft,
        };
        let routed = self.context.route.as_ref();
        let requests = routed.map(|routed| &routed.route.metrics.requests);
        requests
            .unwrap_or(&self.context.snapshot.no_route)
            .over(class);
    }

    fn is_wanted(&self, status: u16) -> bool {
        match self.context.snapshot.access_log {
            AccessLog::All => true,
            AccessLog::Errors => status >= 400,
            AccessLog::Off => false,
        }
    }

    fn log(&self, status: u16) {
        let context = &*self.context;
        let gather = context.notes.gather();
        let path = &*self.path;
        let route = context.route.as_ref().map(|routed| &routed.route);
        let settings = route.map(|route| &route.settings);
        let health_path = context.snapshot.server.health_path.as_deref();
        let route_path = settings.map(|settings| settings.path.as_ref());
        let route_path = route_path.or(health_path.filter(|probed| *probed == path));
        let answer = self.answer.as_ref();
        let outcome = answer.filter(|answer| answer.is_whole);
        let left = gather.deadline.zip(answer).map(|(deadline, answer)| {
            let left = deadline.saturating_duration_since(answer.at);
            milliseconds(left)
        });
        let branches = route.filter(|_| !gather.branches.is_empty());
        let branches = branches.map(|route| Branches(&gather, route));
        tracing::info!(
            target: "gatherd::access",
            client = address(context.client),
            method = start(self.method.as_str()),
            route = route_path,
            path = route_path.is_none().then(|| start(path)),
            protocol = ?self.version,
            policy = settings.map(|settings| settings.policy.name()),
            status,
            outcome = outcome.map_or("client-left", |answer| answer.outcome),
            body_bytes = answer.map_or(0, |answer| answer.bytes),
            duration_ms = exact_milliseconds(context.arrived.elapsed()),
            deadline_left_ms = left,
            request_id = context.request_id.to_str().unwrap_or_default(),
            trace_id = context.trace.digits(),
            cache = gather.cache,
            branches = branches.map(tracing::field::debug),
            "request"
        );
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let status = self.answer.as_ref().map(|answer| answer.status.as_u16());
        let status = status.unwrap_or(CLIENT_LEFT);
        self.count();
        if self.is_wanted(status) {
            self.log(status);
        }
    }
}

/// The beginning of what may be long.
fn start(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}

/// The body of an answer on its way.
struct LoggedBody {
    body: Body,
    open: OpenRequest,
}

impl LoggedBody {
    fn note(&mut self, bytes: usize, is_whole: bool) {
        if let Some(answer) = &mut self.open.answer {
            answer.bytes += bytes as u64;
            answer.is_whole |= is_whole;
        }
    }
}

impl http_body::Body for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(task));
        let data = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref());
        let bytes = data.map_or(0, Bytes::len);
        let is_whole = frame.is_none() || self.body.is_end_stream();
        self.note(bytes, is_whole);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
