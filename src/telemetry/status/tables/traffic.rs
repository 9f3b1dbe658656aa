//! What becomes of requests and calls: routes and upstreams.

use super::per_second;
use crate::metrics::UNROUTED;
use crate::telemetry::status::figures::{age, milliseconds, number, share};
use crate::telemetry::status::model::{RouteRates, RouteStatus, Status, UpstreamStatus};
use crate::telemetry::status::table::{Row, Table};

/// The routes, in the last minute and the last five.
pub(super) fn routes(status: &Status) -> Table {
    let columns = [
        "ROUTE, 1 min",
        "good/s",
        "good",
        "errors/s",
        "left/s",
        "p50",
        "p99",
        "deadline",
    ];
    let mut table = Table::new("routes", "Routes", &columns);
    let shown = |route: &&RouteStatus| route.route != UNROUTED || route.five_minutes.requests > 0.0;
    table.rows = status
        .routes
        .iter()
        .filter(shown)
        .map(|route| {
            let mut row = Row::new(rates(
                &route.route,
                &route.minute,
                milliseconds(route.deadline_ms),
            ))
            .at(&status.findings, &format!("route {}", route.route));
            if route.five_minutes.requests > 0.0 {
                row.small = rates("  in 5 min", &route.five_minutes, String::new()).into();
            }
            row.notes = route_notes(route);
            row
        })
        .collect();
    table
}

fn rates(name: &str, rates: &RouteRates, deadline: String) -> [String; 8] {
    [
        name.to_owned(),
        number(rates.good),
        share(rates.good_share),
        number(rates.errors),
        number(rates.left),
        milliseconds(rates.p50_ms),
        milliseconds(rates.p99_ms),
        deadline,
    ]
}

fn route_notes(route: &RouteStatus) -> Vec<String> {
    let mut notes = Vec::new();
    if !route.policy.is_empty() && route.route != UNROUTED {
        notes.push(format!("policy: {}", route.policy));
    }
    let hedges = [
        route.hedges_started,
        route.hedges_won,
        route.hedges_held_back,
    ];
    if hedges[0] + hedges[2] > 0.0 {
        let [started, won, held] = hedges.map(number);
        notes.push(format!(
            "hedges/s: started {started}, won {won}, held back {held}"
        ));
    }
    if let Some(tail) = &route.tail {
        let times = [
            tail.p99_ms,
            tail.p999_ms,
            tail.p99_without_ms,
            tail.p999_without_ms,
        ];
        let [p99, p999, p99_without, p999_without] = times.map(|time| milliseconds(Some(time)));
        notes.push(format!(
            "slowest: p99 {p99}, p99.9 {p999}; without hedges {p99_without}, {p999_without}; {} more calls",
            share(Some(tail.extra_calls))
        ));
    }
    notes
}

/// The upstreams, in the last five minutes.
pub(super) fn upstreams(status: &Status) -> Table {
    let columns = [
        "UPSTREAM, 5 min",
        "calls/s",
        "succeed",
        "p50",
        "p99",
        "run",
        "linger",
        "of",
        "wait",
    ];
    let row = |upstream: &UpstreamStatus| {
        let cells = [
            upstream.upstream.clone(),
            number(upstream.calls),
            share(part(upstream.succeeded, upstream)),
            milliseconds(upstream.p50_ms),
            milliseconds(upstream.p99_ms),
            upstream.running.to_string(),
            upstream.lingering.to_string(),
            upstream.max_calls.to_string(),
            upstream.waiting.to_string(),
        ];
        let mut row = Row::new(cells).of(upstream.running + upstream.lingering, upstream.max_calls);
        row.notes = upstream_notes(upstream);
        row.at(&status.findings, &format!("upstream {}", upstream.upstream))
    };
    Table::new("upstreams", "Upstreams", &columns).rows(status.upstreams.iter().map(row))
}

/// A part of the branches of an upstream.
fn part(rate: f64, upstream: &UpstreamStatus) -> Option<f64> {
    (upstream.branches > 0.0).then(|| rate / upstream.branches)
}

fn upstream_notes(upstream: &UpstreamStatus) -> Vec<String> {
    let mut notes = Vec::new();
    let failures = upstream.failures.iter().map(|failure| {
        let part = share(part(failure.rate, upstream));
        format!("{} {part} ({})", failure.kind, failure.count)
    });
    let failures: Vec<String> = failures.collect();
    if !failures.is_empty() {
        notes.push(format!("failures: {}", failures.join(", ")));
    }
    if upstream.retries > 0.0 {
        notes.push(format!("retries: {}", per_second(upstream.retries)));
    }
    notes.extend(upstream.breaker.map(|state| format!("breaker: {state}")));
    if !upstream.addresses.is_empty() {
        let age = upstream.addresses_age_seconds.map(age);
        let since = age.map_or(String::new(), |age| format!(", unchanged for {age}"));
        notes.push(format!("address: {}{since}", upstream.addresses.join(", ")));
    }
    notes
}
