//! What a call sends: the part that all calls of an upstream share is made once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::http::header::{ACCEPT, ACCEPT_ENCODING, COOKIE, USER_AGENT};
use ::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use ::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use tokio::time::Instant;

use super::buffers::Share;
use super::failure::{Broken, Kind};
use super::latencies::Latencies;
use crate::config::UpstreamSettings;

/// The remaining milliseconds, for upstreams that would give up in time.
/// Source: Envoy's HTTP header documentation, `x-envoy-expected-rq-timeout-ms`.
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

/// What one call asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path and query, as made by the route's target.
    pub target: Bytes,
    /// What it carries besides what every call to the upstream carries.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// RFC 6901 pointer to the part of the reply's body that counts.
    pub select: Option<Arc<str>>,
    /// When the reply is of no use any more; only told to the upstream, kept by the gather.
    pub deadline: Instant,
    /// Within this time the route expects a reply, whatever the client asked for: one that takes longer counts
    /// as a failure of the upstream.
    pub expected: Duration,
    /// Where the time of its reply is noted, if anywhere.
    pub latencies: Option<Arc<Latencies>>,
    /// Where the stages of the call are noted, if anywhere.
    pub stages: Option<Arc<Stages>>,
    /// What its client holds, where the limits of one client hold.
    pub share: Option<Arc<Share>>,
}

/// How long a call took until each of its stages was over, counted from its start.
#[derive(Debug, Default)]
pub struct Stages {
    /// Until it had its permit.
    pub permit: OnceLock<Duration>,
    /// Until it had a connection.
    pub connection: OnceLock<Duration>,
    /// Until the head of the reply was there.
    pub head: OnceLock<Duration>,
}

impl Request {
    fn remaining_milliseconds(&self) -> u64 {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The constant part of every request to one upstream.
pub(super) struct Template {
    scheme: Scheme,
    /// Of each of its URLs.
    hosts: Vec<Host>,
    /// Sent with every call, besides the host.
    headers: HeaderMap,
}

struct Host {
    authority: Authority,
    /// Of a request over HTTP/1.1, what stands between its target and its own fields.
    http1: Box<[u8]>,
}

impl Template {
    /// The requests of an upstream.
    pub(super) fn new(settings: &UpstreamSettings) -> Self {
        let headers = fixed_headers(settings);
        let scheme = if settings.is_secure() {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        let host = |url: &url::Url| {
            let authority = url.authority();
            let mut http1 = format!(" HTTP/1.1\r\nhost: {authority}\r\n").into_bytes();
            for (name, value) in &headers {
                push_field(&mut http1, name, value.as_bytes());
            }
            Host {
                authority: Authority::try_from(authority)
                    .expect("the authority of a URL is one of a URI"),
                http1: http1.into(),
            }
        };
        Self {
            scheme,
            hosts: settings.urls.iter().map(host).collect(),
            headers,
        }
    }

    /// A request over HTTP/1.1: its whole head, and it has no body (RFC 9112 section 3).
    pub(super) fn http1(&self, host: usize, request: &Request) -> Vec<u8> {
        let fixed = &self.hosts[host].http1;
        let own: usize = request
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        let mut head = Vec::with_capacity(request.target.len() + fixed.len() + own + 64);
        head.extend_from_slice(b"GET ");
        head.extend_from_slice(&request.target);
        head.extend_from_slice(fixed);
        for (name, value) in request.headers.iter().filter(|(name, _)| name != COOKIE) {
            push_field(&mut head, name, value.as_bytes());
        }
        // HTTP/2 clients cut cookies into several fields, HTTP/1.1 has one (RFC 9113 section 8.2.3).
        let cookies: Vec<&[u8]> = request
            .headers
            .iter()
            .filter(|(name, _)| name == COOKIE)
            .map(|(_, value)| value.as_bytes())
            .collect();
        if !cookies.is_empty() {
            push_field(&mut head, &COOKIE, &cookies.join(&b"; "[..]));
        }
        let remaining = request.remaining_milliseconds().to_string();
        push_field(&mut head, &EXPECTED_TIMEOUT, remaining.as_bytes());
        head.extend_from_slice(b"\r\n");
        head
    }

    /// The same over HTTP/2.
    ///
    /// # Errors
    /// When the target is none of a URI, which is a bug.
    pub(super) fn http2(
        &self,
        host: usize,
        request: &Request,
    ) -> Result<::http::Request<()>, Broken> {
        let bug = |error: ::http::Error| Broken::new(Kind::Protocol, error);
        let target = PathAndQuery::from_maybe_shared(request.target.clone());
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.hosts[host].authority.clone())
            .path_and_query(target.map_err(|error| bug(error.into()))?)
            .build()
            .map_err(bug)?;
        let mut sent = ::http::Request::new(());
        *sent.uri_mut() = uri;
        *sent.version_mut() = ::http::Version::HTTP_2;
        let headers = sent.headers_mut();
        headers.clone_from(&self.headers);
        for (name, value) in &request.headers {
            headers.append(name.clone(), value.clone());
        }
        headers.insert(
            EXPECTED_TIMEOUT,
            HeaderValue::from(request.remaining_milliseconds()),
        );
        Ok(sent)
    }
}

fn push_field(head: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    head.extend_from_slice(name.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// What every call to this upstream carries besides host and its own headers (contract, section 3).
fn fixed_headers(settings: &UpstreamSettings) -> HeaderMap {
    let agent = concat!("gatherd/", env!("CARGO_PKG_VERSION"));
    let ours = [
        (ACCEPT, HeaderValue::from_static("application/json")),
        (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        (USER_AGENT, HeaderValue::from_static(agent)),
    ];
    ours.into_iter()
        .chain(settings.headers.iter().cloned())
        .collect()
}
