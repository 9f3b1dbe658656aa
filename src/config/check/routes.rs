//! `[[routes]]` and their branches.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;

use super::paths::{self, Paths};
use super::{NAME, headers, is_name, limits, policies};
use crate::config::key::Key;
use crate::config::problem::quoted;
use crate::config::raw::{self, Branch, Raw, Route};
use crate::config::report::Report;
use crate::config::scalar::{PolicyName, Text};
use crate::config::settings::{BranchSettings, RouteRateLimit, RouteSettings, UpstreamSettings};
use crate::config::target::Target;

/// A branch and its key: one of `branches`, or the route itself in the short form.
type Leg = (Key, Branch);

/// The upstreams by name, with their place among the settings.
struct Upstreams<'a> {
    said: &'a BTreeMap<String, raw::Upstream>,
    checked: &'a [Option<UpstreamSettings>],
}

/// Every route in the file's order; nothing when one of them is wrong.
pub(super) fn all(
    raw: &Raw,
    checked: &[Option<UpstreamSettings>],
    report: &mut Report<'_>,
) -> Option<Vec<RouteSettings>> {
    let upstreams = Upstreams {
        said: &raw.upstreams,
        checked,
    };
    let mut known = Paths::default();
    let mut routes = Vec::new();
    for (index, route) in raw.routes.iter().enumerate() {
        let key = Key::of("routes").index(index);
        let settled = one(route, &key, &upstreams, &mut known, report);
        routes.push(settled.map(|settled| RouteSettings {
            rate_limit: limits::of_route(route.rate_limit.as_ref(), &raw.rate_limit),
            ..settled
        }));
    }
    routes.into_iter().collect()
}

fn one(
    raw: &Route,
    key: &Key,
    upstreams: &Upstreams<'_>,
    known: &mut Paths,
    report: &mut Report<'_>,
) -> Option<RouteSettings> {
    let path = path(raw, &key.name("path"), known, report);
    let legs = legs(raw, key, report);
    let counted = !report.is_broken(&key.name("branches")) && !report.is_broken(&key.name("calls"));
    let total = legs.as_ref().map(Vec::len).filter(|_| counted);
    let policy = policies::policy(raw, total, key, report);
    let shape = policies::shape(raw, key, report);
    let hedging = policies::hedging(raw, key, report);
    let (timeout, max_timeout) = policies::limits(raw, key, report);
    let parameters = path.map(paths::parameters);
    let mut branches = Vec::new();
    let legs = legs?;
    for (position, leg) in legs.iter().enumerate() {
        // In the short form every leg is the route: its problems are told once.
        if position > 0 && leg.0 == legs[0].0 {
            let first = branches.first().cloned().flatten();
            branches.push(first.map(|first| BranchSettings {
                name: leg.1.name().into(),
                ..first
            }));
        } else {
            check_name(leg, &legs[..position], key, report);
            check_required(leg, raw.policy, report);
            branches.push(branch(leg, parameters.as_deref(), upstreams, report));
        }
    }
    Some(RouteSettings {
        path: path?.into(),
        policy: policy?,
        shape,
        branches: branches.into_iter().collect::<Option<_>>()?,
        launch: policies::launch(raw),
        hedging,
        timeout,
        max_timeout,
        rate_limit: RouteRateLimit::Shared,
        cache: raw.cache.as_ref().map(raw::Cache::settings),
        enabled: raw.enabled,
    })
}

fn path<'a>(
    raw: &'a Route,
    key: &Key,
    known: &mut Paths,
    report: &mut Report<'_>,
) -> Option<&'a str> {
    let Some(path) = raw.path.as_deref() else {
        report.missing(key, "a path, such as \"/api/profile/{id}\"");
        return None;
    };
    if let Err(bad) = known.add(path) {
        report.said(key, Some(quoted(path)), bad);
        return None;
    }
    Some(path)
}

/// The branches as they are written, or as `upstream` and `calls` mean them.
fn legs(raw: &Route, key: &Key, report: &mut Report<'_>) -> Option<Vec<Leg>> {
    let at = key.name("branches");
    let Some(branches) = &raw.branches else {
        if raw.upstream.is_none() {
            if !report.is_broken(&at) {
                report.missing(
                    &key.name("upstream"),
                    "`upstream` and `calls`, or `branches`",
                );
            }
            return None;
        }
        let calls = raw.calls.map_or(2, |calls| calls.0);
        return Some(
            (1..=calls)
                .map(|number| (key.clone(), short(raw, number)))
                .collect(),
        );
    };
    let lists = [
        ("forward_headers", &raw.forward_headers),
        ("forward_query", &raw.forward_query),
    ];
    let lists = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, _)| name);
    let upstream = raw.upstream.as_ref().map(|_| "upstream");
    let calls = raw.calls.map(|_| "calls");
    for name in upstream.into_iter().chain(calls).chain(lists) {
        let reason = "belongs to the short form; with `branches`, each branch says its own";
        report.said(&key.name(name), None, reason);
    }
    if !(1..=64).contains(&branches.len()) && !report.is_broken(&at) {
        report.said(
            &at,
            None,
            format_args!("1 to 64 branches, not {}", branches.len()),
        );
    }
    let leg = |(index, branch): (usize, &Branch)| (at.index(index), branch.clone());
    Some(branches.iter().enumerate().map(leg).collect())
}

fn short(raw: &Route, number: u32) -> Branch {
    Branch {
        name: Some(number.to_string()),
        upstream: raw.upstream.clone(),
        forward_headers: raw.forward_headers.clone(),
        forward_query: raw.forward_query.clone(),
        ..Branch::default()
    }
}

