//! Broken files and the key that each is told by.

use super::{BASE, keys, problems, route, with};

/// A section, a line put under its header, and the key that is wrong then.
const LINES: &str = r#"
[server] | max_conections = 5 | server.max_conections
[server] | max_connections = 0 | server.max_connections
[server] | max_connections_per_client = 1000001 | server.max_connections_per_client
[server] | max_in_flight = 0 | server.max_in_flight
[server] | max_in_flight_per_client = "9" | server.max_in_flight_per_client
[server] | idle_timeout = "2h" | server.idle_timeout
[server] | write_timeout = 15 | server.write_timeout
[server] | http = ["80"] | server.http[0]
[server] | http = ["127.0.0.1:8443"] | server.http[0]
[server] | http_mode = "proxy" | server.http_mode
[server] | drain_delay = "12s" | server.drain_delay
[server] | drain_delay = 1 | server.drain_delay
[server] | acme_webroot = "webroot" | server.acme_webroot
[server] | health_path = "healthz" | server.health_path
[server] | health_path = "/{any}" | server.health_path
[server] | trusted_hops = 0 | server.trusted_hops
[server] | trusted_hops = 17 | server.trusted_hops
[server] | proxy_protocol = true | server.proxy_protocol
[server] | trusted_proxies = ["::ffff:0:0/96"] | server.trusted_proxies[0]
[server] | max_buffered = "12" | server.max_buffered
[server] | max_buffered = 12 | server.max_buffered
[server] | handshake_timeout = "0s" | server.handshake_timeout
[server] | drain_timeout = 12 | server.drain_timeout
[server] | trusted_proxies = ["10.0.0.0/8", "0.0.0.0/0"] | server.trusted_proxies[1]
[server] | trusted_proxies = ["::/0"] | server.trusted_proxies[0]
[server] | failure_status = "502" | server.failure_status
[server] | worker_threads = -1 | server.worker_threads
[server] | cors_allow_origins = ["https://a.b/"] | server.cors_allow_origins[0]
[server] | cors_allow_origins = ["*", "https://a.b"] | server.cors_allow_origins[0]
[tls] | client_ca = true | tls.client_ca
[tls] | hsts = "yes" | tls.hsts
[tls] | sni = [{ private_key = "Cargo.toml" }] | tls.sni[0].certificate
[tls] | sni = [{ certificate = "Cargo.toml" }] | tls.sni[0].private_key
[tls] | sni = ["a.pem"] | tls.sni[0]
[rate_limit] | requests_per_second = 0 | rate_limit.requests_per_second
[rate_limit] | requests_per_second = nan | rate_limit.requests_per_second
[rate_limit] | burst = 0 | rate_limit.burst
[rate_limit] | ipv6_prefix = 129 | rate_limit.ipv6_prefix
[rate_limit] | dry_run = 1 | rate_limit.dry_run
[rate_limit] | max_clients = 0 | rate_limit.max_clients
[rate_limit] | connections_per_second = 0 | rate_limit.connections_per_second
[rate_limit] | connection_burst = 0 | rate_limit.connection_burst
[rate_limit] | instances = 0 | rate_limit.instances
[rate_limit.shared] | timeout = "20ms" | rate_limit.shared.url
[rate_limit.shared] | url = "http://hush@h/" | rate_limit.shared.url
[rate_limit.shared] | url = "redis:hush" | rate_limit.shared.url
[rate_limit.shared] | url = "redis://:hush@h/one" | rate_limit.shared.url
[rate_limit.shared] | url = "redis://:hush@h/0?protocol=3" | rate_limit.shared.url
[rate_limit.shared] | url = "redis://:hush#1@h/" | rate_limit.shared.url
[rate_limit.shared] | url = { vault = "hush" } | rate_limit.shared.url.vault
[rate_limit.shared] | url = "redis://h"; timeout = "0ms" | rate_limit.shared.timeout
[rate_limit.shared] | url = "redis://h"; on_error = "hope" | rate_limit.shared.on_error
[rate_limit.shared] | url = "redis://h"; key_prefix = "a b" | rate_limit.shared.key_prefix
[access] | deny = ["10.0.0.0/33"] | access.deny[0]
[access] | alow = [] | access.alow
[access] | allow = "::1" | access.allow
[admin] | listen = "0.0.0.0:9180" | admin.allow
[admin] | listen = "127.0.0.1:8443" | admin.listen
[mock] | enabled = true; listen = "0.0.0.0:8443" | mock.listen
[admin] | enabled = "yes" | admin.enabled
[log] | level = "loud" | log.level
[log] | format = 1 | log.format
[log] | access = "some" | log.access
[log] | file = "" | log.file
[mock] | delay = "2s..1s" | mock.delay
[mock] | failure_rate = 1.5 | mock.failure_rate
[upstreams.Work] | url = "http://h/" | upstreams.Work
[upstreams.x] | ca = "bundled" | upstreams.x.url
[upstreams.x] | url = "ftp://h/" | upstreams.x.url
[upstreams.x] | url = "http://h/#a" | upstreams.x.url
[upstreams.x] | url = "http://u:hush@h/" | upstreams.x.url
[upstreams.work] | max_calls = 0 | upstreams.work.max_calls
[upstreams.work] | http = "3" | upstreams.work.http
[upstreams.work] | headers = { Host = "hush" } | upstreams.work.headers.Host
[upstreams.work] | headers = { x-a = 1 } | upstreams.work.headers.x-a
[upstreams.work] | headers = { x-a = "hush\n" } | upstreams.work.headers.x-a
[upstreams.work] | headers = { x-a = { vault = "hush" } } | upstreams.work.headers.x-a.vault
"#;

