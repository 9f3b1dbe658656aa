//! What `check` says of a config file without problems: what one client can cause, and settings that
//! are allowed but seldom meant.

use std::time::Duration;

use crate::config::{
    BranchSettings, HedgeAfter, RouteRateLimit, RouteSettings, ServerSettings, Settings,
};
use crate::gather::{Launch, Policy};

/// What there is to say; one line each.
#[derive(Debug, Default)]
pub(super) struct Advice {
    /// What the settings mean.
    pub(super) facts: Vec<String>,
    /// What is seldom meant.
    pub(super) warnings: Vec<String>,
}

/// Looks at everything.
pub(super) fn of(settings: &Settings) -> Advice {
    let mut advice = Advice::default();
    for route in &settings.routes {
        advice.facts.push(load(route, settings));
        about_route(route, settings, &mut advice.warnings);
    }
    about_process(settings, &mut advice.warnings);
    advice
}

/// What one client can make a route do to its upstreams.
fn load(route: &RouteSettings, settings: &Settings) -> String {
    let branches = route.branches.len();
    let path = &route.path;
    let limit = match &route.rate_limit {
        RouteRateLimit::Shared => settings.rate_limit.as_ref(),
        RouteRateLimit::Own(limit) => Some(limit),
        RouteRateLimit::Off => None,
    };
    let Some(limit) = limit.filter(|limit| !limit.dry_run) else {
        return format!("{path}: {branches} calls a request, and clients are not limited");
    };
    let calls = f64::from(u32::try_from(branches).unwrap_or(u32::MAX));
    let steady = limit.requests_per_second * calls;
    let at_once = f64::from(limit.burst) * calls;
    format!("{path}: one client can cause {steady} calls a second, and {at_once} at once")
}

fn about_route(route: &RouteSettings, settings: &Settings, warnings: &mut Vec<String>) {
    let path = &route.path;
    let mut warn = |text: &str| warnings.push(format!("{path}: {text}"));
    if route.policy == Policy::First && route.branches.len() > 1 {
        warn(
            "with policy first, a branch that fails to connect is done too and fails the gather; \
            consider first_success",
        );
    }
    let drain = settings.server.drain_timeout;
    if route.max_timeout > drain {
        warn(&format!(
            "max_timeout {} is longer than drain_timeout {}: a stop cuts such gathers short",
            show(route.max_timeout),
            show(drain)
        ));
    }
    if let Some(hedging) = &route.hedging {
        match hedging.after {
            HedgeAfter::Duration(after) if after >= route.max_timeout => {
                warn("hedge_after cannot matter: no gather lasts that long");
            }
            HedgeAfter::Duration(after) if after >= route.timeout => {
                warn("hedge_after matters only to requests that name a longer timeout");
            }
            HedgeAfter::Siblings if route.launch == (Launch::Staggered { at_once: 1 }) => {
                warn("hedge_after cannot matter: a branch that runs alone has no siblings");
            }
            _ => {}
        }
        if hedging.budget == 0.0 {
            warn("hedge_after cannot matter: hedge_budget is 0");
        }
    }
    for branch in &route.branches {
        about_branch(branch, route, &mut warn);
    }
    for upstream in overloaded(route, settings) {
        warn(&format!(
            "one gather makes more calls than max_calls of upstream {upstream}"
        ));
    }
}

fn about_branch(branch: &BranchSettings, route: &RouteSettings, warn: &mut impl FnMut(&str)) {
    if branch
        .timeout
        .is_some_and(|timeout| timeout >= route.max_timeout)
    {
        warn(&format!(
            "timeout of branch {} cannot matter: no gather lasts that long",
            branch.name
        ));
    }
}

/// Upstreams that one gather of the route fills beyond their calls at once.
fn overloaded<'a>(
    route: &'a RouteSettings,
    settings: &'a Settings,
) -> impl Iterator<Item = &'a str> {
    let branches = |index| {
        route
            .branches
            .iter()
            .filter(move |it| it.upstream == index)
            .count()
    };
    let all = settings.upstreams.iter().enumerate();
    all.filter(move |(index, upstream)| branches(*index) > upstream.max_calls)
        .map(|(_, upstream)| &*upstream.name)
}

