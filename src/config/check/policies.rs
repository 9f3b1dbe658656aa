//! When a route's gather is over: policy, `need`, shape and hedging, and which of them belong
//! together.

use std::time::Duration;

use crate::config::key::Key;
use crate::config::problem::quoted;
use crate::config::raw::Route;
use crate::config::report::Report;
use crate::config::scalar::{PolicyName, Syntax, Text};
use crate::config::settings::{HedgeAfter, HedgeSettings, Shape};
use crate::gather::{Launch, Policy};

/// Used where neither `timeout` nor `max_timeout` says something longer or shorter.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What a branch that starts adds to the bucket of hedges when the route does not say.
const HEDGE_BUDGET: f64 = 0.05;
/// The least time before a hedge when the route does not say.
const HEDGE_MIN: Duration = Duration::from_millis(1);

/// The policy of a route; nothing when it cannot be known. `total` is the number of branches, when
/// that is known.
pub(super) fn policy(
    raw: &Route,
    total: Option<usize>,
    key: &Key,
    report: &mut Report<'_>,
) -> Option<Policy> {
    let Some(Text(name)) = raw.policy else {
        let allowed = "\"all\", \"first\", \"first_success\", \"quorum\" or \"available\"";
        report.missing(&key.name("policy"), allowed);
        return None;
    };
    let need = need(raw, name, total, &key.name("need"), report);
    Some(match name {
        PolicyName::All => Policy::All,
        PolicyName::First => Policy::First,
        PolicyName::FirstSuccess => Policy::FirstSuccess,
        PolicyName::Quorum => Policy::Quorum { need: need? },
        PolicyName::Available => Policy::Available {
            need: need.unwrap_or(1),
        },
    })
}

fn need(
    raw: &Route,
    policy: PolicyName,
    total: Option<usize>,
    key: &Key,
    report: &mut Report<'_>,
) -> Option<usize> {
    let Some(said) = raw.need else {
        if policy == PolicyName::Quorum {
            report.missing(key, "how many branches must succeed");
        }
        return None;
    };
    let (need, value) = (usize::try_from(said.0).ok()?, Some(said.0.to_string()));
    if !matches!(policy, PolicyName::Quorum | PolicyName::Available) {
        report.said(key, value, "belongs to the policies quorum and available");
    } else if let Some(total) = total.filter(|total| need > *total) {
        report.said(
            key,
            value,
            format_args!("1 to the number of branches, {total}"),
        );
    }
    Some(need)
}

/// Whether the route may answer with an object.
pub(super) fn shape(raw: &Route, key: &Key, report: &mut Report<'_>) -> Shape {
    let Text(shape) = raw.shape;
    if shape == Shape::Array {
        return shape;
    }
    let (at, value) = (key.name("shape"), Some("\"object\"".to_owned()));
    let unfit =
        |policy: &Text<PolicyName>| !matches!(policy.0, PolicyName::All | PolicyName::Available);
    if raw.policy.as_ref().is_some_and(unfit) {
        report.said(
            &at,
            value,
            "\"object\" belongs to the policies all and available",
        );
    } else if raw.branches.is_none() && !report.is_broken(&key.name("branches")) {
        report.said(&at, value, "\"object\" needs named `branches`");
    }
    shape
}

/// Which branches start when.
pub(super) fn launch(raw: &Route) -> Launch {
    let Some(Text(policy)) = raw.policy.filter(|_| raw.hedge_after.is_some()) else {
        return Launch::Together;
    };
    match policy {
        PolicyName::FirstSuccess => Launch::Staggered { at_once: 1 },
        PolicyName::Quorum => {
            let need = raw.need.map_or(1, |need| need.0);
            let at_once = usize::try_from(need).unwrap_or(1);
            Launch::Staggered { at_once }
        }
        PolicyName::All | PolicyName::First | PolicyName::Available => Launch::Together,
    }
}

/// When slow branches get a hedge.
pub(super) fn hedging(raw: &Route, key: &Key, report: &mut Report<'_>) -> Option<HedgeSettings> {
    let after_key = key.name("hedge_after");
    let Some(Text(after)) = raw.hedge_after else {
        let budget = raw.hedge_budget.map(|budget| budget.0.to_string());
        let min = raw.hedge_min.map(|min| shown(min.duration()));
        for (name, said) in [("hedge_budget", budget), ("hedge_min", min)] {
            if said.is_some() && !report.is_broken(&after_key) {
                let reason = "belongs to `hedge_after`, which is not there";
                report.said(&key.name(name), said, reason);
            }
        }
        return None;
    };
    if raw
        .policy
        .is_some_and(|policy| policy.0 == PolicyName::First)
    {
        let reason = "belongs to every policy but first, whose branches all start at once";
        report.said(&after_key, Some(quoted(&after.print())), reason);
    }
    if let (HedgeAfter::Duration(_), Some(min)) = (after, raw.hedge_min) {
        let reason = "belongs to a `hedge_after` that is a percentile or \"siblings\"";
        report.said(&key.name("hedge_min"), Some(shown(min.duration())), reason);
    }
    Some(HedgeSettings {
        after,
        min: raw.hedge_min.map_or(HEDGE_MIN, Text::duration),
        budget: raw.hedge_budget.map_or(HEDGE_BUDGET, |budget| budget.0),
    })
}

fn shown(duration: Duration) -> String {
    format!("\"{}\"", humantime::format_duration(duration))
}

/// `timeout` and `max_timeout`, each from the other where only one is said.
pub(super) fn limits(raw: &Route, key: &Key, report: &mut Report<'_>) -> (Duration, Duration) {
    let (timeout, max) = (
        raw.timeout.map(Text::duration),
        raw.max_timeout.map(Text::duration),
    );
    match (timeout, max) {
        (Some(timeout), Some(max)) => {
            if timeout > max {
                let value = humantime::format_duration(timeout);
                let max = humantime::format_duration(max);
                let allowed = format_args!("at most max_timeout, {max}").to_string();
                report.said(&key.name("timeout"), Some(format!("\"{value}\"")), allowed);
            }
            (timeout, max)
        }
        (Some(timeout), None) => (timeout, TIMEOUT.max(timeout)),
        (None, Some(max)) => (TIMEOUT.min(max), max),
        (None, None) => (TIMEOUT, TIMEOUT),
    }
}