/// What is put in the place of what in the base, and the key that is wrong then.
const REPLACED: &str = r#"
["127.0.0.1:8443"] | [] | server.https
127.0.0.1:8443 | localhost:8443 | server.https[0]
127.0.0.1:8443 | 0.0.0.0:8443 | tls.self_signed
private_key | # private_key | tls.private_key
"#;

/// Lines of `[tls.acme]` (`;` between them) in the place of the files, and the key of it that is wrong.
const ACME: &str = r#"
contact = "mailto:a@b.example" | domains
domains = [] | domains
domains = ["*.b.example"] | domains[0]
domains = ["b.example", "B.example"] | domains[1]
domains = ["localhost"] | domains[0]
domains = ["192.0.2.1"] | domains[0]
domains = ["bücher.example"] | domains[0]
domains = ["b.example"]; contact = "a@b.example" | contact
domains = ["b.example"]; directory = "http://ca.example/" | directory
domains = ["b.example"]; ca = "absent.pem" | ca
domains = ["b.example"]; statedir = "x" | statedir
"#;

/// Lines of a route (`;` between them), and the key of `routes[0]` that is wrong then.
const ROUTES: &str = r#"
policy = "all" | upstream
upstream = "work" | policy
policy = "some"; upstream = "work" | policy
policy = 0; upstream = "work" | policy
polcy = "all"; upstream = "work" | polcy
policy = "all"; upstream = "wrok" | upstream
policy = "all"; upstream = "work"; calls = 65 | calls
policy = "all"; upstream = "work"; need = 1 | need
policy = "quorum"; upstream = "work" | need
policy = "quorum"; upstream = "work"; need = 3 | need
policy = "all"; upstream = "work"; shape = "object" | shape
policy = "first"; upstream = "work"; hedge_after = "1s" | hedge_after
policy = "all"; upstream = "work"; hedge_after = "p49" | hedge_after
policy = "all"; upstream = "work"; hedge_after = "p99.99" | hedge_after
policy = "all"; upstream = "work"; hedge_after = "p+60" | hedge_after
policy = "all"; upstream = "work"; hedge_after = "sibling" | hedge_after
policy = "all"; upstream = "work"; hedge_after = "0ms" | hedge_after
policy = "all"; upstream = "work"; hedge_after = "1s"; hedge_min = "1s" | hedge_min
policy = "all"; upstream = "work"; hedge_min = "1s" | hedge_min
policy = "all"; upstream = "work"; hedge_budget = 0.5 | hedge_budget
policy = "all"; upstream = "work"; hedge_budget = 2 | hedge_budget
policy = "all"; upstream = "work"; timeout = "0ms" | timeout
policy = "all"; upstream = "work"; timeout = "2s"; max_timeout = "1s" | timeout
policy = "all"; upstream = "work"; forward_headers = ["cookie", "te"] | forward_headers[1]
policy = "all"; upstream = "keyed"; forward_headers = ["X-Api-Key"] | forward_headers[0]
policy = "all"; upstream = "keyed"; forward_query = ["key"] | forward_query[0]
policy = "all"; upstream = "work"; forward_query = ["timeout"] | forward_query[0]
policy = "all"; upstream = "work"; rate_limit = { burst = 0 } | rate_limit.burst
policy = "all"; upstream = "work"; rate_limit = { requests_per_second = "5" } | rate_limit.requests_per_second
policy = "all"; upstream = "work"; rate_limit = { max_clients = 5 } | rate_limit.max_clients
policy = "all"; upstream = "work"; rate_limit = false | rate_limit
policy = "all"; branches = [] | branches
upstream = "work"; policy = "all"; branches = [{ GOOD }] | upstream
policy = "all"; branches = [{ upstream = "work" }] | branches[0].name
policy = "all"; branches = [{ name = "A", upstream = "work" }] | branches[0].name
policy = "all"; branches = [{ name = "a" }] | branches[0].upstream
policy = "all"; branches = [{ GOOD, target = "/{user}" }] | branches[0].target
policy = "all"; branches = [{ name = "a", upstream = "keyed", target = "/x" }] | branches[0].target
policy = "all"; branches = [{ GOOD, target = "/y?l=1", forward_query = ["l"] }] | branches[0].forward_query[0]
policy = "all"; branches = [{ GOOD, select = "items" }] | branches[0].select
policy = "all"; branches = [{ GOOD, select = "/a~2" }] | branches[0].select
policy = "all"; branches = [{ GOOD, timeout = 300 }] | branches[0].timeout
policy = "all"; branches = [{ GOOD, required = true }] | branches[0].required
policy = "all"; branches = [{ GOOD }, { GOOD }] | branches[1].name
policy = "quorum"; need = 2; branches = [{ GOOD }, 1] | branches[1]
"#;

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split(" | ").collect())
}

