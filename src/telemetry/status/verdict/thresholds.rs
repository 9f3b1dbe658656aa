//! From which numbers on something is wrong. `deploy/prometheus/alerts.yml` has the same numbers, and a
//! test compares them.

use crate::telemetry::status::model::Health;

/// Seconds of a day.
pub(super) const DAY: f64 = 86_400.0;
/// From this part of its limit on, something is close to it.
pub(in crate::telemetry::status) const CLOSE: f64 = 0.9;
/// Days before a certificate expires; [`crate::metrics::CERTIFICATE_ENDS_SOON`] is the warning.
pub(super) const CERTIFICATE_TROUBLE: f64 = 3.0;
/// Fewer failures than this in the last minute are chance, unless nothing else came of it.
pub(super) const FEW: f64 = 5.0;
/// Shares of 5xx, and of branches that failed, in the last minute.
pub(super) const ERRORS: Shares = Shares {
    warning: 0.01,
    trouble: 0.05,
};
/// Shares of requests whose client left before the answer, which some always do.
pub(super) const LEFT: Shares = Shares {
    warning: 0.05,
    trouble: 0.5,
};
/// A p99 from this part of the deadline on is close to it.
pub(super) const SLOW: f64 = 0.8;
/// This many refusals a second are many; so is this share of all requests, or of all handshakes.
pub(super) const MANY: f64 = 10.0;
pub(super) const MOST: f64 = 0.5;
/// This share of the connections of a minute, refused by a limit of one client, is a sign.
pub(super) const REFUSED_CONNECTIONS: f64 = 0.1;
/// Milliseconds that a timer is late. A busy neighbour makes it some ten, now and then a hundred.
pub(super) const LAG_WARNING: f64 = 250.0;
pub(super) const LAG_TROUBLE: f64 = 1000.0;
/// From this part of a core on, the service itself is what fills it.
pub(super) const FULL: f64 = 0.7;
/// Part of the host's CPU that others get.
pub(super) const STEAL_WARNING: f64 = 0.1;

/// From which shares on something is wrong.
pub(super) struct Shares {
    pub(super) warning: f64,
    pub(super) trouble: f64,
}

impl Shares {
    /// How bad a share is; nothing when it is not.
    pub(super) fn badness(&self, share: f64) -> Option<Health> {
        if share >= self.trouble {
            Some(Health::Trouble)
        } else {
            (share >= self.warning).then_some(Health::Warning)
        }
    }
}
