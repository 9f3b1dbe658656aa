//! Everything that is HTTP about a request: URLs, layers, limiter, handlers, problems.

use crate::config::Settings;

/// The OpenAPI 3.1 document of the configured routes.
#[must_use]
pub fn openapi(settings: &Settings) -> serde_json::Value {
    let paths: serde_json::Map<_, _> = settings
        .routes
        .iter()
        .map(|route| (route.path.to_string(), serde_json::json!({})))
        .collect();
    serde_json::json!({ "openapi": "3.1.0", "paths": paths })
}
