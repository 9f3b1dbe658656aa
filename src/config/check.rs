//! From the raw configuration to settings: references between sections, and what belongs together.
//!
//! Each section reports all that is wrong with it; nothing here stops at the first problem.

use std::net::SocketAddr;

mod headers;
mod limits;
mod paths;
mod policies;
mod routes;
mod sections;
mod shared;
mod tls;
mod upstreams;

pub(super) use limits::print_route;
pub(super) use sections::admin;

use super::key::Key;
use super::problem::quoted;
use super::raw::Raw;
use super::report::Report;
use super::settings::Settings;

/// The settings that `raw` describes; nothing when a part is missing, which has been reported.
pub(super) fn settings(raw: &Raw, report: &mut Report<'_>) -> Option<Settings> {
    let server = sections::server(&raw.server, report);
    let tls = tls::tls(&raw.tls, &server, report);
    let admin = sections::admin(&raw.admin, report);
    let mock = sections::mock(&raw.mock);
    check_addresses(raw, report);
    paths::check_health(raw, report);
    let shared = raw.rate_limit.shared.as_ref();
    let shared_limits = shared.map(|shared| shared::limits(shared, report));
    let upstreams = upstreams::all(&raw.upstreams, report);
    let routes = routes::all(raw, &upstreams, report);
    Some(Settings {
        server,
        access: limits::access(&raw.access),
        tls,
        clients: limits::clients(&raw.rate_limit),
        rate_limit: limits::rate_limit(&raw.rate_limit),
        shared_limits: match shared_limits {
            Some(shared) => Some(shared?),
            None => None,
        },
        admin,
        log: sections::log(&raw.log, report),
        mock,
        upstreams: upstreams.into_iter().collect::<Option<_>>()?,
        routes: routes?,
    })
}

/// Two listeners cannot share an address.
fn check_addresses(raw: &Raw, report: &mut Report<'_>) {
    let https = Key::of("server").name("https");
    let mut listeners: Vec<(Key, SocketAddr)> = Vec::new();
    for (index, address) in raw.server.https.iter().enumerate() {
        listeners.push((https.index(index), address.0));
    }
    let http = Key::of("server").name("http");
    for (index, address) in raw.server.http.iter().enumerate() {
        listeners.push((http.index(index), address.0));
    }
    if raw.admin.enabled {
        listeners.push((Key::of("admin").name("listen"), raw.admin.listen.0));
    }
    if raw.mock.enabled {
        listeners.push((Key::of("mock").name("listen"), raw.mock.listen.0));
    }
    for (position, (key, address)) in listeners.iter().enumerate() {
        let other = listeners[..position]
            .iter()
            .find(|(_, other)| is_shared(*other, *address));
        // Port 0 is a free one each time.
        if let Some((other, _)) = other.filter(|_| address.port() != 0) {
            let value = Some(quoted(&address.to_string()));
            report.said(key, value, format_args!("{other} listens there already"));
        }
    }
}

/// Whether two listeners would be in each other's way; one on every address has those of its family.
fn is_shared(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    let every = a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified());
    one.port() == other.port() && (a == b || every)
}

/// `[a-z][a-z0-9_]*`, as names of upstreams and branches are.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
}

/// What a name may be, for problems.
const NAME: &str = "a name is a letter a-z, then letters a-z, digits and underscores";
