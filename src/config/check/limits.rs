//! `[access]`, `[rate_limit]` and the routes' own limits.

use ipnet::IpNet;

use crate::config::raw;
use crate::config::scalar::{Decimal, Text, Whole};
use crate::config::settings::{AccessSettings, ClientSettings, RateLimitSettings, RouteRateLimit};

/// `[access]`.
pub(super) fn access(raw: &raw::Access) -> AccessSettings {
    AccessSettings {
        deny: nets(&raw.deny),
        allow: nets(&raw.allow),
    }
}

/// What `[rate_limit]` says of clients, enabled or not.
pub(super) fn clients(raw: &raw::RateLimit) -> ClientSettings {
    ClientSettings {
        ipv6_prefix: prefix(raw.ipv6_prefix),
        exempt: nets(&raw.exempt),
    }
}

/// `[rate_limit]`.
pub(super) fn rate_limit(raw: &raw::RateLimit) -> Option<RateLimitSettings> {
    raw.enabled.then(|| settled(raw))
}

/// The limit of a route that says `own`, with the rest from `shared`.
pub(super) fn of_route(
    own: Option<&raw::RouteRateLimit>,
    shared: &raw::RateLimit,
) -> RouteRateLimit {
    let Some(own) = own else {
        return RouteRateLimit::Shared;
    };
    // A table of one route is meant, even where other routes are not limited.
    if !own.enabled.unwrap_or(true) {
        return RouteRateLimit::Off;
    }
    let said = own.clone();
    RouteRateLimit::Own(settled(&raw::RateLimit {
        enabled: true,
        requests_per_second: said
            .requests_per_second
            .unwrap_or(shared.requests_per_second),
        burst: said.burst.unwrap_or(shared.burst),
        ipv6_prefix: said.ipv6_prefix.unwrap_or(shared.ipv6_prefix),
        exempt: said.exempt.unwrap_or_else(|| shared.exempt.clone()),
        dry_run: said.dry_run.unwrap_or(shared.dry_run),
        ..shared.clone()
    }))
}

/// The file's words for a limit that has been settled, for what is printed.
pub(in crate::config) fn print_route(limit: &RouteRateLimit) -> Option<raw::RouteRateLimit> {
    match limit {
        RouteRateLimit::Shared => None,
        RouteRateLimit::Off => Some(raw::RouteRateLimit {
            enabled: Some(false),
            ..raw::RouteRateLimit::default()
        }),
        RouteRateLimit::Own(limit) => Some(raw::RouteRateLimit {
            enabled: Some(true),
            requests_per_second: Some(Decimal(limit.requests_per_second)),
            burst: Some(Whole(limit.burst)),
            ipv6_prefix: Some(Whole(limit.ipv6_prefix.into())),
            exempt: Some(limit.exempt.iter().copied().map(Text).collect()),
            dry_run: Some(limit.dry_run),
        }),
    }
}

/// The networks of a list.
pub(super) fn nets(said: &[Text<IpNet>]) -> Vec<IpNet> {
    said.iter().map(|net| net.0).collect()
}

fn settled(raw: &raw::RateLimit) -> RateLimitSettings {
    RateLimitSettings {
        requests_per_second: raw.requests_per_second.0,
        burst: raw.burst.0,
        ipv6_prefix: prefix(raw.ipv6_prefix),
        exempt: nets(&raw.exempt),
        dry_run: raw.dry_run,
        max_clients: raw.max_clients.count(),
        connections_per_second: raw.connections_per_second.0,
        connection_burst: raw.connection_burst.0,
        instances: raw.instances.0,
    }
}

fn prefix(said: Whole<1, 128>) -> u8 {
    u8::try_from(said.0).unwrap_or(128)
}
