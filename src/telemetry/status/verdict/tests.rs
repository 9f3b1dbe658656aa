use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::metrics::Counts;
use crate::telemetry::status::window::{Sample, Samples};
use crate::telemetry::status::{CertificateStatus, RefusalStatus, ReloadStatus, RouteRates};

fn found(status: &Status) -> Vec<(Health, String)> {
    let now = Sample {
        at: Instant::now(),
        counts: Arc::new(Counts::default()),
    };
    let window = Samples::new(now.clone()).window(&now, std::time::Duration::ZERO);
    findings(status, &window)
        .into_iter()
        .map(|finding| (finding.health, finding.subject))
        .collect()
}

fn route(good_share: f64, p99_ms: f64) -> RouteStatus {
    RouteStatus {
        route: "/x".to_owned(),
        deadline_ms: Some(1000.0),
        minute: RouteRates {
            good_share: Some(good_share),
            p99_ms: Some(p99_ms),
            ..RouteRates::default()
        },
        ..RouteStatus::default()
    }
}

#[test]
fn a_healthy_service_has_no_findings() {
    let status = Status {
        routes: vec![route(0.995, 500.0)],
        load: LoadStatus {
            in_flight: 80,
            max_in_flight: 100,
            ..LoadStatus::default()
        },
        ..Status::default()
    };
    assert_eq!(found(&status), []);
}

#[test]
fn the_worst_comes_first_and_each_says_where_it_is() {
    let refusal = |limit: &str, minute| RefusalStatus {
        limit: limit.to_owned(),
        minute,
        ..RefusalStatus::default()
    };
    let status = Status {
        routes: vec![route(0.98, 900.0), route(0.5, 1.0)],
        refusals: vec![
            refusal("requests_per_second", 9.0),
            refusal("max_wait", 0.1),
        ],
        resources: ResourceStatus {
            steal: 0.3,
            loop_lag_ms: 600.0,
            ..ResourceStatus::default()
        },
        certificate: Some(CertificateStatus {
            name: "tls".to_owned(),
            expires: 0.0,
            seconds_left: 10.0 * DAY,
        }),
        ..Status::default()
    };
    let found = found(&status);
    let (trouble, warning): (Vec<_>, Vec<_>) = found
        .iter()
        .partition(|(health, _)| *health == Health::Trouble);
    let subjects = |found: &[&(Health, String)]| -> Vec<String> {
        found.iter().map(|(_, subject)| subject.clone()).collect()
    };
    assert_eq!(found[0].0, Health::Trouble);
    assert_eq!(subjects(&trouble), ["route /x", "limit max_wait", "host"]);
    assert_eq!(
        subjects(&warning),
        ["route /x", "route /x", "host", "certificate tls"]
    );
}

#[test]
fn a_refused_reload_and_an_expired_certificate_are_told() {
    let mut status = Status::default();
    status.process.last_reload = Some(ReloadStatus {
        at: 0.0,
        applied: false,
    });
    status.certificate = Some(CertificateStatus {
        name: "tls".to_owned(),
        expires: 0.0,
        seconds_left: -1.0,
    });
    assert_eq!(
        found(&status),
        [
            (Health::Trouble, "certificate tls".to_owned()),
            (Health::Warning, "configuration".to_owned())
        ]
    );
}
