//! How many descriptors the process may have, and what of the configuration they carry.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Settings;

/// Descriptors besides those of connections and calls: listeners, admin, files, timers.
const OTHERS: usize = 128;
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

/// The settings with `max_connections` and every `max_calls` cut to what the process has descriptors
/// for. What is over its limit gets an answer that says so; what finds no descriptor does not, and
/// neither does the admin listener.
#[must_use]
pub fn within_descriptors(settings: &Settings) -> Settings {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    within(usize::try_from(limit).unwrap_or(usize::MAX), settings)
}

/// How many descriptors the settings may need.
#[must_use]
pub fn descriptors_needed(settings: &Settings) -> usize {
    settings.server.max_connections + of_calls(settings) + OTHERS
}

/// Calls have theirs kept back, at most half of all: a connection that cannot be answered is worth
/// less than a refusal.
fn within(limit: usize, settings: &Settings) -> Settings {
    let carried = limit.saturating_sub(OTHERS);
    let calls = of_calls(settings);
    let kept_back = calls.min(carried / 2);
    let mut cut = settings.clone();
    for upstream in &mut cut.upstreams {
        // Each may have all of them: seldom are all upstreams slow at once, and HTTP/2 needs few.
        let most = (kept_back / ends(settings)).max(1);
        upstream.max_calls = upstream.max_calls.min(most);
    }
    let connections = (carried - kept_back).max(LEAST_CONNECTIONS);
    cut.server.max_connections = connections.min(settings.server.max_connections);
    cut
}

fn of_calls(settings: &Settings) -> usize {
    let calls: usize = settings.upstreams.iter().map(|one| one.max_calls).sum();
    calls * ends(settings)
}

/// Each call has a connection over HTTP/1.1, with both ends in this process if the mock runs here.
fn ends(settings: &Settings) -> usize {
    if settings.mock.is_some() { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Environment};

    /// Two upstreams that may have 300 and 100 calls, and 1000 connections.
    fn settings(mock: bool) -> Settings {
        let text = format!(
            "[server]\nhttps = []\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\n\
             max_connections = 1000\n\
             [mock]\nenabled = {mock}\n\
             [upstreams.a]\nurl = \"http://127.0.0.1:1/\"\nmax_calls = 300\n\
             [upstreams.b]\nurl = \"http://127.0.0.1:1/\"\nmax_calls = 100\n\
             [[routes]]\npath = \"/\"\npolicy = \"all\"\nupstream = \"a\"\n\
             [[routes]]\npath = \"/b\"\npolicy = \"all\"\nupstream = \"b\"\n"
        );
        let parsed = config::parse(Path::new("c.toml"), &text, &Environment::default());
        parsed.expect("a good file").settings
    }

    fn cut(limit: usize, mock: bool) -> (usize, usize, usize) {
        let cut = within(limit, &settings(mock));
        let calls = |index: usize| cut.upstreams[index].max_calls;
        (cut.server.max_connections, calls(0), calls(1))
    }

    #[test]
    fn what_the_process_has_descriptors_for_is_cut_nowhere() {
        assert_eq!(cut(65_536, false), (1000, 300, 100));
        assert_eq!(descriptors_needed(&settings(false)), 1000 + 400 + OTHERS);
    }

    #[test]
    fn calls_have_theirs_kept_back_and_each_upstream_has_half_of_all_at_most() {
        assert_eq!(cut(OTHERS + 1000, false), (600, 300, 100));
        assert_eq!(cut(OTHERS + 400, false), (200, 200, 100));
        assert_eq!(cut(OTHERS + 300, false), (150, 150, 100));
        assert_eq!(cut(OTHERS + 400, true), (200, 100, 100));
    }

    #[test]
    fn a_little_is_tried_with_however_few() {
        assert_eq!(cut(32, false), (LEAST_CONNECTIONS, 1, 1));
    }
}
