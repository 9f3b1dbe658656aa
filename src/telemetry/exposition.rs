//! Metrics as text (Prometheus' text-based format, version 0.0.4).

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus::{TEXT_FORMAT, TextEncoder};

use crate::metrics::Metrics;

/// What everything is at this moment.
pub(super) fn render(metrics: &Metrics) -> Response {
    let mut text = String::new();
    // Only a family without a name or a value could fail, and none is made so.
    let _ = TextEncoder::new().encode_utf8(&metrics.families(), &mut text);
    ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
}