fn about_process(settings: &Settings, warnings: &mut Vec<String>) {
    if settings.routes.is_empty() {
        warnings.push("no routes: every request is answered 404".to_owned());
    }
    if settings.tls.as_ref().is_some_and(|tls| tls.self_signed) {
        warnings.push("tls.self_signed: clients do not trust the certificate".to_owned());
    }
    about_shares(&settings.server, warnings);
    for upstream in &settings.upstreams {
        if upstream.max_response > settings.server.max_buffered {
            let name = &upstream.name;
            warnings.push(format!(
                "upstreams.{name}.max_response is more than server.max_buffered"
            ));
        }
    }
}

/// What one client may have of what everybody shares.
fn about_shares(server: &ServerSettings, warnings: &mut Vec<String>) {
    let connections = ("max_connections", server.max_connections);
    let gathers = ("max_in_flight", server.max_in_flight);
    for ((name, all), one) in [
        (connections, server.max_connections_per_client),
        (gathers, server.max_in_flight_per_client),
    ] {
        if one >= all {
            warnings.push(format!(
                "server.{name}_per_client is {one} and server.{name} is {all}: one client can take all"
            ));
        }
    }
}

fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Environment};

    fn advice(routes: &str) -> Advice {
        let text = format!(
            "[server]\nhttps = [\"127.0.0.1:0\"]\n[tls]\ncertificate = \"no/c\"\nprivate_key = \"no/k\"\n\
             self_signed = true\n[upstreams.u]\nurl = \"http://h/\"\n{routes}"
        );
        let config = config::parse(Path::new("c.toml"), &text, &Environment::default());
        of(&config
            .unwrap_or_else(|problems| panic!("{problems}"))
            .settings)
    }

    #[test]
    fn what_one_client_can_cause_is_told() {
        let advice =
            advice("[[routes]]\npath = \"/x\"\npolicy = \"all\"\nupstream = \"u\"\ncalls = 3\n");
        assert_eq!(
            advice.facts,
            ["/x: one client can cause 150 calls a second, and 300 at once"]
        );
        assert_eq!(
            advice.warnings,
            ["tls.self_signed: clients do not trust the certificate"]
        );
    }

    #[test]
    fn a_routes_own_limit_is_what_its_clients_go_by() {
        let with = |own: &str| {
            let route = "[[routes]]\npath = \"/x\"\npolicy = \"all\"\nupstream = \"u\"\n";
            advice(&format!("{route}rate_limit = {own}\n"))
        };
        assert_eq!(
            with("{ requests_per_second = 2, burst = 5 }").facts,
            ["/x: one client can cause 4 calls a second, and 10 at once"]
        );
        for own in ["{ enabled = false }", "{ dry_run = true }"] {
            assert_eq!(
                with(own).facts,
                ["/x: 2 calls a request, and clients are not limited"]
            );
        }
    }

    #[test]
    fn a_client_that_can_take_all_is_warned_of() {
        let server = config::parse(
            Path::new("c.toml"),
            "[server]\nhttps = [\"127.0.0.1:0\"]\nmax_in_flight = 100\n[tls]\nself_signed = true\n\
             certificate = \"no/c\"\nprivate_key = \"no/k\"\n",
            &Environment::default(),
        )
        .map(|config| config.settings.server)
        .unwrap();
        let mut warnings = Vec::new();
        about_shares(&server, &mut warnings);
        assert_eq!(
            warnings,
            [
                "server.max_in_flight_per_client is 128 and server.max_in_flight is 100: one client can take all"
            ]
        );
    }

    #[test]
    fn settings_that_are_seldom_meant_are_named() {
        for (route, warning) in [
            ("policy = \"first\"", "consider first_success"),
            (
                "policy = \"all\"\nmax_timeout = \"1m\"",
                "drain_timeout 12s",
            ),
            (
                "policy = \"first_success\"\nhedge_after = \"20s\"",
                "no gather lasts that long",
            ),
            (
                "policy = \"first_success\"\nhedge_after = \"siblings\"",
                "has no siblings",
            ),
            (
                "policy = \"first_success\"\nhedge_after = \"1s\"\nhedge_budget = 0",
                "hedge_budget is 0",
            ),
        ] {
            let advice = advice(&format!(
                "[[routes]]\npath = \"/x\"\nupstream = \"u\"\n{route}\n"
            ));
            assert!(
                advice.warnings.iter().any(|it| it.contains(warning)),
                "{route}: {advice:?}"
            );
        }
        assert!(
            advice("")
                .warnings
                .iter()
                .any(|it| it.starts_with("no routes"))
        );
    }
}
