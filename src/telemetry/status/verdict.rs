//! Is it well, and if not, where: the rules, each with its threshold.

use super::model::{
    Finding, Health, LoadStatus, ResourceStatus, RouteStatus, Status, UpstreamStatus,
};
use super::shared_limit::SharedLimitStatus;
use super::window::Window;

/// Fewer failures than this in the last minute are chance.
const FEW: f64 = 5.0;
/// Shares of 5xx, and of branches that failed, in the last minute.
const ERRORS_WARNING: f64 = 0.01;
const ERRORS_TROUBLE: f64 = 0.05;
/// From this part of its limit on, something is close to it.
const CLOSE: f64 = 0.9;
/// A p99 from this part of the deadline on is close to it.
const SLOW: f64 = 0.8;
/// Milliseconds that a timer is late.
const LAG_WARNING: f64 = 100.0;
const LAG_TROUBLE: f64 = 500.0;
/// Part of the host's CPU that others get.
const STEAL_WARNING: f64 = 0.1;
/// Days before a certificate expires.
const CERTIFICATE_WARNING: f64 = 14.0;
const CERTIFICATE_TROUBLE: f64 = 3.0;
const DAY: f64 = 86_400.0;
/// Limits of the whole service: whoever is refused by them has done nothing wrong.
const OURS: [&str; 4] = [
    "max_connections",
    "max_in_flight",
    "max_wait",
    "max_buffered",
];

/// What of the last minutes is not in a [`Status`].
pub(super) struct Lately<'a> {
    /// The upstreams in the last minute.
    pub(super) upstreams: &'a [UpstreamStatus],
    /// How long that is; less in the first one.
    pub(super) seconds: f64,
    pub(super) five_minutes: &'a Window,
}

/// What is wrong, the worst first, and causes before effects.
pub(super) fn findings(status: &Status, lately: &Lately<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if status.process.state == "draining" {
        found.push(warning("service", "is stopping"));
    }
    let seconds = lately.seconds;
    let upstreams = lately.upstreams.iter();
    upstreams.for_each(|one| upstream(one, seconds, &mut found));
    let routes = status.routes.iter();
    routes.for_each(|one| route(one, seconds, &mut found));
    load(&status.load, &mut found);
    refusals(status, &mut found);
    found.extend(
        status
            .shared_limit
            .iter()
            .filter_map(SharedLimitStatus::finding),
    );
    resources(&status.resources, &mut found);
    certificate(status, &mut found);
    process(status, lately.five_minutes, &mut found);
    found.sort_by_key(|finding| std::cmp::Reverse(finding.health));
    found
}

fn warning(subject: impl Into<String>, text: impl Into<String>) -> Finding {
    finding(Health::Warning, subject, text)
}

fn trouble(subject: impl Into<String>, text: impl Into<String>) -> Finding {
    finding(Health::Trouble, subject, text)
}

fn finding(health: Health, subject: impl Into<String>, text: impl Into<String>) -> Finding {
    Finding {
        health,
        subject: subject.into(),
        text: text.into(),
    }
}