fn assert_told(text: &str, key: &str) {
    let problems = problems(text);
    assert_eq!(keys(text), [key], "{text}\n{problems}");
    assert!(!problems.to_string().contains("hush"), "{problems}");
    assert_eq!(problems.exit_code(), 64, "{problems}");
}

#[test]
fn every_broken_section_names_the_key_that_is_wrong() {
    for row in rows(LINES) {
        assert_told(&with(row[0], &row[1].replace("; ", "\n")), row[2]);
    }
    for row in rows(REPLACED) {
        assert_told(&BASE.replacen(row[0], row[1], 1), row[2]);
    }
    assert_told(&format!("surprise = 1\n{BASE}"), "surprise");
}

#[test]
fn every_broken_authority_names_the_key_that_is_wrong() {
    let with = |lines: &str| {
        let files = BASE.find("certificate =").expect("the files");
        let rest = BASE[files..].find('[').map_or(BASE.len(), |at| files + at);
        let lines = lines.replace("; ", "\n");
        format!("{}\n[tls.acme]\n{lines}\n{}", &BASE[..files], &BASE[rest..])
    };
    for row in rows(ACME) {
        let text = with(row[0]);
        assert_eq!(keys(&text), [format!("tls.acme.{}", row[1])], "{text}");
    }
    let both = format!("{BASE}\n[tls.acme]\ndomains = [\"b.example\"]\n");
    let three = ["tls.certificate", "tls.private_key", "tls.self_signed"];
    assert_eq!(keys(&both), three);
}

#[test]
fn every_broken_route_names_the_key_that_is_wrong() {
    for row in rows(ROUTES) {
        let lines = row[0]
            .replace("; ", "\n")
            .replace("GOOD", "name = \"a\", upstream = \"work\"");
        assert_told(&route(&lines), &format!("routes[0].{}", row[1]));
    }
}

#[test]
fn a_list_without_its_wrong_elements_still_counts_as_the_file_does() {
    let branch = "{ name = \"a\", upstream = \"work\", selcet = 1 }";
    let found = keys(&route(&format!(
        "policy = \"all\"\nbranches = [1, true, {branch}]"
    )));
    let expected = ["[0]", "[1]", "[2].selcet"].map(|at| format!("routes[0].branches{at}"));
    assert_eq!(found, expected);
}
