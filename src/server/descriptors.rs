//! How many descriptors the process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Settings;

/// Descriptors besides those of connections and calls: listeners, logs, timers.
const OTHERS: usize = 64;
/// Connections that are tried with however few descriptors there are.
const LEAST_CONNECTIONS: usize = 8;

/// Raises the soft limit to the hard one: two sockets or more for each request soon pass the usual
/// 1024. Gives the limit that holds now, if there is one.
pub fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where a sandbox forbids it, the service runs on with what it has.
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// How many connections of clients there may be: `max_connections`, or what the process has
/// descriptors for. Calls have theirs kept back, at most half of all: a connection that cannot be
/// answered is worth less than a refusal.
pub(super) fn most_connections(settings: &Settings) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let calls = settings
        .upstreams
        .iter()
        .map(|upstream| upstream.max_calls)
        .sum();
    carried(limit, calls).min(settings.server.max_connections)
}

fn carried(limit: usize, calls: usize) -> usize {
    let carried = limit.saturating_sub(OTHERS);
    (carried - calls.min(carried / 2)).max(LEAST_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_their_descriptors_kept_back_but_never_more_than_half() {
        assert_eq!(carried(65_536, 512), 65_536 - OTHERS - 512);
        assert_eq!(carried(1024, 4096), 480);
        assert_eq!(carried(32, 4096), LEAST_CONNECTIONS);
    }
}
