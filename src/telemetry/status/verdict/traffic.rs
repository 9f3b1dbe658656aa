//! What becomes of the requests: upstreams that fail, limits that refuse, answers that do not come.

use super::thresholds::{ERRORS, FEW, LEFT, MANY, MOST, REFUSED_CONNECTIONS, SLOW};
use super::{Lately, finding, is_close, percent, trouble, warning};
use crate::metrics::{Handshake, Refuses};
use crate::telemetry::status::model::{Finding, Health, RouteStatus, Status, UpstreamStatus};
use crate::telemetry::status::window::Window;

/// A part of a whole that may be nothing.
fn part(of: f64, whole: f64) -> f64 {
    if whole > 0.0 { of / whole } else { 0.0 }
}

/// Added to what the last minute was, so that what is mended is not mended again.
fn over(is_over: bool) -> &'static str {
    if is_over {
        ", none in the last ten seconds"
    } else {
        ""
    }
}

pub(super) fn routes(status: &Status, lately: &Lately<'_>, found: &mut Vec<Finding>) {
    let seconds = lately.seconds;
    for route in &status.routes {
        let same = |now: &&RouteStatus| now.route == route.route && now.policy == route.policy;
        let now = lately.routes_now.iter().find(same).map(|now| now.minute);
        let good = now.filter(|now| now.good > 0.0);
        let subject = format!("route {}", route.route);
        let minute = &route.minute;
        let bad = 1.0 - minute.good_share.unwrap_or(1.0);
        let errors = minute.errors * seconds;
        if minute.good_share == Some(0.0) && errors > 0.0 && errors < FEW {
            let text = format!("{errors:.0} of {errors:.0} answers in the last minute were errors");
            found.push(warning(subject.clone(), text));
        } else if let Some(health) = ERRORS.badness(bad).filter(|_| errors >= FEW) {
            let text = format!(
                "{} of its answers in the last minute were errors ({:.1} a second{})",
                percent(bad),
                minute.errors,
                over(good.is_some_and(|now| now.errors == 0.0)),
            );
            found.push(finding(health, subject.clone(), text));
        }
        if let Some((health, share)) = clients_leave(route, seconds) {
            let text = format!(
                "{} of its clients left before the answer ({:.1} a second in the last minute{})",
                percent(share),
                minute.left,
                over(good.is_some_and(|now| now.left == 0.0)),
            );
            found.push(finding(health, subject.clone(), text));
        }
        if let (Some(p99), Some(deadline)) = (minute.p99_ms, route.deadline_ms)
            && p99 >= SLOW * deadline
        {
            let text = format!("p99 is {p99:.0} ms, and the deadline comes at {deadline:.0} ms");
            found.push(warning(subject, text));
        }
    }
}

/// Whether too many do not wait for the answer, and their share of those that could have had one.
fn clients_leave(route: &RouteStatus, seconds: f64) -> Option<(Health, f64)> {
    let minute = &route.minute;
    let share = part(minute.left, minute.left + minute.good + minute.errors);
    let health = LEFT
        .badness(share)
        .filter(|_| minute.left * seconds >= FEW)?;
    Some((health, share))
}

pub(super) fn upstreams(status: &Status, lately: &Lately<'_>, found: &mut Vec<Finding>) {
    let leave = |route| clients_leave(route, lately.seconds).map(|(health, _)| health);
    let clients_leave = status.routes.iter().filter_map(leave).max();
    for upstream in lately.upstreams {
        let subject = format!("upstream {}", upstream.upstream);
        found.extend(fails(upstream, &subject, lately));
        if let Some(state) = upstream.breaker {
            let text =
                format!("its breaker is {state}: too many calls failed, and none are made for now");
            found.push(trouble(subject.clone(), text));
        }
        if let Some(health) = clients_leave.filter(|_| is_silent(upstream, lately.seconds)) {
            let text = format!(
                "none of its calls had a reply before the gather was over ({:.1} a second in the last minute)",
                upstream.unfinished
            );
            found.push(finding(health, subject.clone(), text));
        }
        let calls = upstream.running + upstream.lingering;
        if is_close(calls, upstream.max_calls) {
            let text = format!(
                "{calls} of at most {} calls run or linger, {} branches wait",
                upstream.max_calls, upstream.waiting
            );
            found.push(warning(subject, text));
        }
    }
}

fn fails(upstream: &UpstreamStatus, subject: &str, lately: &Lately<'_>) -> Option<Finding> {
    let failed: f64 = upstream.failures.iter().map(|failure| failure.rate).sum();
    let share = part(failed, upstream.branches);
    let health = ERRORS
        .badness(share)
        .filter(|_| failed * lately.seconds >= FEW)?;
    let ends = upstream.failures.iter().map(|failure| {
        let part = percent(failure.rate / upstream.branches);
        format!("{part} of its calls end in `{}`", failure.kind)
    });
    let ends: Vec<_> = ends.collect();
    let mut now = lately.upstreams_now.iter();
    let now = now.find(|now| now.upstream == upstream.upstream);
    let is_over = now.is_some_and(|now| now.failures.is_empty() && now.succeeded > 0.0);
    let text = format!("{} (last minute{})", ends.join(", "), over(is_over));
    Some(finding(health, subject, text))
}

/// The slower one of `first` is so too, and well: it takes clients that do not wait to blame it.
fn is_silent(upstream: &UpstreamStatus, seconds: f64) -> bool {
    upstream.branches == 0.0 && upstream.unfinished * seconds >= FEW
}

pub(super) fn refusals(status: &Status, seconds: f64, found: &mut Vec<Finding>) {
    let requests: f64 = status
        .routes
        .iter()
        .map(|route| route.minute.requests)
        .sum();
    for refusal in &status.refusals {
        let (limit, rate) = (refusal.limit, refusal.minute);
        let subject = format!("limit {}", limit.name());
        let is_many = match limit.refuses() {
            Refuses::AnyClient if rate > 0.0 => {
                let text =
                    format!("refuses {rate:.1} requests a second, of any client (last minute)");
                found.push(trouble(subject, text));
                continue;
            }
            Refuses::AnyClient | Refuses::AsConfigured => false,
            Refuses::RequestsOfOne => {
                rate >= MANY || (rate * seconds >= FEW && rate >= MOST * requests)
            }
            Refuses::ConnectionsOfOne => {
                let accepted = status.load.connections_accepted;
                let is_share = rate * seconds >= FEW
                    && accepted > 0.0
                    && part(rate, rate + accepted) >= REFUSED_CONNECTIONS;
                rate >= MANY || is_share
            }
        };
        if is_many {
            let mut text = format!("refuses {rate:.1} a second (last minute)");
            if let Some(client) = status.clients.first() {
                text += &format!(
                    "; the busiest client, {}, asks {:.1} times a second",
                    client.client, client.requests
                );
            }
            found.push(warning(subject, text));
        }
    }
}

/// Strangers fail at any time; when most fail, and many, it may be ours.
pub(super) fn handshakes(five_minutes: &Window, found: &mut Vec<Finding>) {
    let of = |handshake: Handshake| {
        five_minutes.rise(|counts| {
            let count = counts.handshakes.get(handshake as usize);
            count.copied().unwrap_or_default()
        })
    };
    let all = five_minutes.rise(|counts| counts.handshakes.iter().sum());
    let failed = five_minutes.rate(all - of(Handshake::Completed));
    let share = part(failed, five_minutes.rate(all));
    if failed >= 1.0 && share >= MOST {
        let text = format!(
            "{} of them fail ({failed:.1} a second, last five minutes); the log says why",
            percent(share)
        );
        found.push(warning("handshakes", text));
    }
}