fn check_name((key, branch): &Leg, earlier: &[Leg], route: &Key, report: &mut Report<'_>) {
    if key == route {
        return;
    }
    let at = key.name("name");
    match branch.name.as_deref() {
        None => report.missing(&at, NAME),
        Some(name) if !is_name(name) => report.said(&at, Some(quoted(name)), NAME),
        Some(name) => {
            if earlier.iter().any(|(_, other)| other.name() == name) {
                report.said(
                    &at,
                    Some(quoted(name)),
                    "another branch of the route has this name",
                );
            }
        }
    }
}

fn check_required((key, branch): &Leg, policy: Option<Text<PolicyName>>, report: &mut Report<'_>) {
    if branch.required && policy.is_some_and(|policy| policy.0 != PolicyName::Available) {
        let reason = "belongs to the policy available";
        report.said(&key.name("required"), Some("true".to_owned()), reason);
    }
}

fn branch(
    (key, raw): &Leg,
    parameters: Option<&[&str]>,
    upstreams: &Upstreams<'_>,
    report: &mut Report<'_>,
) -> Option<BranchSettings> {
    let upstream = upstreams.find(raw.upstream.as_deref(), &key.name("upstream"), report);
    let index = upstream.map(|(index, _)| index);
    let settings = upstream.and_then(|(_, settings)| settings);
    let target = target(raw, &key.name("target"), settings, parameters, report);
    let forward_headers = forward_headers(raw, key, settings, report);
    let forward_query = forward_query(raw, key, target.as_ref(), report);
    let select = select(raw.select.as_deref(), &key.name("select"), report);
    Some(BranchSettings {
        name: raw.name().into(),
        upstream: index?,
        target: target?,
        required: raw.required,
        select,
        timeout: raw.timeout.map(Text::duration),
        forward_headers,
        forward_query,
    })
}

impl Branch {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

impl<'a> Upstreams<'a> {
    fn find(
        &self,
        name: Option<&str>,
        key: &Key,
        report: &mut Report<'_>,
    ) -> Option<(usize, Option<&'a UpstreamSettings>)> {
        let known = || {
            self.said
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let Some(name) = name else {
            report.missing(key, format_args!("the name of an upstream ({})", known()));
            return None;
        };
        let Some(index) = self.said.keys().position(|known| known == name) else {
            let section = Key::of("upstreams");
            if !report.is_broken(&section.name(name)) {
                let allowed =
                    format_args!("must be the name of an upstream ({})", known()).to_string();
                report.said(key, Some(quoted(name)), allowed);
            }
            return None;
        };
        Some((index, self.checked.get(index)?.as_ref()))
    }
}

fn target(
    raw: &Branch,
    key: &Key,
    upstream: Option<&UpstreamSettings>,
    parameters: Option<&[&str]>,
    report: &mut Report<'_>,
) -> Option<Target> {
    // Without the route's path, its parameters are not known.
    let (upstream, parameters) = (upstream?, parameters?);
    let template = raw.target.as_deref();
    match Target::parse(upstream.url(), template, parameters) {
        Ok(target) => Some(target),
        Err(bad) => {
            report.said(key, template.map(quoted), bad);
            None
        }
    }
}

fn forward_headers(
    raw: &Branch,
    key: &Key,
    upstream: Option<&UpstreamSettings>,
    report: &mut Report<'_>,
) -> Vec<HeaderName> {
    let key = key.name("forward_headers");
    let mut names: Vec<HeaderName> = Vec::new();
    for (index, text) in raw.forward_headers.iter().enumerate() {
        let reason = match headers::allowed(text) {
            Err(reason) => reason,
            Ok(name) if names.contains(&name) => "is there twice",
            Ok(name)
                if upstream.is_some_and(|it| it.headers.iter().any(|(set, _)| *set == name)) =>
            {
                "the upstream's `headers` set it already"
            }
            Ok(name) => {
                names.push(name);
                continue;
            }
        };
        let reason = format_args!("cannot be passed on: {reason}");
        report.said(&key.index(index), Some(quoted(text)), reason);
    }
    names
}

fn forward_query(
    raw: &Branch,
    key: &Key,
    target: Option<&Target>,
    report: &mut Report<'_>,
) -> Vec<Arc<str>> {
    let key = key.name("forward_query");
    let set = target.map(Target::query_names).unwrap_or_default();
    let mut names: Vec<Arc<str>> = Vec::new();
    for (index, name) in raw.forward_query.iter().enumerate() {
        let reason = if name.is_empty() || name.chars().any(char::is_control) {
            "a name is not empty and has no control characters"
        } else if name == "timeout" {
            "it is gatherd's own"
        } else if set.contains(name) {
            "the target or the upstream's url sets it already"
        } else if names.iter().any(|known| **known == **name) {
            "is there twice"
        } else {
            names.push(name.as_str().into());
            continue;
        };
        let reason = format_args!("cannot be passed on: {reason}");
        report.said(&key.index(index), Some(quoted(name)), reason);
    }
    names
}

/// An RFC 6901 pointer (section 3); the empty one, which is the whole, is left out instead.
fn select(said: Option<&str>, key: &Key, report: &mut Report<'_>) -> Option<Arc<str>> {
    let pointer = said?;
    let escaped = |rest: &str| rest.starts_with(['0', '1']);
    if pointer.starts_with('/') && pointer.split('~').skip(1).all(escaped) {
        return Some(pointer.into());
    }
    let allowed = "a JSON pointer (RFC 6901) that begins with \"/\", such as \"/items/0\"; \
        \"~\" is written ~0 and \"/\" in a name ~1";
    report.said(key, Some(quoted(pointer)), allowed);
    None
}
