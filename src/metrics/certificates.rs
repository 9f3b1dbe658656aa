//! What is counted of the certificates that clients are shown.

use std::time::{Duration, SystemTime};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGauge, Registry};

use super::outcomes::{count_outcome, outcomes, seconds_since_1970};
use super::register;

/// How long before its end the log, the status and the alerts begin to warn of a certificate.
pub const CERTIFICATE_ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The certificates that clients are shown, and how they change.
#[derive(Debug)]
pub struct CertificateMetrics {
    expiries: GaugeVec,
    starts: GaugeVec,
    /// 1 while a self-signed one stands in for the authority's.
    pub stands_in: IntGauge,
    changes: IntCounterVec,
    orders: IntCounterVec,
}

impl CertificateMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauges = |name, help| register::float_gauges(registry, name, help, &["certificate"]);
        Self {
            expiries: gauges(
                "gatherd_certificate_expiry_timestamp_seconds",
                "When a certificate for clients expires, in seconds since 1970.",
            ),
            starts: gauges(
                "gatherd_certificate_not_before_timestamp_seconds",
                "From when on a certificate for clients is valid, in seconds since 1970.",
            ),
            stands_in: register::gauge(
                registry,
                "gatherd_acme_stand_in",
                "1 while a self-signed certificate stands in for that of tls.acme, which clients do not trust.",
            ),
            changes: outcomes(
                registry,
                "gatherd_certificate_changes_total",
                "Changed certificate files: ok are in use, failed could not be used.",
            ),
            orders: outcomes(
                registry,
                "gatherd_acme_orders_total",
                "Certificates asked for from the authority of tls.acme, by their outcome.",
            ),
        }
    }

    /// The certificates that clients are shown from now on, each with a name, and from when until when
    /// it is valid.
    pub fn shown<'a>(&self, certificates: impl IntoIterator<Item = (&'a str, [SystemTime; 2])>) {
        self.expiries.reset();
        self.starts.reset();
        for (name, [start, expiry]) in certificates {
            let gauge = self.starts.with_label_values(&[name]);
            gauge.set(seconds_since_1970(start));
            let gauge = self.expiries.with_label_values(&[name]);
            gauge.set(seconds_since_1970(expiry));
        }
    }

    /// The files of a certificate changed, and it is in use or cannot be used.
    pub fn changed(&self, used: bool) {
        count_outcome(&self.changes, used);
    }

    /// An authority was asked for a certificate, and gave it or did not.
    pub fn ordered(&self, given: bool) {
        count_outcome(&self.orders, given);
    }

    /// The certificate that expires first, and when, in seconds since 1970.
    #[must_use]
    pub fn first_to_expire(&self) -> Option<(String, f64)> {
        let named = by_name(&self.expiries);
        named
            .into_iter()
            .min_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// The certificate that is valid last, and from when on, in seconds since 1970.
    #[must_use]
    pub fn last_to_be_valid(&self) -> Option<(String, f64)> {
        let named = by_name(&self.starts);
        named
            .into_iter()
            .max_by(|one, other| one.1.total_cmp(&other.1))
    }
}

/// What gauges with one label show, by that label.
fn by_name(gauges: &GaugeVec) -> Vec<(String, f64)> {
    let families = gauges.collect();
    let metrics = families.iter().flat_map(MetricFamily::get_metric);
    let named = metrics.filter_map(|metric| {
        let name = metric.get_label().first()?.value().to_owned();
        Some((name, metric.get_gauge().get_value()))
    });
    named.collect()
}
