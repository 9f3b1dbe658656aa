use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::metrics::{Counts, Handshake, Limit, Refuses};
use crate::telemetry::status::window::{Sample, Samples};
use crate::telemetry::status::{
    CertificateStatus, ClientStatus, FailureStatus, RefusalStatus, ReloadStatus, ResourceStatus,
    RouteRates, RouteStatus,
};

fn found(status: &Status) -> Vec<(Health, String)> {
    let of = |finding: Finding| (finding.health, finding.subject);
    all(status).into_iter().map(of).collect()
}

/// All of a status whose upstreams were the same in the last minute.
fn all(status: &Status) -> Vec<Finding> {
    all_when(status, &[], &[])
}

fn all_when(
    status: &Status,
    routes_now: &[RouteStatus],
    upstreams_now: &[UpstreamStatus],
) -> Vec<Finding> {
    let now = Sample {
        at: Instant::now(),
        counts: Arc::new(Counts::default()),
    };
    let window = Samples::new(now.clone()).window(&now, std::time::Duration::ZERO);
    let lately = Lately {
        upstreams: &status.upstreams,
        seconds: 60.0,
        routes_now,
        upstreams_now,
        five_minutes: &window,
    };
    findings(status, &lately)
}

fn route(good_share: f64, p99_ms: f64) -> RouteStatus {
    RouteStatus {
        route: "/x".to_owned(),
        deadline_ms: Some(1000.0),
        minute: RouteRates {
            requests: 10.0,
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
    let refusal = |limit, minute| RefusalStatus {
        limit,
        minute,
        five_minutes: minute,
        total: 1,
    };
    let status = Status {
        routes: vec![route(0.98, 900.0), route(0.5, 1.0)],
        refusals: vec![
            refusal(Limit::RequestsPerSecond, 4.0),
            refusal(Limit::MaxWait, 0.1),
        ],
        resources: ResourceStatus {
            steal: 0.3,
            loop_lag_ms: 1_200.0,
            ..ResourceStatus::default()
        },
        certificate: Some(CertificateStatus {
            name: "tls".to_owned(),
            expires: 0.0,
            seconds_left: 10.0 * DAY,
            ..CertificateStatus::default()
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
    assert_eq!(
        subjects(&trouble),
        ["limit max_wait", "route /x", "event loop"]
    );
    assert_eq!(
        subjects(&warning),
        ["route /x", "route /x", "steal", "certificate tls"]
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
        ..CertificateStatus::default()
    });
    assert_eq!(
        found(&status),
        [
            (Health::Trouble, "certificate tls".to_owned()),
            (Health::Warning, "configuration".to_owned())
        ]
    );
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_trouble() {
    let status = Status {
        certificate: Some(CertificateStatus {
            name: "tls".to_owned(),
            expires: 90.0 * DAY,
            seconds_left: 90.0 * DAY,
            seconds_to_valid: 60.0,
            stands_in: false,
        }),
        ..Status::default()
    };
    let trouble = (Health::Trouble, "certificate tls".to_owned());
    assert_eq!(found(&status), [trouble]);
}

#[test]
fn a_certificate_that_stands_in_for_the_authoritys_is_trouble() {
    let certificate = CertificateStatus {
        name: "tls.acme".to_owned(),
        seconds_left: 10.0 * DAY,
        stands_in: true,
        ..CertificateStatus::default()
    };
    let status = Status {
        certificate: Some(certificate),
        ..Status::default()
    };
    let trouble = (Health::Trouble, "certificate tls.acme".to_owned());
    assert_eq!(found(&status), [trouble]);
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

#[test]
fn clients_that_do_not_wait_for_the_answer_are_a_sign() {
    let leaving = |left, good| RouteStatus {
        route: "/x".to_owned(),
        minute: RouteRates {
            left,
            good,
            ..RouteRates::default()
        },
        ..RouteStatus::default()
    };
    let silent = UpstreamStatus {
        upstream: "work".to_owned(),
        unfinished: 20.0,
        ..UpstreamStatus::default()
    };
    let mut status = Status {
        routes: vec![leaving(10.0, 0.0)],
        upstreams: vec![silent],
        ..Status::default()
    };
    let found = all(&status);
    assert_eq!(found[0].subject, "upstream work");
    assert_eq!(
        found[1].text,
        "100.0 % of its clients left before the answer (10.0 a second in the last minute)"
    );
    assert!(found.iter().all(|it| it.health == Health::Trouble));
    // Some always leave, and the slower of two upstreams is not to blame when none does.
    status.routes = vec![leaving(0.4, 10.0)];
    assert_eq!(all(&status), []);
    status.routes = vec![leaving(1.0, 10.0)];
    assert!(all(&status).iter().all(|it| it.health == Health::Warning));
}

#[test]
fn a_limit_of_clients_that_refuses_many_is_told_with_the_busiest() {
    let refused = |limit, minute, requests| Status {
        routes: vec![RouteStatus {
            minute: RouteRates {
                requests,
                ..RouteRates::default()
            },
            ..RouteStatus::default()
        }],
        refusals: vec![RefusalStatus {
            limit,
            minute,
            five_minutes: minute,
            total: 1,
        }],
        clients: vec![ClientStatus {
            client: "192.0.2.7".to_owned(),
            requests: 40.0,
        }],
        ..Status::default()
    };
    let many = all(&refused(Limit::RequestsPerSecond, 30.0, 1000.0));
    assert_eq!(many[0].subject, "limit requests_per_second");
    assert!(many[0].text.contains("192.0.2.7"), "{many:?}");
    assert_eq!(all(&refused(Limit::RequestsPerSecond, 1.0, 1.5)).len(), 1);
    assert_eq!(all(&refused(Limit::RequestsPerSecond, 1.0, 100.0)), []);
    assert_eq!(all(&refused(Limit::ConnectionsPerSecond, 1.0, 0.0)), []);
    assert_eq!(all(&refused(Limit::Access, 1000.0, 1000.0)), []);
}

#[test]
fn handshakes_that_mostly_fail_are_told() {
    let told = |completed, failed| {
        let mut counts = Counts {
            handshakes: vec![0; Handshake::ALL.len()],
            ..Counts::default()
        };
        let now = Instant::now();
        let sample = |counts: &Counts, at| Sample {
            at,
            counts: Arc::new(counts.clone()),
        };
        let samples = Samples::new(sample(&counts, now));
        counts.handshakes[Handshake::Completed as usize] = completed;
        *counts.handshakes.last_mut().unwrap() = failed;
        let later = now + std::time::Duration::from_secs(300);
        let window = samples.window(&sample(&counts, later), std::time::Duration::ZERO);
        let mut found = Vec::new();
        traffic::handshakes(&window, &mut found);
        found.len()
    };
    assert_eq!([told(100, 400), told(500, 400), told(0, 200)], [1, 0, 0]);
}

#[test]
fn a_late_event_loop_says_who_has_the_core() {
    let late = |loop_lag_ms, cpu| {
        let mut status = Status::default();
        status.resources.loop_lag_ms = loop_lag_ms;
        status.resources.cpu = cpu;
        all(&status)
    };
    assert_eq!(late(200.0, 0.0), []);
    assert!(
        late(300.0, 0.95)[0]
            .text
            .ends_with("gatherd fills its core")
    );
    assert!(late(300.0, 0.04)[0].text.ends_with("so others take it"));
}

#[test]
fn what_is_over_is_said_to_be() {
    let status = Status {
        routes: vec![route(0.5, 1.0)],
        upstreams: vec![upstream(5.0, 5.0)],
        ..Status::default()
    };
    let mut good = route(1.0, 1.0);
    good.minute.good = 10.0;
    let mut well = upstream(0.0, 10.0);
    well.failures.clear();
    let texts = |found: Vec<Finding>| found.into_iter().map(|it| it.text).collect::<Vec<_>>();
    let over = texts(all_when(&status, &[good], &[well]));
    assert_eq!(
        over,
        [
            "50.0 % of its calls end in `connect` (last minute, none in the last ten seconds)",
            "50.0 % of its answers in the last minute were errors (5.0 a second, none in the last ten seconds)",
        ]
    );
    let still = texts(all_when(&status, &status.routes, &status.upstreams));
    assert!(still.iter().all(|text| !text.contains("none")), "{still:?}");
}

#[test]
fn one_request_that_failed_when_there_was_no_other_is_told() {
    let mut only = route(0.0, 1.0);
    only.minute.errors = 1.0 / 60.0;
    let status = Status {
        routes: vec![only],
        ..Status::default()
    };
    let found = all(&status);
    assert_eq!(found[0].subject, "route /x");
    assert_eq!(found[0].health, Health::Warning);
    assert!(found[0].text.starts_with("1 of 1 answers"), "{found:?}");
}

#[test]
fn connections_refused_in_numbers_that_other_clients_would_notice_are_told() {
    let found = |refused: f64, accepted: f64| {
        let mut status = Status {
            refusals: vec![RefusalStatus {
                limit: Limit::ConnectionsPerSecond,
                minute: refused / 60.0,
                five_minutes: refused / 300.0,
                total: 49,
            }],
            ..Status::default()
        };
        status.load.connections_accepted = accepted / 60.0;
        found(&status)
    };
    let warning = (Health::Warning, "limit connections_per_second".to_owned());
    assert_eq!(found(49.0, 151.0), [warning]);
    assert_eq!(found(4.0, 1.0), []);
    assert_eq!(found(10.0, 990.0), []);
}

#[test]
fn the_alerts_have_the_thresholds_and_limits_of_the_status() {
    let alerts = include_str!("../../../../deploy/prometheus/alerts.yml");
    let rule = |name: &str| {
        let (_, rest) = alerts
            .split_once(&format!("- alert: {name}\n"))
            .unwrap_or_else(|| panic!("no alert {name}"));
        rest.split("- alert:").next().unwrap().to_owned()
    };
    let days = crate::metrics::CERTIFICATE_ENDS_SOON.as_secs() / 86_400;
    for (name, has) in [
        (
            "GatherdErrors",
            format!("> {}\n", thresholds::ERRORS.trouble),
        ),
        (
            "GatherdUpstreamFails",
            format!("> {}\n", thresholds::ERRORS.trouble),
        ),
        ("GatherdHandshakesFail", format!("> {}\n", thresholds::MOST)),
        ("GatherdSlow", format!("> {} *", thresholds::SLOW)),
        ("GatherdClientsLimited", format!("> {}\n", thresholds::MANY)),
        ("GatherdUpstreamBusy", format!("> {CLOSE} *")),
        ("GatherdDescriptors", format!("> {CLOSE} *")),
        ("GatherdMemory", format!("> {CLOSE} *")),
        ("GatherdCertificateExpires", format!("< {days} * 86400\n")),
    ] {
        assert!(rule(name).contains(&has), "{name}: {has}");
    }
    let limits = |kinds: &[Refuses]| {
        let of = |limit: &&Limit| kinds.contains(&limit.refuses());
        let names = Limit::ALL.iter().filter(of).map(|limit| limit.name());
        names.collect::<BTreeSet<_>>()
    };
    for (name, kinds) in [
        ("GatherdRefusesWork", [Refuses::AnyClient].as_slice()),
        (
            "GatherdClientsLimited",
            &[Refuses::RequestsOfOne, Refuses::ConnectionsOfOne],
        ),
    ] {
        let rule = rule(name);
        let (_, rest) = rule.split_once("limit=~\"").unwrap();
        let named = rest.split('"').next().unwrap().split('|');
        assert_eq!(named.collect::<BTreeSet<_>>(), limits(kinds), "{name}");
    }
}