/// How bad a share of errors is; nothing when it is not.
fn badness(share: f64) -> Option<Health> {
    if share >= ERRORS_TROUBLE {
        Some(Health::Trouble)
    } else {
        (share >= ERRORS_WARNING).then_some(Health::Warning)
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn route(route: &RouteStatus, seconds: f64, found: &mut Vec<Finding>) {
    let subject = format!("route {}", route.route);
    let bad = 1.0 - route.minute.good_share.unwrap_or(1.0);
    if let Some(health) = badness(bad).filter(|_| route.minute.errors * seconds >= FEW) {
        let text = format!(
            "{} of its answers in the last minute were errors ({:.1} a second)",
            percent(bad),
            route.minute.errors
        );
        found.push(finding(health, subject.clone(), text));
    }
    if let (Some(p99), Some(deadline)) = (route.minute.p99_ms, route.deadline_ms)
        && p99 >= SLOW * deadline
    {
        let text = format!("p99 is {p99:.0} ms, and the deadline comes at {deadline:.0} ms");
        found.push(warning(subject, text));
    }
}

fn upstream(upstream: &UpstreamStatus, seconds: f64, found: &mut Vec<Finding>) {
    let subject = format!("upstream {}", upstream.upstream);
    let failed: f64 = upstream.failures.iter().map(|failure| failure.rate).sum();
    let share = if upstream.branches > 0.0 {
        failed / upstream.branches
    } else {
        0.0
    };
    if let Some(health) = badness(share).filter(|_| failed * seconds >= FEW) {
        let ends = upstream.failures.iter().map(|failure| {
            let part = percent(failure.rate / upstream.branches);
            format!("{part} of its calls end in `{}`", failure.kind)
        });
        let ends: Vec<_> = ends.collect();
        let text = format!("{} (last minute)", ends.join(", "));
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

#[expect(clippy::cast_precision_loss, reason = "a part need not be exact")]
fn is_close(value: i64, limit: i64) -> bool {
    limit > 0 && value as f64 >= CLOSE * limit as f64
}

fn load(load: &LoadStatus, found: &mut Vec<Finding>) {
    let connections = load.handshaking + load.idle + load.active;
    for (what, value, limit) in [
        ("gathers in flight", load.in_flight, load.max_in_flight),
        (
            "bytes of replies held",
            load.buffered_bytes,
            load.max_buffered_bytes,
        ),
        ("connections", connections, load.max_connections),
    ] {
        if is_close(value, limit) {
            found.push(warning(
                "load",
                format!("{value} of at most {limit} {what}"),
            ));
        }
    }
}

fn refusals(status: &Status, found: &mut Vec<Finding>) {
    for refusal in &status.refusals {
        if OURS.contains(&refusal.limit.as_str()) && refusal.minute > 0.0 {
            let text = format!(
                "refuses {:.1} a second, whoever asks (last minute)",
                refusal.minute
            );
            found.push(trouble(format!("limit {}", refusal.limit), text));
        }
    }
}

fn resources(resources: &ResourceStatus, found: &mut Vec<Finding>) {
    let lag = resources.loop_lag_ms;
    if lag >= LAG_WARNING {
        let health = if lag >= LAG_TROUBLE {
            Health::Trouble
        } else {
            Health::Warning
        };
        let text = format!("the serving core is full: timers are up to {lag:.0} ms late");
        found.push(finding(health, "host", text));
    }
    if resources.steal >= STEAL_WARNING {
        let text = format!(
            "the hypervisor gives {} of the CPU to others",
            percent(resources.steal)
        );
        found.push(warning("host", text));
    }
    if is_close(resources.resident_bytes, resources.memory_limit_bytes) {
        found.push(trouble("host", "memory is nearly used up"));
    }
    if is_close(resources.descriptors, resources.max_descriptors) {
        found.push(trouble("host", "descriptors are nearly used up"));
    }
    if resources.listen_drops > 0.0 {
        let text = format!(
            "listeners on this host drop {:.1} connections a second (last five minutes)",
            resources.listen_drops
        );
        found.push(warning("host", text));
    }
}

fn certificate(status: &Status, found: &mut Vec<Finding>) {
    let Some(certificate) = &status.certificate else {
        return;
    };
    let days = certificate.seconds_left / DAY;
    let subject = format!("certificate {}", certificate.name);
    if days <= 0.0 {
        found.push(trouble(subject, "has expired"));
    } else if days < CERTIFICATE_TROUBLE {
        found.push(trouble(subject, format!("expires in {days:.1} days")));
    } else if days < CERTIFICATE_WARNING {
        found.push(warning(subject, format!("expires in {days:.0} days")));
    }
}

fn process(status: &Status, five_minutes: &Window, found: &mut Vec<Finding>) {
    let reload = status.process.last_reload;
    if reload.is_some_and(|reload| !reload.applied) {
        let text = "the last reload was refused, and the one before holds; the log says why";
        found.push(warning("configuration", text));
    }
    let lost = five_minutes.rise(|counts| counts.log_lines_lost);
    if lost > 0 {
        found.push(warning(
            "log",
            format!("{lost} lines were lost in the last five minutes"),
        ));
    }
    let panics = five_minutes.rise(|counts| counts.panics);
    if panics > 0 {
        let text = format!("{panics} bugs in the last five minutes; the log has them");
        found.push(trouble("service", text));
    }
}

#[cfg(test)]
mod tests;
