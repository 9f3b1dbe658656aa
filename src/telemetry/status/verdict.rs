//! Is it well, and if not, where: the rules, each with its threshold.

mod host;
mod thresholds;
mod traffic;

pub(super) use self::thresholds::CLOSE;
use self::thresholds::{CERTIFICATE_TROUBLE, DAY};
use super::model::{Finding, Health, LoadStatus, RouteStatus, Status, UpstreamStatus};
use super::shared_limit::SharedLimitStatus;
use super::window::Window;
use crate::metrics::CERTIFICATE_ENDS_SOON;

/// What of the last minutes is not in a [`Status`].
pub(super) struct Lately<'a> {
    /// The upstreams in the last minute.
    pub(super) upstreams: &'a [UpstreamStatus],
    /// How long that is; less in the first one.
    pub(super) seconds: f64,
    /// Routes and upstreams in the last ten seconds, for what is over already.
    pub(super) routes_now: &'a [RouteStatus],
    pub(super) upstreams_now: &'a [UpstreamStatus],
    pub(super) five_minutes: &'a Window,
}

/// What is wrong, the worst first, and causes before effects.
pub(super) fn findings(status: &Status, lately: &Lately<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if status.process.state == "draining" {
        found.push(warning("service", "is stopping"));
    }
    traffic::upstreams(status, lately, &mut found);
    traffic::refusals(status, lately.seconds, &mut found);
    traffic::handshakes(lately.five_minutes, &mut found);
    traffic::routes(status, lately, &mut found);
    load(&status.load, &mut found);
    found.extend(
        status
            .shared_limit
            .iter()
            .filter_map(SharedLimitStatus::finding),
    );
    host::resources(&status.resources, &mut found);
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

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
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

fn certificate(status: &Status, found: &mut Vec<Finding>) {
    let Some(certificate) = &status.certificate else {
        return;
    };
    let days = certificate.seconds_left / DAY;
    let subject = format!("certificate {}", certificate.name);
    if certificate.stands_in {
        let text = "there is none of the authority yet; clients do not trust what stands in";
        found.push(trouble("certificate tls.acme", text));
        return;
    }
    if certificate.seconds_to_valid > 0.0 {
        let days = certificate.seconds_to_valid / DAY;
        let text =
            format!("is not valid for another {days:.1} days, if this machine's clock is right");
        found.push(trouble(subject, text));
    } else if days <= 0.0 {
        found.push(trouble(subject, "has expired"));
    } else if days < CERTIFICATE_TROUBLE {
        found.push(trouble(subject, format!("expires in {days:.1} days")));
    } else if certificate.seconds_left < CERTIFICATE_ENDS_SOON.as_secs_f64() {
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
