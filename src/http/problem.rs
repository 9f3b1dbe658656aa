//! Error answers: `application/problem+json` (RFC 9457).

use std::borrow::Cow;
use std::time::Duration;

use ::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderName, HeaderValue, StatusCode};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4.
pub(super) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A header of plain ASCII.
pub(super) fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("?"))
}

/// One error answer. Never holds an upstream's address, headers or body.
#[derive(Clone, Debug)]
pub(super) struct ProblemDetails {
    kind: ProblemKind,
    status: StatusCode,
    detail: Cow<'static, str>,
    branches: Vec<FailedBranch>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The closed set of problems; each has a stable URN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProblemKind {
    InvalidTimeout,
    BadParameter,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    Forbidden,
    RateLimited,
    GatherFailed,
    DeadlineExceeded,
    Overloaded,
    Draining,
    Internal,
}

/// What a client learns of a branch that failed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FailedBranch {
    pub(super) branch: String,
    pub(super) upstream: String,
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    pub(super) elapsed_ms: u64,
}

impl ProblemKind {
    /// All of them, for the API's description.
    pub(super) const ALL: [Self; 12] = [
        Self::InvalidTimeout,
        Self::BadParameter,
        Self::BadRequest,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Forbidden,
        Self::RateLimited,
        Self::GatherFailed,
        Self::DeadlineExceeded,
        Self::Overloaded,
        Self::Draining,
        Self::Internal,
    ];

    /// The `type` member.
    pub(super) fn urn(self) -> &'static str {
        match self {
            Self::InvalidTimeout => "urn:gatherd:invalid-timeout",
            Self::BadParameter => "urn:gatherd:bad-parameter",
            Self::BadRequest => "urn:gatherd:bad-request",
            Self::NotFound => "urn:gatherd:not-found",
            Self::MethodNotAllowed => "urn:gatherd:method-not-allowed",
            // Of no kind of its own (RFC 9457 section 4.2.1).
            Self::Forbidden => "about:blank",
            Self::RateLimited => "urn:gatherd:rate-limited",
            Self::GatherFailed => "urn:gatherd:gather-failed",
            Self::DeadlineExceeded => "urn:gatherd:deadline-exceeded",
            Self::Overloaded => "urn:gatherd:overloaded",
            Self::Draining => "urn:gatherd:draining",
            Self::Internal => "urn:gatherd:internal",
        }
    }

    /// The word for it in logs: the last part of the URN.
    pub(super) fn word(self) -> &'static str {
        self.urn()
            .strip_prefix("urn:gatherd:")
            .unwrap_or("forbidden")
    }

    /// The `title` member: the same for every problem of the kind.
    fn title(self) -> &'static str {
        match self {
            Self::InvalidTimeout => "Invalid timeout",
            Self::BadParameter => "Bad parameter",
            Self::BadRequest => "Bad request",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Forbidden => "Forbidden",
            Self::RateLimited => "Too many requests",
            Self::GatherFailed => "Gather failed",
            Self::DeadlineExceeded => "Deadline exceeded",
            Self::Overloaded => "Overloaded",
            Self::Draining => "Draining",
            Self::Internal => "Internal error",
        }
    }
}

impl ProblemDetails {
    /// A problem of this kind, status and detail.
    pub(super) fn new(
        kind: ProblemKind,
        status: StatusCode,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let detail = detail.into();
        Self {
            kind,
            status,
            detail,
            branches: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// 400: `timeout` is not what it may be.
    pub(super) fn invalid_timeout(max_timeout: Duration) -> Self {
        let most = max_timeout.as_millis();
        let detail = format!(
            "timeout must be given once, as a decimal integer of milliseconds from 1 to {most}"
        );
        Self::new(ProblemKind::InvalidTimeout, StatusCode::BAD_REQUEST, detail)
    }

    /// 400: a path or query parameter cannot be used.
    pub(super) fn bad_parameter(name: &str, reason: &str) -> Self {
        let detail = format!("parameter {name}: {reason}");
        Self::new(ProblemKind::BadParameter, StatusCode::BAD_REQUEST, detail)
    }

    /// 400: the request itself is malformed.
    pub(super) fn bad_request(detail: &'static str) -> Self {
        Self::new(ProblemKind::BadRequest, StatusCode::BAD_REQUEST, detail)
    }

    /// 403: the client's address is not served.
    pub(super) fn forbidden() -> Self {
        let detail = "this client is not served here";
        Self::new(ProblemKind::Forbidden, StatusCode::FORBIDDEN, detail)
    }

    /// 503: the process stops, and the gather would have outlasted it.
    pub(super) fn draining() -> Self {
        let detail = "the service is stopping, and this gather would have outlasted it";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(ProblemKind::Draining, status, detail).with_retry_after(1)
    }

    /// 503: the service cannot take the request now.
    pub(super) fn overloaded(detail: &'static str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        // Apart, so that those who are refused together do not come back together.
        Self::new(ProblemKind::Overloaded, status, detail).with_retry_after(fastrand::u64(1..=3))
    }

    /// 500: a bug of ours.
    pub(super) fn internal() -> Self {
        let detail = "the service made an error; it has been logged under this request id";
        Self::new(
            ProblemKind::Internal,
            StatusCode::INTERNAL_SERVER_ERROR,
            detail,
        )
    }

    /// The branches that failed.
    pub(super) fn with_branches(self, branches: Vec<FailedBranch>) -> Self {
        Self { branches, ..self }
    }

    /// One more header.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// When the client may come back, in whole seconds (RFC 9110 section 10.2.3).
    pub(super) fn with_retry_after(self, seconds: u64) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }
}

/// The body's members, in the order of RFC 9457.
#[derive(Serialize)]
struct Members<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    branches: &'a [FailedBranch],
}

impl IntoResponse for ProblemDetails {
    fn into_response(self) -> Response {
        let members = Members {
            r#type: self.kind.urn(),
            title: self.kind.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
            branches: &self.branches,
        };
        let body = serde_json::to_vec(&members).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        // For the log.
        response.extensions_mut().insert(self.kind);
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}
