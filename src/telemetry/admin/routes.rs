//! Every URL of the admin listener.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::guard;
use super::page::page;
use super::status::{self, Following};
use crate::metrics::Metrics;
use crate::readiness::{Readiness, State};
use crate::telemetry::exposition;
use crate::telemetry::status::Feed;

/// Routes and layers; add a route here and nowhere else.
pub(super) fn router(readiness: Readiness, metrics: Arc<Metrics>, feed: Arc<Feed>) -> Router {
    let following = Following::new(feed);
    Router::new()
        .route("/", get(page))
        .route("/status", get(status::text).with_state(following.clone()))
        .route(
            "/status.json",
            get(status::json).with_state(following.clone()),
        )
        .route("/events", get(status::events).with_state(following))
        .route("/livez", get(live))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(async move || exposition::render(&metrics)))
        .fallback(async || {
            problem(
                StatusCode::NOT_FOUND,
                "urn:gatherd:not-found",
                "no such page",
            )
        })
        .method_not_allowed_fallback(async || {
            let kind = "urn:gatherd:method-not-allowed";
            problem(
                StatusCode::METHOD_NOT_ALLOWED,
                kind,
                "this page can only be read",
            )
        })
        .layer(from_fn(guard::check_host))
        // Strangers learn nothing, not even which names are allowed.
        .layer(from_fn(guard::check_peer))
        // Outermost, so that refusals carry these headers too.
        .layer(map_response(with_headers))
}

async fn live() -> Response {
    json_response(StatusCode::OK, &json!({ "status": "alive" }))
}

async fn ready(Shared(readiness): Shared<Readiness>) -> Response {
    let (status, body) = match readiness.state() {
        State::Ready => (StatusCode::OK, json!({ "status": "ready" })),
        State::Starting => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "status": "starting", "reason": "the listeners do not accept yet" }),
        ),
        State::Draining => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "status": "draining", "reason": "the service was told to stop" }),
        ),
    };
    json_response(status, &body)
}

/// An error body (RFC 9457) of this `kind`.
pub(super) fn problem(status: StatusCode, kind: &'static str, detail: &'static str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({
        "type": kind, "title": title, "status": status.as_u16(), "detail": detail,
    });
    let content_type = [(CONTENT_TYPE, "application/problem+json")];
    (status, content_type, body.to_string()).into_response()
}

/// JSON with this `status`.
pub(super) fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    (
        status,
        [(CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

async fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
