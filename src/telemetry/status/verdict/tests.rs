use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::metrics::Counts;
use crate::telemetry::status::window::{Sample, Samples};
use crate::telemetry::status::{
    CertificateStatus, FailureStatus, RefusalStatus, ReloadStatus, RouteRates,
};

fn found(status: &Status) -> Vec<(Health, String)> {
    let of = |finding: Finding| (finding.health, finding.subject);
    all(status).into_iter().map(of).collect()
}

/// All of a status whose upstreams were the same in the last minute.
fn all(status: &Status) -> Vec<Finding> {
    let now = Sample {
        at: Instant::now(),
        counts: Arc::new(Counts::default()),
    };
    let window = Samples::new(now.clone()).window(&now, std::time::Duration::ZERO);
    let lately = Lately {
        upstreams: &status.upstreams,
        seconds: 60.0,
        five_minutes: &window,
    };
    findings(status, &lately)
}

fn route(good_share: f64, p99_ms: f64) -> RouteStatus {
    RouteStatus {
        route: "/x".to_owned(),
        deadline_ms: Some(1000.0),
        minute: RouteRates {
            good_share: Some(good_share),
            errors: 10.0 * (1.0 - good_share),
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

fn upstream(failed: f64, succeeded: f64) -> UpstreamStatus {
    UpstreamStatus {
        upstream: "work".to_owned(),
        branches: failed + succeeded,
        succeeded,
        failures: vec![FailureStatus {
            kind: "connect".to_owned(),
            count: 0,
            rate: failed,
        }],
        ..UpstreamStatus::default()
    }
}

#[test]
fn an_upstream_that_fails_comes_before_the_route_that_suffers() {
    let status = Status {
        routes: vec![route(0.5, 1.0)],
        upstreams: vec![upstream(9.2, 0.8)],
        ..Status::default()
    };
    let found = all(&status);
    assert_eq!(found[0].subject, "upstream work");
    let text = "92.0 % of its calls end in `connect` (last minute)";
    assert_eq!(found[0].text, text);
    assert_eq!(found[1].subject, "route /x");
}

#[test]
fn a_few_failures_in_a_minute_are_chance() {
    let mut quiet = route(0.5, 1.0);
    quiet.minute.errors = 4.0 / 60.0;
    let status = Status {
        routes: vec![quiet],
        upstreams: vec![upstream(4.0 / 60.0, 0.0)],
        ..Status::default()
    };
    assert_eq!(found(&status), []);
}
