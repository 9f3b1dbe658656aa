//! The last minute at a glance.

use super::per_second;
use crate::telemetry::status::figures::{milliseconds, number, share};
use crate::telemetry::status::model::{RouteStatus, Status};
use crate::telemetry::status::table::{Row, Table};

fn total(status: &Status, of: impl Fn(&RouteStatus) -> f64) -> f64 {
    status.routes.iter().map(of).sum()
}

/// One sentence about the traffic.
pub(super) fn summary(status: &Status) -> String {
    let requests = total(status, |route| route.minute.requests);
    let traffic = if requests > 0.0 {
        format!("{} requests a second in the last minute.", number(requests))
    } else {
        "No requests in the last minute.".to_owned()
    };
    match status.process.state {
        "ready" => traffic,
        state => format!("{traffic} The service is {state}."),
    }
}

/// The last minute: a name, a value, and what it means.
pub(super) fn glance(status: &Status) -> Table {
    let good = total(status, |route| route.minute.good);
    let errors = total(status, |route| route.minute.errors);
    let left = total(status, |route| route.minute.left);
    let refused: f64 = status.refusals.iter().map(|limit| limit.minute).sum();
    let unhappy: Vec<String> = [(errors, "errors"), (left, "left")]
        .into_iter()
        .filter(|(rate, _)| *rate > 0.0)
        .map(|(rate, what)| format!("{} {what}", per_second(rate)))
        .collect();
    let slowest = slowest(status);
    let figure =
        |name: &str, value: String, meaning: String| Row::new([name.to_owned(), value, meaning]);
    let (load, now) = (&status.load, &status.resources);
    Table::new("glance", "The last minute at a glance", &[]).rows([
        figure(
            "Good answers",
            per_second(good),
            format!(
                "{} over 5 min",
                per_second(total(status, |route| route.five_minutes.good))
            ),
        ),
        figure(
            "Good share",
            share((good + errors > 0.0).then(|| good / (good + errors))),
            if unhappy.is_empty() {
                "no errors".to_owned()
            } else {
                unhappy.join(", ")
            },
        ),
        figure(
            "p99, slowest route",
            milliseconds(slowest.and_then(|route| route.minute.p99_ms)),
            slowest.map_or("no requests".to_owned(), |route| {
                format!("of {}: {}", milliseconds(route.deadline_ms), route.route)
            }),
        ),
        figure(
            "In flight",
            load.in_flight.to_string(),
            format!("of {}", load.max_in_flight),
        ),
        figure(
            "Refused",
            per_second(refused),
            if refused > 0.0 {
                "see the limits below"
            } else {
                "none"
            }
            .to_owned(),
        ),
        figure(
            "CPU of a core",
            share(Some(now.cpu)),
            format!("event loop late by {}", milliseconds(Some(now.loop_lag_ms))),
        ),
    ])
}

/// The route whose slowest answers took longest.
fn slowest(status: &Status) -> Option<&RouteStatus> {
    let timed = status.routes.iter();
    let timed = timed.filter_map(|route| Some((route.minute.p99_ms?, route)));
    let slowest = timed.max_by(|one, other| one.0.total_cmp(&other.0));
    slowest.map(|(_, route)| route)
}
