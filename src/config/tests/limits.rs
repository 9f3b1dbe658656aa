//! Limits, and which proxies are believed: what follows from what is said.

use super::{BASE, keys, read, route, with};
use crate::config::{
    CertificateAuthorities, RateLimitSettings, RouteRateLimit, SharedLimitSettings, WithoutRedis,
};

fn of_route(sections: &str, rest: &str) -> RouteRateLimit {
    let text = route(&format!("policy = \"all\"\nupstream = \"work\"\n{rest}"));
    let config = read(&format!("{text}\n{sections}")).unwrap_or_else(|told| panic!("{told}"));
    config.settings.routes[0].rate_limit.clone()
}

fn own(sections: &str, rest: &str) -> RateLimitSettings {
    match of_route(sections, rest) {
        RouteRateLimit::Own(limit) => limit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_route_without_a_table_goes_by_the_shared_limit() {
    assert_eq!(of_route("", ""), RouteRateLimit::Shared);
}

#[test]
fn a_routes_table_replaces_what_it_says_and_takes_the_rest_from_the_shared_one() {
    let shared = "[rate_limit]\nburst = 7\nexempt = [\"10.0.0.0/8\"]\ndry_run = true\n\
        ipv6_prefix = 56\nmax_clients = 5";
    let limit = own(shared, "rate_limit = { requests_per_second = 2.5 }");
    assert_eq!((limit.requests_per_second, limit.burst), (2.5, 7));
    assert_eq!((limit.ipv6_prefix, limit.max_clients), (56, 5));
    assert!(limit.dry_run && limit.is_exempt("10.1.2.3".parse().unwrap()));
    let limit = own(
        shared,
        "[routes.rate_limit]\nexempt = []\ndry_run = false\nburst = 1\nipv6_prefix = 48",
    );
    assert!(!limit.dry_run && limit.exempt.is_empty());
    assert_eq!((limit.burst, limit.ipv6_prefix), (1, 48));
}

#[test]
fn a_route_may_be_free_and_may_alone_be_limited() {
    assert_eq!(
        of_route("", "rate_limit = { enabled = false, burst = 5 }"),
        RouteRateLimit::Off
    );
    let alone = own(
        "[rate_limit]\nenabled = false",
        "rate_limit = { burst = 5 }",
    );
    assert_eq!(alone.burst, 5);
}

#[test]
fn what_is_said_of_clients_holds_without_a_rate_limit() {
    let text = format!(
        "{BASE}\n[rate_limit]\nenabled = false\nipv6_prefix = 56\nexempt = [\"::ffff:10.0.0.0/104\"]"
    );
    let settings = read(&text).unwrap().settings;
    assert!(settings.rate_limit.is_none());
    assert_eq!(settings.clients.ipv6_prefix, 56);
    assert!(settings.clients.is_exempt("10.1.2.3".parse().unwrap()));
    assert!(!settings.clients.is_exempt("192.0.2.1".parse().unwrap()));
}

fn shared(lines: &str) -> SharedLimitSettings {
    let config = read(&with("[rate_limit.shared]", lines)).unwrap_or_else(|told| panic!("{told}"));
    config.settings.shared_limits.expect("it is there")
}

#[test]
fn the_url_of_redis_says_where_it_is_and_who_asks() {
    let plain = shared("url = \"redis://cache\"");
    assert_eq!((&*plain.redis.host, plain.redis.port), ("cache", 6379));
    assert_eq!((plain.redis.tls, plain.redis.database), (None, 0));
    assert_eq!((plain.redis.user, plain.redis.password), (None, None));
    assert_eq!(
        (&*plain.key_prefix, plain.timeout.as_millis()),
        ("gatherd:", 20)
    );
    assert_eq!(plain.on_error, WithoutRedis::Local);
    let full = shared("url = \"rediss://me:h%40sh@[2001:db8::1]:7000/3\"").redis;
    assert_eq!(
        (&*full.host, full.port, full.database),
        ("2001:db8::1", 7000, 3)
    );
    assert_eq!(full.tls, Some(CertificateAuthorities::System));
    assert_eq!(full.user.as_deref(), Some("me"));
    assert_eq!(full.password.as_deref(), Some("h@sh"));
    assert!(!format!("{full:?}").contains("h@sh"));
}

#[test]
fn the_url_of_redis_is_never_printed() {
    let text = with("[rate_limit.shared]", "url = \"redis://:hush@cache\"");
    let printed = read(&text).unwrap().print();
    assert!(
        !printed.contains("hush") && !printed.contains("cache"),
        "{printed}"
    );
    assert!(printed.contains("on_error = \"local\""), "{printed}");
}

#[test]
fn each_of_several_hosts_has_its_part_of_the_quota() {
    let part = |lines| {
        let config = read(&with("[rate_limit]", lines)).unwrap();
        config.settings.rate_limit.unwrap().of_this_host()
    };
    assert_eq!(part("burst = 100"), (50.0, 100));
    assert_eq!(part("burst = 100\ninstances = 4"), (12.5, 25));
    assert_eq!(part("burst = 5\ninstances = 3"), (50.0 / 3.0, 1));
    assert_eq!(
        part("burst = 2\ninstances = 5"),
        (10.0, 1),
        "no client is shut out"
    );
}

#[test]
fn whom_to_believe_is_said_in_one_way() {
    let both = "trusted_hops = 1\ntrusted_proxies = [\"10.0.0.0/8\"]";
    assert_eq!(keys(&with("[server]", both)), ["server.trusted_hops"]);
    let all = "trusted_hops = 1\nproxy_protocol = true";
    assert_eq!(keys(&with("[server]", all)), ["server.proxy_protocol"]);
    // A list that cannot be read was meant to hold something.
    let broken = "proxy_protocol = true\ntrusted_proxies = [1]";
    assert_eq!(
        keys(&with("[server]", broken)),
        ["server.trusted_proxies[0]"]
    );
    let server = |lines| read(&with("[server]", lines)).unwrap().settings.server;
    let peer = "10.1.2.3".parse().unwrap();
    assert!(server("proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\"]").trusts(peer));
    assert!(server("trusted_hops = 2").trusts(peer));
    assert!(!server("trusted_proxies = [\"10.0.0.0/16\"]").trusts(peer));
}

#[test]
fn a_routes_limit_is_printed_as_a_whole() {
    let text = "policy = \"all\"\nupstream = \"work\"\nrate_limit = { burst = 5 }";
    let printed = read(&route(text)).unwrap().print();
    let (_, own) = printed.split_once("[routes.rate_limit]").expect(&printed);
    assert!(
        own.contains("requests_per_second = 50.0") && own.contains("exempt = []"),
        "{own}"
    );
    let again = read(&printed).unwrap_or_else(|told| panic!("{told}\n{printed}"));
    assert_eq!(again.print(), printed);
}
