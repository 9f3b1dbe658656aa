//! What the whole process holds at once, and of how much it may hold.

use prometheus::{IntCounter, IntGauge, Registry};

use super::register;

/// Gathers, bytes and clients.
#[derive(Debug)]
pub struct LoadMetrics {
    /// Gathers whose response has not left.
    pub in_flight: IntGauge,
    /// `max_in_flight`.
    pub max_in_flight: IntGauge,
    /// Bytes of replies held now.
    pub buffered: IntGauge,
    /// `max_buffered`.
    pub max_buffered: IntGauge,
    /// Clients and networks with a token bucket.
    pub clients_tracked: IntGauge,
    /// Requests over their client's rate that `dry_run` admitted.
    pub dry_run: IntCounter,
}

impl LoadMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name, help| register::gauge(registry, name, help);
        Self {
            in_flight: gauge(
                "gatherd_gathers_in_flight",
                "Gathers whose response has not left.",
            ),
            max_in_flight: gauge(
                "gatherd_max_in_flight",
                "Gathers that there may be at once.",
            ),
            buffered: gauge("gatherd_buffered_bytes", "Bytes of replies held."),
            max_buffered: gauge(
                "gatherd_max_buffered_bytes",
                "Bytes of replies that may be held at once.",
            ),
            clients_tracked: gauge(
                "gatherd_clients_tracked",
                "Clients and networks with a token bucket.",
            ),
            dry_run: register::counter(
                registry,
                "gatherd_dry_run_admitted_total",
                "Requests over their client's rate that dry_run admitted.",
            ),
        }
    }
}
