//! The effective configuration as text, for `check --print`.

use super::check::print_route;
use super::raw::Raw;
use super::scalar::{Decimal, Text, Whole};
use super::settings::{HedgeAfter, RouteSettings, Settings};
use crate::gather::Policy;

/// `raw` with what `settings` derived filled in; secrets mask themselves.
pub(super) fn print(raw: &Raw, settings: &Settings) -> String {
    let mut raw = raw.clone();
    for (route, settled) in raw.routes.iter_mut().zip(&settings.routes) {
        fill(route, settled);
    }
    // A `Raw` is tables, lists and scalars, all of which TOML has.
    toml_edit::ser::to_string_pretty(&raw).unwrap_or_else(|error| format!("# {error}\n"))
}

fn fill(route: &mut super::raw::Route, settled: &RouteSettings) {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    route.timeout = Text::from_duration(settled.timeout);
    route.max_timeout = Text::from_duration(settled.max_timeout);
    route.rate_limit = print_route(&settled.rate_limit);
    if route.upstream.is_some() {
        route.calls = Some(Whole(count(settled.branches.len())));
    }
    if let Policy::Quorum { need } | Policy::Available { need } = settled.policy {
        route.need = Some(Whole(count(need)));
    }
    if let Some(hedging) = &settled.hedging {
        route.hedge_budget = Some(Decimal(hedging.budget));
        route.hedge_min = match hedging.after {
            HedgeAfter::Duration(_) => None,
            _ => Text::from_duration(hedging.min),
        };
    }
}
