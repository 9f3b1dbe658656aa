//! Who may call from a page of another origin (the Fetch standard's CORS protocol).

use ::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use ::http::{HeaderMap, HeaderValue, StatusCode};
use axum::body::Body;
use axum::response::Response;

use crate::config::AllowedOrigins;

/// What a page may read of an answer besides its body.
const EXPOSED: &str = "gather, ratelimit, ratelimit-policy, retry-after, x-request-id";

/// Adds to any answer, errors too, what lets the page at `origin` read it.
pub(super) fn allow_origin(
    allowed: &AllowedOrigins,
    origin: Option<&HeaderValue>,
    response: &mut HeaderMap,
) {
    let value = match allowed {
        AllowedOrigins::None => return,
        AllowedOrigins::Any => HeaderValue::from_static("*"),
        AllowedOrigins::List(list) => {
            response.append(VARY, HeaderValue::from_static("origin"));
            match origin.filter(|origin| list.contains(origin)) {
                Some(origin) => origin.clone(),
                None => return,
            }
        }
    };
    response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, value);
    response.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
}

/// The answer to a preflight, if `request` is one and CORS is on.
pub(super) fn preflight(allowed: &AllowedOrigins, request: &HeaderMap) -> Option<Response> {
    let is_preflight =
        request.contains_key(ORIGIN) && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if *allowed == AllowedOrigins::None || !is_preflight {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        // Which headers go on to an upstream is the route's choice, so any may be sent.
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    Some(response)
}
