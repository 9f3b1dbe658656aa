//! What of the settings the metrics show.

use crate::config::Settings;
use crate::metrics::{Limits, RouteLimits, UpstreamLimits};
use crate::upstream::Kind;

/// The limits that hold while these settings do.
pub(super) fn limits(settings: &Settings) -> Limits<'_> {
    let routes = settings.routes.iter().map(|route| RouteLimits {
        path: &route.path,
        policy: route.policy.name(),
        timeout: route.timeout,
    });
    let upstreams = settings.upstreams.iter().map(|upstream| UpstreamLimits {
        name: &upstream.name,
        max_calls: upstream.max_calls,
    });
    Limits {
        max_connections: settings.server.max_connections,
        max_in_flight: settings.server.max_in_flight,
        max_buffered: settings.server.max_buffered,
        routes: routes.collect(),
        shared_limit: settings.shared_limits.is_some(),
        kinds: &Kind::NAMES,
        upstreams: upstreams.collect(),
    }
}
