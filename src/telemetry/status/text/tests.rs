use super::*;
use crate::metrics::Limit;
use crate::telemetry::status::{
    CertificateStatus, ClientStatus, FailureStatus, ProcessStatus, RefusalStatus, RouteRates,
    RouteStatus, TailStatus, UpstreamStatus,
};

fn rates(good: f64, errors: f64, p99_ms: f64) -> RouteRates {
    RouteRates {
        requests: good + errors,
        good,
        errors,
        good_share: Some(good / (good + errors)),
        p50_ms: Some(250.4),
        p99_ms: Some(p99_ms),
        ..RouteRates::default()
    }
}

fn route() -> RouteStatus {
    RouteStatus {
        route: "/api/all".to_owned(),
        policy: "all".to_owned(),
        deadline_ms: Some(10_000.0),
        minute: rates(24.0, 276.0, 611.0),
        five_minutes: rates(303.0, 0.02, 604.0),
        hedges_started: 0.0,
        hedges_won: 0.0,
        hedges_held_back: 0.0,
        tail: Some(TailStatus {
            p99_ms: 14.2,
            p999_ms: 18.0,
            p99_without_ms: 101.0,
            p999_without_ms: 103.0,
            extra_calls: 0.041,
        }),
    }
}

fn upstream() -> UpstreamStatus {
    UpstreamStatus {
        upstream: "work".to_owned(),
        addresses: vec!["192.0.2.1".to_owned()],
        addresses_age_seconds: Some(41.0),
        running: 498,
        waiting: 61,
        lingering: 12,
        max_calls: 512,
        branches: 100.0,
        succeeded: 8.0,
        failures: vec![FailureStatus {
            kind: "connect".to_owned(),
            count: 27_600,
            rate: 92.0,
        }],
        unfinished: 0.0,
        calls: 100.0,
        retries: 0.0,
        breaker: Some("half open"),
        p50_ms: Some(2.0),
        p99_ms: Some(2_000.0),
    }
}

fn in_trouble() -> Status {
    Status {
        at: 1_795_557_600.0,
        health: Health::Trouble,
        findings: vec![Finding {
            health: Health::Trouble,
            subject: "upstream work".to_owned(),
            text: "92 % of calls end in `connect`".to_owned(),
        }],
        process: ProcessStatus {
            version: "1.2.3",
            state: "ready",
            started: 1_795_550_000.0,
            ..ProcessStatus::default()
        },
        routes: vec![route()],
        upstreams: vec![upstream()],
        refusals: vec![RefusalStatus {
            limit: Limit::RequestsPerSecond,
            minute: 1.4,
            five_minutes: 1.3,
            total: 9_214,
        }],
        clients: vec![ClientStatus {
            client: "evil\u{1b}[2J".to_owned(),
            requests: 50.0,
        }],
        certificate: Some(CertificateStatus {
            name: "api.example.com".to_owned(),
            expires: 0.0,
            seconds_left: -90_000.0,
            ..CertificateStatus::default()
        }),
        ..Status::default()
    }
}

#[test]
fn the_first_lines_say_what_is_wrong_and_where() {
    let text = text(&in_trouble());
    let first: Vec<&str> = text.lines().take(2).collect();
    assert_eq!(
        first,
        ["Trouble:", "!! upstream work: 92 % of calls end in connect"]
    );
    assert!(super::text(&Status::default()).starts_with("All well\n"));
}

#[test]
fn every_figure_has_its_place() {
    let text = text(&in_trouble());
    for line in [
        "gatherd 1.2.3, ready, at 2026-11-24T22:00:00Z",
        "certificate     api.example.com EXPIRED 1 d 1 h ago",
        "/api/all          24   8.0 %       276       0  250 ms  611 ms      10 s\n  in 5 min       303  99.9 %      0.02       0  250 ms  604 ms\n",
        "work                 100    8.0 %  2 ms  2 s  498      12  512    61",
        "  failures: connect 92.0 % (27600)",
        "  address: 192.0.2.1, unchanged for 41 s",
        "  breaker: half open",
        "  slowest: p99 14 ms, p99.9 18 ms; without hedges 101 ms, 103 ms; 4.1 %",
        "requests_per_second       1.4       1.3         9214",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_terminal_obeys_nothing_that_came_from_outside() {
    let text = text(&in_trouble());
    assert!(text.contains("evil\u{fffd}[2J"), "{text}");
    assert!(!text.chars().any(|it| it.is_control() && it != '\n'));
}

#[test]
fn every_line_fits_a_terminal_of_80_columns() {
    let mut status = in_trouble();
    let mut large = route();
    large.route = format!("/api/{}/{{id}}", "x".repeat(60));
    large.minute = rates(123_456.0, 99_999.0, 59_949.0);
    large.minute.left = 99_999.0;
    status.routes.push(large);
    status.upstreams[0].failures = vec![status.upstreams[0].failures[0].clone(); 10];
    status.findings[0].text = "ends badly, ".repeat(20);
    status.process.last_stop = Some("killed, or the machine went down; ".repeat(3));
    status.resources.cpu_pressure = Some(0.123);
    status.resources.memory_pressure = Some(0.000_1);
    status.resources.io_pressure = Some(0.999);
    let text = text(&status);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}\n{text}");
    }
    assert!(
        text.contains(&format!("/api/{}/{{id}}\n", "x".repeat(60))),
        "{text}"
    );
}
