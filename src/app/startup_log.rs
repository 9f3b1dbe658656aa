//! What is said at the start.

use super::LocalAddrs;
use crate::config::Settings;
use crate::server::{descriptors_needed, within_descriptors};

/// Says so when the limits of the configuration are more than the process may have descriptors for.
pub(super) fn warn_of_descriptors(settings: &Settings, limit: Option<u64>) {
    let needed = descriptors_needed(settings);
    if let Some(limit) = limit
        && (needed as u64) > limit
    {
        let cut = within_descriptors(settings);
        let max_calls = cut.upstreams.iter().map(|one| one.max_calls).max();
        tracing::warn!(
            needed,
            limit,
            max_connections = cut.server.max_connections,
            max_calls,
            "max_connections and the upstreams' max_calls may need more descriptors than the \
             process may have, and are at most these now; raise LimitNOFILE or lower them"
        );
    }
}

/// Says where it listens, and what a newcomer may try.
pub(super) fn announce(settings: &Settings, addrs: &LocalAddrs) {
    for https in &addrs.https {
        tracing::info!(address = %https, "listening for HTTPS");
    }
    for http in &addrs.http {
        tracing::info!(address = %http, "listening for plain HTTP");
    }
    if let Some(admin) = addrs.admin {
        tracing::info!(address = %admin, "listening for operators: /livez and /readyz");
    }
    if let Some(mock) = addrs.mock {
        tracing::info!(address = %mock, "the mock upstream answers here");
    }
    if let (true, Some(https), Some(route)) = (
        settings.tls.as_ref().is_some_and(|tls| tls.self_signed),
        addrs.https.first(),
        settings.routes.first(),
    ) {
        let (port, path) = (https.port(), &route.path);
        tracing::info!("try: curl -k https://localhost:{port}{path}");
    }
}
