//! How many lines of one place in the code are written each second: no line can be multiplied from outside,
//! whether it is ours or a library's. What is left out is counted, and told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::{Level, Metadata};

use crate::metrics::Metrics;

/// Modules whose lines the operator alone brings about, by a start, a stop, a reload or a changed file: as many
/// as there are addresses, certificates or problems, none of which may be lost. Nothing that a client or an
/// upstream does may be told there.
const OF_OPERATORS: [&str; 2] = ["gatherd::app", "gatherd::server::tls::served"];
/// Lines of one place in a second of its own.
const OURS: u32 = 20;
/// Of a library, which says of every frame of a stranger what is wrong with it.
const OF_LIBRARIES: u32 = 1;
const WINDOW: Duration = Duration::from_secs(1);

/// What each place has written lately. There are as many as the program has such places.
#[derive(Debug, Default)]
pub(super) struct Cap {
    places: Mutex<HashMap<Identifier, Place>>,
    /// Where what is left out is counted, once there are metrics.
    metrics: OnceLock<Arc<Metrics>>,
}

#[derive(Debug)]
struct Place {
    metadata: &'static Metadata<'static>,
    since: Instant,
    lines: u32,
    left_out: u64,
}

/// Lines of one place that were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Which module said them.
    pub(super) target: &'static str,
    /// How severe they are.
    pub(super) level: Level,
    /// How many.
    pub(super) lines: u64,
}

impl Cap {
    /// Whether a line of this place may be written now. One that may not is counted.
    pub(super) fn admits(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        let Some(most) = most(metadata.target()) else {
            return true;
        };
        let mut places = self.places.lock();
        let place = places.entry(metadata.callsite()).or_insert_with(|| Place {
            metadata,
            since: now,
            lines: 0,
            left_out: 0,
        });
        if now.duration_since(place.since) >= WINDOW {
            place.since = now;
            place.lines = 0;
        }
        if place.lines < most {
            place.lines += 1;
            return true;
        }
        place.left_out += 1;
        drop(places);
        if let Some(metrics) = self.metrics.get() {
            metrics.service.log_lines_left_out.inc();
        }
        false
    }

    /// What was left out since it was last asked for.
    pub(super) fn take_left_out(&self) -> Vec<LeftOut> {
        let mut places = self.places.lock();
        let left_out = places.values_mut().filter(|place| place.left_out > 0);
        left_out
            .map(|place| LeftOut {
                target: place.metadata.target(),
                level: *place.metadata.level(),
                lines: std::mem::take(&mut place.left_out),
            })
            .collect()
    }

    /// Counts there from now on.
    pub(super) fn count_in(&self, metrics: &Arc<Metrics>) {
        // Set once; who sets it again counts in the first.
        let _ = self.metrics.set(metrics.clone());
    }
}

/// The most lines in a second of a place there; none when it has no such limit.
fn most(target: &str) -> Option<u32> {
    let is_within = |module: &str| {
        let rest = target.strip_prefix(module);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    if OF_OPERATORS.into_iter().any(is_within) {
        None
    } else if target.starts_with("gatherd") {
        Some(OURS)
    } else {
        Some(OF_LIBRARIES)
    }
}
