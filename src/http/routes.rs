//! Every URL on one screen.
//!
//! The routes are configuration, so they are of a [`super::Snapshot`] and not of a connection.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::handlers::{gather, method_not_allowed, not_found, preflight};
use super::route::Route;

/// The configured routes. GET gathers; HEAD gathers and sends no body; OPTIONS is for browsers.
pub(super) fn router(routes: impl IntoIterator<Item = Arc<Route>>) -> Router {
    let mut router = Router::new();
    for route in routes {
        let path = route.settings.path.clone();
        let methods = get(gather).options(preflight).fallback(method_not_allowed);
        router = router.route(&path, methods.with_state(route));
    }
    router.fallback(not_found)
}
